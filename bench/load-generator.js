// @ts-check
/**
 * An echo load in a process of its own: `node load-generator.js PORT CONNECTIONS BYTES WINDOW SECONDS`.
 *
 * Each connection keeps WINDOW frames of BYTES in flight. The frames are built once, all connections read into the same buffer, and
 * answers are only counted by their bytes, so that this process costs less than the server it loads. Tells its parent, if there is one,
 * when it begins to measure. Prints one line, the same as a generator in another language would (suite/load.js).
 */
import net from 'node:net';
import { createHistogram, performance } from 'node:perf_hooks';

const [port = 0, connections = 0, bytes = 0, window = 0, seconds = 0] = process.argv.slice(2).map(Number);
const FRAME_HEADER = 6;
const DATA = 0;
const HELLO = 3;
const WARM_UP_MS = 500;
const frameBytes = FRAME_HEADER + bytes;
const frames = Buffer.alloc(frameBytes * window, 'x');
for (let i = 0; i < window; i++) {
  frames.writeUInt32LE(bytes + 2, i * frameBytes);
  frames.writeUInt16LE(DATA, i * frameBytes + 4);
}
/** What so many answers are answered with; made once, since making a view costs more than sending it. */
const answers = Array.from({ length: window + 1 }, (_, count) => frames.subarray(0, count * frameBytes));
/** Nothing of it is needed any more when the callback returns. */
const readBuffer = Buffer.alloc(256 * 1024);

const latency = createHistogram();
let echoed = 0;
let dead = 0;
let bad = 0;
let over = false;

/** @returns {Promise<net.Socket>} */
function connect() {
  return new Promise((resolve, reject) => {
    let received = 0;
    /** When each frame in flight was sent, the oldest at `oldest`. */
    const sentAt = new Float64Array(window);
    let oldest = 0;
    /** Bytes of a reactor's hello that are still to come; a plain server does not greet. */
    let helloBytes = -1;
    const socket = net.connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          if (helloBytes === -1) helloBytes = readBuffer[4] === HELLO ? 4 + readBuffer.readUInt32LE(0) : 0;
          const skipped = Math.min(helloBytes, length);
          helloBytes -= skipped;
          received += length - skipped;
          const answered = Math.floor(received / frameBytes);
          if (answered === 0) return true;
          received -= answered * frameBytes;
          echoed += answered;
          if (answered > window) {
            bad++;
            return true;
          }
          // The last frame of what has come at once begins somewhere before it, if it was not whole: look at it only if it is here.
          const last = length - received - frameBytes;
          if (last >= 0 && readBuffer.readUInt32LE(last) !== bytes + 2) bad++;
          if (over) return true;
          const now = performance.now();
          // One sample for what has come at once, that of the oldest: a sample for each would cost more than counting does.
          const then = /** @type {number} */ (sentAt[oldest]);
          if (then > 0) latency.record(Math.max(1, Math.round((now - then) * 1e6)));
          for (let i = 0; i < answered; i++) {
            sentAt[oldest] = now;
            oldest = oldest + 1 === window ? 0 : oldest + 1;
          }
          socket.write(/** @type {Buffer} */ (answers[answered]));
          return true;
        },
      },
    });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
    socket.on('close', () => {
      if (!over) dead++;
    });
  });
}

process.on('disconnect', () => process.exit());
const sockets = await Promise.all(Array.from({ length: connections }, connect));
for (const socket of sockets) socket.write(frames);
await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
process.send?.('measuring');
latency.reset();
const from = echoed;
const start = performance.now();
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const rate = (echoed - from) / ((performance.now() - start) / 1000);
over = true;
const micros = (/** @type {number} */ quantile) => `${Math.round(latency.percentile(quantile) / 1000)}us`;
const throughput = `msgs/s=${Math.round(rate)} MiB/s=${((rate * bytes) / 2 ** 20).toFixed(1)}`;
const times = `p50=${micros(50)} p99=${micros(99)} p99.9=${micros(99.9)} max=${micros(100)}`;
console.log(`conns=${connections} bytes=${bytes} window=${window} ${throughput} ${times} dead=${dead} bad=${bad}`);
for (const socket of sockets) socket.destroy();
if (process.connected) process.disconnect();
