// @ts-check
/**
 * What the parts cost, in ns for each operation: `npm run bench:micro [ms for each]`. Two threads need two cores that have nothing else
 * to do; after that compare only figures of one run.
 */
import { addMemoryTasks } from './micro/in-memory.js';
import { addSendTasks } from './micro/sending.js';
import { Tasks } from './micro/tasks.js';
import { addThreadTasks } from './micro/threads.js';
import { describeMachine, thisMachine } from './suite/results.js';
import { textTable } from './suite/tables.js';

const DEFAULT_MS = 1000;
const BATCH = 1000;

const ms = Number(process.argv[2] ?? DEFAULT_MS);
if (!(ms >= 1 && ms <= 600_000)) {
  console.error(`The time for each task must be 1 to 600,000 ms, got '${process.argv[2]}'`);
  process.exit(1);
}
const tasks = new Tasks(ms);
addMemoryTasks(tasks, BATCH);
const endThreads = await addThreadTasks(tasks, BATCH);
const endSending = await addSendTasks(tasks, BATCH);
const results = await tasks.run();
await Promise.all([endThreads(), endSending()]);
console.log(describeMachine(thisMachine()));
const rows = results.map(({ name, p50, p99, samples }) => [name, p50.toFixed(1), p99.toFixed(1), String(samples)]);
console.log(textTable(['ns for each, of batches', 'median', 'p99', 'batches'], rows));
