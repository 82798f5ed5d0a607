// @ts-check
/**
 * What a pool of logic threads brings when each message costs work: `node bench/logic-threads.js [rounds]`. The same server with 1
 * and with 2 logic threads, and `net` that works in its only thread; they take turns, the figures are medians. Measure while
 * nothing else runs, and remember that io worker and load generator need their cores, too.
 */
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROUNDS = Number(process.argv[2] ?? 5);
const WORK_US = 20;
const LOAD = { connections: 100, bytes: 64, window: 8, seconds: 2 };
const PORT = 21_010;
const PEERS = ['net', 'pool of 1', 'pool of 2'];

const run = promisify(execFile);
const file = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const median = (/** @type {number[]} */ values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** @type {Map<string, number[]>} */
const rates = new Map(PEERS.map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const [index, name] of PEERS.entries()) {
    const child = fork(file('working-peers.js'), [name, String(PORT + index), String(WORK_US)]);
    await once(child, 'message');
    const args = [PORT + index, LOAD.connections, LOAD.bytes, LOAD.window, LOAD.seconds].map(String);
    const { stdout } = await run(process.execPath, [file('load-generator.js'), ...args]);
    rates.get(name)?.push(JSON.parse(stdout).rate);
    child.disconnect();
    await once(child, 'exit');
  }
}
console.log(`${os.cpus()[0]?.model.trim()}, ${os.cpus().length} cores, Node ${process.version}, median of ${ROUNDS}`);
console.log(`${WORK_US} us of work a message, ${LOAD.connections} x ${LOAD.bytes} bytes x window ${LOAD.window}`);
console.table(
  Object.fromEntries(
    PEERS.map((name) => {
      const all = rates.get(name) ?? [];
      return [name, { 'messages/s': median(all), lowest: Math.min(...all), highest: Math.max(...all) }];
    }),
  ),
);
