// @ts-check
/**
 * 1 KiB to a group of 5,000: `node bench/group-broadcast.js [rounds] [members] [deaf]`. `group.send()` against a loop of
 * `connection.send()`, in turns: one message; one with LZ4; 16 in a row; then one again with members that never read (default 50),
 * on top of the others.
 *
 * Three times are given, in ms, as medians of all rounds:
 *   - calls      the calling thread is busy with the calls
 *   - kernel     until the io worker has given the last member's bytes to the kernel, and so all others' in front of it; of one
 *                message this is mostly the kernel's own work, which is the same either way: 5,000 writes
 *   - received   until the members' process has read every byte; on a machine of few cores most of that is the members' own work
 *
 * Memory is the whole process's resident set, with what waits for those that never read.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Reactor } from 'simple-reactor';

const [rounds = 15, members = 5000, deaf = 50] = process.argv.slice(2).map(Number);
const FRAME_BYTES = 6;
const BURST = 16;
const HIGH_WATER = 64 * 1024;
const line = (/** @type {number} */ i) =>
  JSON.stringify({ id: i * 7919, user: `user-${i * 31}`, price: (i * 1.37).toFixed(2) });
const message = Buffer.from(Array.from({ length: 32 }, (_, i) => line(i)).join('\n')).subarray(0, 1024);
const median = (/** @type {number[]} */ values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const mib = () => Math.round(process.memoryUsage.rss() / 2 ** 20);

/** @typedef {{ calls: number[], kernel: number[], received: number[] }} Times */

/** @param {{ deafMembers?: number, burst?: number, compresses?: boolean }} scene */
async function measure({ deafMembers = 0, burst = 1, compresses = false }) {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({
    host: '127.0.0.1',
    port: 0,
    overflow: 'drop',
    highWaterMark: HIGH_WATER,
    backlog: 4096,
    ...(compresses && { compression: { thresholdBytes: 64 } }),
  });
  /** @type {import('simple-reactor').TcpConnection[]} */
  const connections = [];
  const room = reactor.group('members');
  server.on('connection', (connection) => {
    connections.push(connection);
    room.join(connection);
  });
  const path = fileURLToPath(new URL('group-members.js', import.meta.url));
  const peers = fork(path, [server.address.port, members, deafMembers].map(String));
  await once(peers, 'message');
  while (connections.length < members + deafMembers) await once(server, 'connection');
  // The deaf ones have connected last; the last of those that read is flushed behind all others that do.
  const last = connections[members - 1];
  // Hellos have come by then, and go before what is counted.
  await new Promise((resolve) => setTimeout(resolve, 500));
  const sentBefore = last?.bytesSent ?? 0;
  last?.send(message);
  await last?.flush();
  const wireBytes = (last?.bytesSent ?? 0) - sentBefore;
  await new Promise((resolve) => setTimeout(resolve, 100));

  /** @param {() => void} send @param {Times} times */
  async function round(send, times) {
    peers.send({ bytes: burst * wireBytes });
    await once(peers, 'message');
    const received = once(peers, 'message');
    const start = performance.now();
    for (let i = 0; i < burst; i++) send();
    times.calls.push(performance.now() - start);
    await last?.flush();
    times.kernel.push(performance.now() - start);
    await received;
    times.received.push(performance.now() - start);
  }

  const viaGroup = () => void room.send(message);
  const viaLoop = () => {
    for (const connection of connections) connection.send(message);
  };
  const none = () => ({ calls: [], kernel: [], received: [] });
  /** @type {Record<string, Times>} */
  const times = { 'group.send()': none(), 'loop of send()': none() };
  for (const send of [viaGroup, viaLoop, viaGroup, viaLoop]) await round(send, none());
  const before = { rss: mib(), encodings: reactor.stats().broadcastEncodings };
  for (let i = 0; i < rounds; i++) {
    await round(viaGroup, /** @type {Times} */ (times['group.send()']));
    await round(viaLoop, /** @type {Times} */ (times['loop of send()']));
  }
  const encodings = (reactor.stats().broadcastEncodings - before.encodings) / rounds;
  if (deafMembers > 0) {
    // Until all of them have as much waiting as they may.
    const fill = Buffer.alloc(8 * 1024);
    while (connections.slice(members).some(({ droppedMessages }) => droppedMessages === 0)) {
      peers.send({ bytes: fill.length + FRAME_BYTES });
      await once(peers, 'message');
      const received = once(peers, 'message');
      room.send(fill);
      await received;
    }
  }
  const waiting = connections.slice(members).reduce((sum, { bufferedAmount }) => sum + bufferedAmount, 0);
  const after = mib();
  const untouched = connections
    .slice(0, members)
    .every(({ droppedMessages, state }) => droppedMessages === 0 && state === 'open');
  peers.disconnect();
  await once(peers, 'exit');
  await reactor.close({ timeoutMs: 0 });
  return { times, encodings, before: before.rss, after, waiting, untouched };
}

for (const scene of [{}, { compresses: true }, { burst: BURST }, { deafMembers: deaf }]) {
  const { deafMembers = 0, burst = 1, compresses = false } = scene;
  const { times, encodings, before, after, waiting, untouched } = await measure(scene);
  console.log(
    `\n${members} members that read, ${deafMembers} that never do, ${burst} x 1 KiB${compresses ? ' with LZ4' : ''}, ${rounds} rounds each`,
  );
  const rows = Object.entries(times).map(([name, { calls, kernel, received }]) => [
    name,
    { 'calls ms': median(calls), 'kernel ms': median(kernel), 'received ms': median(received) },
  ]);
  console.table(Object.fromEntries(rows));
  const [group, loop] = [times['group.send()'], times['loop of send()']];
  for (const what of /** @type {const} */ (['calls', 'kernel', 'received'])) {
    console.log(`${what}: loop / group = ${(median(loop?.[what] ?? []) / median(group?.[what] ?? [])).toFixed(1)}`);
  }
  console.log(`encodings for each group.send(): ${encodings}`);
  if (deafMembers === 0) continue;
  console.log(`members that read have lost nothing: ${untouched}`);
  console.log(`waiting for those that never read: ${(waiting / 2 ** 20).toFixed(1)} MiB, held once`);
  console.log(`resident set: ${before} MiB before, ${after} MiB after`);
}
