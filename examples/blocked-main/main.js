// @ts-check
// What the library is for: this thread stands still for 2 s in the middle of traffic, and no peer notices.
// Run: node examples/blocked-main/main.js. Prints what was received meanwhile and afterwards, from counts; exits with
// code 1 if a message or a connection was lost.
import { strict as assert } from 'node:assert';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Reactor } from 'simple-reactor';

const PEERS = 20;
const MESSAGES_PER_PEER = 400;
const BLOCK_MS = 2000;

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0 });

/** Every peer numbers its messages from 0: the number that its next message must have. */
const nextNumber = new Map();
let handled = 0;
let closed = 0;

server.on('connection', (connection) => nextNumber.set(connection, 0));
server.on('message', (connection, data) => {
  const expected = nextNumber.get(connection);
  assert.equal(Number(data.toString()), expected, 'a message was lost, doubled or overtaken');
  nextNumber.set(connection, expected + 1);
  handled++;
});
server.on('disconnect', (connection, reason) => {
  // The close comes behind the connection's last message, so by now all of them must have been here.
  assert.equal(reason, 'peer-end', `a connection ended with '${reason}' instead of at its peer's wish`);
  assert.equal(nextNumber.get(connection), MESSAGES_PER_PEER, 'a connection ended before its last message');
  closed++;
});

// A thread of their own, with a reactor of their own: nothing here holds them up.
const peers = new Worker(new URL('./peers.js', import.meta.url), {
  workerData: { port: server.address.port, peers: PEERS, messagesPerPeer: MESSAGES_PER_PEER },
});
await once(peers, 'message'); // all are connected, and a quarter is sent

const before = received();
blockThisThread(BLOCK_MS);
// Read from shared memory before this thread has handled anything of it.
const meanwhile = received() - before;
const handledBefore = handled;

const deadline = setTimeout(() => assert.fail(`only ${closed} of ${PEERS} connections have ended after 30 s`), 30_000);
while (closed < PEERS) await once(server, 'disconnect');
clearTimeout(deadline);

assert.ok(meanwhile > 0, 'nothing was received while the thread was blocked');
assert.equal(handled, PEERS * MESSAGES_PER_PEER);
console.log(`${handledBefore} messages handled, then this thread was blocked for ${BLOCK_MS} ms.`);
console.log(`${meanwhile} messages were received while it was blocked: the io worker was not.`);
console.log(`${handled} of ${PEERS * MESSAGES_PER_PEER} messages handled in the end, each in its place.`);
console.log(`${closed} of ${PEERS} connections lived until their peers had sent everything.`);
await reactor.close();

/** Messages that the io worker has received, handled or not. */
function received() {
  let messages = 0;
  for (const connection of server.connections()) messages += connection.messagesReceived;
  return messages;
}

/** @param {number} milliseconds */
function blockThisThread(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}
