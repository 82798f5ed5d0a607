// @ts-check
// A server whose connections are shared out among the threads of a LogicPool, and a thread that dies in the middle of a
// message. Run: node examples/balanced-workers/main.js. Prints which thread answers each peer, before and after; exits with
// code 1 if a request was not answered, or a connection was lost.
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { LogicPool, Reactor } from 'simple-reactor';

const THREADS = 3;
const PEERS = 6;
const REQUESTS = 200;

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0, dispatch: 'balance' });
const pool = await LogicPool.start(server, { filename: new URL('./logic.js', import.meta.url), threads: THREADS });
pool.on('restart', ({ index, error }) => console.log(`Thread ${index} has died (${error.message}) and is replaced.`));

/**
 * @typedef {object} Peer
 * @property {import('simple-reactor').TcpConnection} connection
 * @property {Set<string>} unanswered
 * @property {number[]} threads  who answered, in order
 * @property {number} again  answers to requests that had been answered before
 */

// This thread hears nothing of the server's connections. So it may as well be the peers.
const client = reactor.client();
/** @type {Map<import('simple-reactor').TcpConnection, Peer>} */
const peers = new Map();
let lost = 0;
client.on('message', (connection, data) => {
  const [thread, request = ''] = data.toString().split(' ');
  const peer = peers.get(connection);
  if (peer === undefined) return;
  peer.threads.push(Number(thread));
  if (!peer.unanswered.delete(request)) peer.again++;
});
client.on('disconnect', () => lost++);

for (let i = 0; i < PEERS; i++) await addPeer();
await ask((_, number) => `request-${number}`);
show('At first:');

// One of them asks for what kills its thread, in the middle of its other requests and of those of everybody else.
const replaced = once(pool, 'ready', { signal: AbortSignal.timeout(20_000) });
await ask((peer, number) => (peer === 0 && number === REQUESTS / 2 ? 'deadly' : `further-request-${number}`));
show('After a death:');

// The thread that replaces the dead one has no connections, so new ones go there.
await replaced;
await addPeer();
await addPeer();
await ask((_, number) => `last-request-${number}`);
show('With two more peers:');

assert.equal(lost, 0, 'a connection was lost');
const again = [...peers.values()].reduce((sum, peer) => sum + peer.again, 0);
console.log(`All requests were answered, ${again} of them twice. No connection was lost.`);
await reactor.close();
await pool.close();

async function addPeer() {
  const connection = await client.connect({ host: '127.0.0.1', port: server.address.port });
  peers.set(connection, { connection, unanswered: new Set(), threads: [], again: 0 });
}

/**
 * Every peer sends its requests, a few at a time; resolves when all are answered.
 * @param {(peer: number, number: number) => string} request
 */
async function ask(request) {
  for (const peer of peers.values()) peer.threads = [];
  for (let number = 0; number < REQUESTS; number++) {
    for (const [i, { connection, unanswered }] of [...peers.values()].entries()) {
      const text = request(i, number);
      unanswered.add(text);
      connection.send(text);
    }
    if (number % 10 === 0) await delay(1);
  }
  const signal = AbortSignal.timeout(20_000);
  const isDone = () => [...peers.values()].every(({ unanswered }) => unanswered.size === 0);
  while (!isDone()) await once(client, 'message', { signal });
}

/** @param {string} title */
function show(title) {
  console.log(title);
  for (const [i, { threads }] of [...peers.values()].entries()) {
    console.log(`  peer ${i} was answered by ${runsOf(threads).join(', then ')}`);
  }
}

/** @param {number[]} threads */
function runsOf(threads) {
  /** @type {{ thread: number, count: number }[]} */
  const runs = [];
  for (const thread of threads) {
    const last = runs.at(-1);
    if (last?.thread === thread) last.count++;
    else runs.push({ thread, count: 1 });
  }
  return runs.map(({ thread, count }) => `thread ${thread} (${count} times)`);
}
