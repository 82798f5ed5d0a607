// @ts-check
/**
 * `node send-process.js net|net-cork|reactor SECONDS`: sends batches of messages of 64 bytes to a process that discards them, and waits
 * behind each until all is with the kernel. Tells its parent, for each message, the median of the ns that the calls took, and the ns
 * for which this thread was not idle: `net` does most of its work after the call.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { Reactor } from 'simple-reactor';

const [kind = '', seconds = ''] = process.argv.slice(2);
const BATCH = 1000;
const WARM_UP_BATCHES = 200;
const FRAME_OVERHEAD = 6;
const message = Buffer.alloc(64, 'x');

if (kind === 'sink') await discard();
else await measure();

async function discard() {
  const server = net.createServer((socket) => socket.on('error', () => {}).resume());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  process.send?.(/** @type {net.AddressInfo} */ (server.address()).port);
  process.on('disconnect', () => process.exit());
}

async function measure() {
  const sink = fork(new URL(import.meta.url), ['sink']);
  const [port] = await once(sink, 'message');
  const send = kind === 'reactor' ? await byReactor(port) : await bySocket(port, kind === 'net-cork');
  for (let i = 0; i < WARM_UP_BATCHES; i++) await send();
  /** @type {number[]} */
  const calls = [];
  const from = performance.eventLoopUtilization();
  for (const end = performance.now() + Number(seconds) * 1000; performance.now() < end; ) calls.push(await send());
  const { active } = performance.eventLoopUtilization(from);
  calls.sort((a, b) => a - b);
  const inCall = (calls[Math.floor(calls.length / 2)] ?? Number.NaN) / BATCH;
  sink.disconnect();
  process.send?.([inCall * 1e6, (active / calls.length / BATCH) * 1e6], () => process.exit());
}

/**
 * @param {number} port
 * @returns {Promise<() => Promise<number>>} sends a batch, resolves with the ms in the calls
 */
async function byReactor(port) {
  const reactor = await Reactor.spawn();
  const connection = await reactor.connect({ host: '127.0.0.1', port });
  return async () => {
    const start = performance.now();
    for (let i = 0; i < BATCH; i++) connection.send(message);
    const ms = performance.now() - start;
    await connection.flush();
    return ms;
  };
}

/**
 * @param {number} port
 * @param {boolean} cork
 * @returns {Promise<() => Promise<number>>}
 */
async function bySocket(port, cork) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  // The frame that a reactor would make of it.
  const frame = Buffer.concat([Buffer.alloc(FRAME_OVERHEAD), message]);
  return async () => {
    const start = performance.now();
    if (cork) socket.cork();
    for (let i = 1; i < BATCH; i++) socket.write(frame);
    /** @type {Promise<void>} */
    const written = new Promise((resolve) => socket.write(frame, () => resolve()));
    if (cork) socket.uncork();
    const ms = performance.now() - start;
    await written;
    return ms;
  };
}
