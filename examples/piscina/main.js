// @ts-check
// CPU-heavy requests in an ordinary Piscina pool. This thread gets the messages and hands them on as tasks; the task
// answers the peer itself, from its own thread. This thread never sees a reply, and its event loop stays free.
// Run: node examples/piscina/main.js. Prints who answered how many requests, and how busy this thread was; exits with
// code 1 if an answer was wrong or missing.
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { Reactor } from 'simple-reactor';

const THREADS = 2;
const PEERS = 4;
const REQUESTS_PER_PEER = 12;

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0 });

const pool = new Piscina({
  filename: new URL('./task.js', import.meta.url).href,
  name: 'answer',
  minThreads: THREADS,
  maxThreads: THREADS,
  // Piscina's default lets idle threads wait in Atomics.wait. A task that only sends short messages works all the same,
  // but the thread would not notice that an io worker has been started again, nor send on what has to wait for room.
  atomics: 'disabled',
});

let tasks = 0;
/** @type {Map<number, number>} thread id -> answers */
const answersOf = new Map();
server.on('message', async (connection, data) => {
  tasks++;
  // The handle and the id are all that a thread needs to answer. What comes back here is only who has done it.
  const threadId = await pool.run({ handle: reactor.handle, id: connection.id, below: Number(data.toString()) });
  answersOf.set(threadId, (answersOf.get(threadId) ?? 0) + 1);
});

// A thread of their own, with a reactor of their own, as if they were on another machine.
const loopBefore = performance.eventLoopUtilization();
const peers = new Worker(new URL('./peers.js', import.meta.url), {
  workerData: { port: server.address.port, peers: PEERS, requestsPerPeer: REQUESTS_PER_PEER },
});
const deadline = setTimeout(() => assert.fail(`only ${tasks} requests have been handled after 30 s`), 30_000);
const [{ answers, wrong }] = await once(peers, 'message');
clearTimeout(deadline);
const { utilization } = performance.eventLoopUtilization(loopBefore);
await pool.close(); // the last tasks have answered, and are about to say so

assert.equal(wrong, 0, 'a peer got a wrong answer');
assert.equal(answers, PEERS * REQUESTS_PER_PEER, 'an answer is missing');
console.log(`${tasks} requests came in here: how many primes are there below n?`);
for (const [threadId, count] of answersOf) console.log(`${count} were answered by pool thread ${threadId}.`);
console.log(`The peers received ${answers} answers, all of them right.`);
console.log(`This thread's event loop was busy for ${(100 * utilization).toFixed(1)} % of the time.`);
await reactor.close();
