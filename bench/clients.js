// @ts-check
/**
 * Many clients in a process of their own: `node clients.js PORT COUNT BATCH`. BATCH of them connect at the same time, each sends a frame
 * and waits for its echo. Then it tells its parent how long that took, and keeps the connections until the parent lets go of it.
 */
import net from 'node:net';
import { performance } from 'node:perf_hooks';

/** @typedef {{ failed: number, cause: string, totalMs: number, p99Ms: number }} ClientsReport  the times are those until the echo */

const [port = 0, count = 0, batch = 0] = process.argv.slice(2).map(Number);
const BODY_BYTES = 16;
const FRAME_BYTES = 6 + BODY_BYTES;
const HELLO = 3;
const PATIENCE_MS = 30_000;
const frame = Buffer.alloc(FRAME_BYTES);
frame.writeUInt32LE(BODY_BYTES + 2, 0);
const readBuffer = Buffer.alloc(4096);

/** @type {number[]} */
const times = [];
let cause = '';

/** Resolves with the connection, which stays open, or with undefined; `cause` is then why. */
function echoOnce() {
  return new Promise((resolve) => {
    const start = performance.now();
    let received = 0;
    let expected = FRAME_BYTES;
    const fail = (/** @type {string} */ why) => {
      cause ||= why;
      socket.destroy();
      resolve(undefined);
    };
    const timer = setTimeout(fail, PATIENCE_MS, 'no echo in time');
    const socket = net.connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          // A reactor greets; its hello comes whole, since it is written before anything else.
          if (received === 0 && readBuffer[4] === HELLO) expected += 4 + readBuffer.readUInt32LE(0);
          received += length;
          if (received >= expected) {
            clearTimeout(timer);
            times.push(performance.now() - start);
            resolve(socket);
          }
          return true;
        },
      },
    });
    socket.once('connect', () => socket.write(frame));
    socket.once('error', (error) => fail(error.message));
    socket.once('close', () => fail('closed'));
    socket.once('close', () => clearTimeout(timer));
  });
}

const start = performance.now();
for (let begun = 0; begun < count; begun += batch) {
  await Promise.all(Array.from({ length: Math.min(batch, count - begun) }, echoOnce));
}
times.sort((a, b) => a - b);
process.send?.({
  failed: count - times.length,
  cause,
  totalMs: performance.now() - start,
  p99Ms: times[Math.ceil(times.length * 0.99) - 1] ?? Number.NaN,
});
process.on('disconnect', () => process.exit());
