// @ts-check
import { once } from 'node:events';
import net from 'node:net';

const HEADER_BYTES = 6;
const LENGTH_BYTES = 4;
const BACKLOG = 4096;

/**
 * A server on `net` that finds the whole frames of each chunk, as one writes it by hand.
 * @param {number} port
 * @param {(socket: net.Socket, bytes: Buffer, start: number, end: number) => void} onFrame  the bytes are its own to keep
 * @param {{ cork: boolean }} options  cork: what is written for the frames of one chunk leaves in one write
 */
export async function listenForFrames(port, onFrame, { cork }) {
  const server = net.createServer({ noDelay: true }, (socket) => {
    /** @type {Buffer | undefined} */
    let rest;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      let position = 0;
      if (cork) socket.cork();
      while (bytes.length - position >= HEADER_BYTES) {
        const end = position + LENGTH_BYTES + bytes.readUInt32LE(position);
        if (end > bytes.length) break;
        onFrame(socket, bytes, position, end);
        position = end;
      }
      if (cork) socket.uncork();
      rest = position < bytes.length ? bytes.subarray(position) : undefined;
    });
  });
  server.listen({ port, host: '127.0.0.1', backlog: BACKLOG });
  await once(server, 'listening');
}

/**
 * A frame in memory of its own: the application may keep it, and what else was in the chunk need not stay.
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} end
 */
export function copyOf(bytes, start, end) {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}
