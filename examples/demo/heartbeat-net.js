// @ts-check
// The same server on `node:net`, with the same heartbeats, in the same format (docs/wire-format.md). All of it runs in the main
// thread, as there is no other.
import net from 'node:net';
import { block, handleCommands, letProcessEnd, tellMain } from './channel.js';
import { HEARTBEAT } from './heartbeat-settings.js';

const PING = 1;
const PONG = 2;
const LENGTH_BYTES = 4;
const HEADER_BYTES = 6;

/** @type {Map<net.Socket, number>} each with the time at which something last came */
const lastReceived = new Map();

const server = net.createServer({ noDelay: true }, (socket) => {
  let input = Buffer.alloc(0);
  lastReceived.set(socket, performance.now());
  socket.on('data', (bytes) => {
    lastReceived.set(socket, performance.now());
    input = input.length === 0 ? bytes : Buffer.concat([input, bytes]);
    while (input.length >= HEADER_BYTES && input.length >= LENGTH_BYTES + input.readUInt32LE(0)) {
      const end = LENGTH_BYTES + input.readUInt32LE(0);
      if (input[LENGTH_BYTES] === PING) socket.write(frame(PONG, input.subarray(HEADER_BYTES, end)));
      input = input.subarray(end);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => lastReceived.delete(socket));
});

setInterval(() => {
  for (const [socket, at] of lastReceived) {
    if (performance.now() - at > HEARTBEAT.timeoutMs) socket.destroy();
    else socket.write(frame(PING, Buffer.alloc(0)));
  }
}, HEARTBEAT.intervalMs).unref();

/**
 * @param {number} kind
 * @param {Uint8Array} body
 */
function frame(kind, body) {
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.writeUInt32LE(bytes.length - LENGTH_BYTES);
  bytes[LENGTH_BYTES] = kind;
  bytes.set(body, HEADER_BYTES);
  return bytes;
}

handleCommands({
  block,
  close() {
    server.close();
    for (const socket of lastReceived.keys()) socket.destroy();
    letProcessEnd();
  },
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') tellMain('listening', address.port);
});
