// @ts-check
/**
 * An echo load in a process of its own: `node load-generator.js PORT CONNECTIONS BYTES WINDOW SECONDS`.
 *
 * Each connection keeps WINDOW frames of BYTES in flight. The frames are built once and answers are only counted by their
 * bytes, so that this process costs less than the server it loads. Prints one line of JSON.
 */
import net from 'node:net';
import { createHistogram, performance } from 'node:perf_hooks';

const [port = 0, connections = 0, bytes = 0, window = 0, seconds = 0] = process.argv.slice(2).map(Number);
const FRAME_HEADER = 6;
const DATA = 0;
const frameBytes = FRAME_HEADER + bytes;
const frames = Buffer.alloc(frameBytes * window, 'x');
for (let i = 0; i < window; i++) {
  frames.writeUInt32LE(bytes + 2, i * frameBytes);
  frames.writeUInt16LE(DATA, i * frameBytes + 4);
}

const latency = createHistogram();
let echoed = 0;
let lost = 0;
let over = false;

/** @returns {Promise<net.Socket>} */
function connect() {
  return new Promise((resolve, reject) => {
    let received = 0;
    let sentAt = 0;
    let greeted = false;
    const socket = net.connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: Buffer.alloc(256 * 1024),
        callback: (length, chunk) => {
          let count = length;
          if (!greeted) {
            greeted = true;
            // A reactor greets with a hello frame (kind 3); a plain server does not.
            if (chunk[4] === 3) count -= 4 + Buffer.from(chunk.buffer, chunk.byteOffset).readUInt32LE(0);
          }
          received += count;
          const answered = Math.floor(received / frameBytes);
          if (answered === 0) return true;
          received -= answered * frameBytes;
          echoed += answered;
          const now = performance.now();
          if (sentAt > 0) latency.record(Math.max(1, Math.round((now - sentAt) * 1e6)));
          if (!over) {
            sentAt = now;
            socket.write(frames.subarray(0, answered * frameBytes));
          }
          return true;
        },
      },
    });
    socket.once('connect', () => resolve(socket));
    socket.once('error', reject);
    socket.on('close', () => {
      if (!over) lost++;
    });
  });
}

const sockets = await Promise.all(Array.from({ length: connections }, connect));
for (const socket of sockets) socket.write(frames);
// The first moments are warm-up.
await new Promise((resolve) => setTimeout(resolve, 500));
latency.reset();
const from = echoed;
const start = performance.now();
await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const elapsed = (performance.now() - start) / 1000;
const rate = (echoed - from) / elapsed;
over = true;
for (const socket of sockets) socket.destroy();
const micros = (/** @type {number} */ quantile) => Math.round(latency.percentile(quantile) / 1000);
console.log(JSON.stringify({ rate: Math.round(rate), p50: micros(50), p99: micros(99), p999: micros(99.9), lost }));
