// @ts-check
/** The peers of large-beside-small.js. `small PORT`: 50 connections with 64 bytes; `large PORT`: one with messages of 1 MiB. */
import { once } from 'node:events';
import net from 'node:net';

const WARM_UP_MS = 500;
const SECONDS = 5;
const SMALL = 50;
/** Each sends so often, if its last message has been answered: they leave the machine room. */
const EVERY_MS = 5;
const MIB = 1024 * 1024;
const UNDER_WAY = 4;
const [what, port] = process.argv.slice(2);

/** @param {number} bytes */
function frame(bytes) {
  const whole = Buffer.alloc(6 + bytes);
  whole.writeUInt32LE(2 + bytes);
  return whole;
}

/**
 * Calls back for each answer of `bytes`; a hello in front of them is passed over.
 * @param {number} bytes
 * @param {() => void} onAnswer
 */
async function connect(bytes, onAnswer) {
  const socket = net.connect(Number(port), '127.0.0.1').setNoDelay();
  await once(socket, 'connect');
  let have = 0;
  let isFirst = true;
  socket.on('data', (/** @type {Buffer} */ chunk) => {
    have += chunk.length;
    // Kind 3: a hello of 22 bytes, which comes in one piece.
    if (isFirst && chunk[4] === 3) have -= 22;
    isFirst = false;
    while (have >= bytes) {
      have -= bytes;
      onAnswer();
    }
  });
  return socket;
}

async function small() {
  const request = frame(64);
  /** @type {number[]} */
  const latencies = [];
  let measuring = false;
  for (let i = 0; i < SMALL; i++) {
    let sentAt = 0;
    const socket = await connect(request.length, () => {
      if (measuring) latencies.push(performance.now() - sentAt);
      setTimeout(send, EVERY_MS);
    });
    const send = () => {
      sentAt = performance.now();
      socket.write(request);
    };
    send();
  }
  setTimeout(() => {
    measuring = true;
  }, WARM_UP_MS);
  await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS + SECONDS * 1000));
  latencies.sort((a, b) => a - b);
  const at = (/** @type {number} */ part) => latencies[Math.floor(latencies.length * part)] ?? Number.NaN;
  process.send?.({ p50: at(0.5), p99: at(0.99), count: latencies.length });
}

async function large() {
  const message = frame(MIB);
  let count = 0;
  const socket = await connect(message.length, () => {
    count++;
    socket.write(message);
  });
  for (let i = 0; i < UNDER_WAY; i++) socket.write(message);
  process.once('message', () => process.send?.({ count }));
  process.send?.('ready');
  await once(process, 'message');
}

await (what === 'small' ? small() : large());
process.disconnect?.();
setImmediate(() => process.exit());
