import net from 'node:net';
import { getSystemErrorName } from 'node:util';
import type { Chunk } from './chunk-pool.js';

/** What libuv calls when it has handed to the kernel what it could not at once. */
interface WriteRequest {
  oncomplete?: (status: number) => void;
  /** Kept until then: libuv reads from it. */
  buffer?: unknown;
  /** It was over before there was an `oncomplete`. */
  writeStatus?: number | null;
}

/** The part of a libuv handle that writes. */
export interface WriteHandle {
  /** A number is an error, or 0: the kernel has it all, or `request` is under way. Otherwise the request that is under way. */
  writeBuffer(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest;
  writev(request: WriteRequest | null, pieces: readonly Uint8Array[], areBuffers: true): number | WriteRequest;
  /** Bytes that libuv has not been able to hand to the kernel yet. */
  readonly writeQueueSize: number;
}

/** Who is told of the end of a write that was under way: with 0 or an error. */
export interface WriteOwner {
  onWriteDone(status: number): void;
}

/** Makes what a write takes first. */
type MakeRequest = () => WriteRequest | null;

/**
 * Writes to the handle of a socket, past the stream that is on it, which would make more objects, and calls in later ticks, of each
 * write.
 *
 * No documentation promises that. What this Node's own sockets hand to their handle is looked at first:
 *
 *   a request     it makes one for each write, which says whether it is under way when it is over (Node 20)
 *   nothing       the handle makes one if the kernel has not taken all of it (from Node 24.22 on)
 *   anything else  sockets are written as documented
 */
const makeRequest: MakeRequest | undefined = look();

/** Whether a socket on such a handle can be written directly. */
export function canWriteDirectly(handle: object | null): handle is WriteHandle {
  const { writeBuffer, writev, writeQueueSize } = (handle ?? {}) as Partial<WriteHandle>;
  return (
    makeRequest !== undefined &&
    typeof writeBuffer === 'function' &&
    typeof writev === 'function' &&
    typeof writeQueueSize === 'number'
  );
}

/**
 * Writes the chunks with one call to the kernel. Returns 'done': it has them all. 'pending': the owner is told, with 0 or an error. Or an
 * error.
 */
export function writeDirectly(
  handle: WriteHandle,
  chunks: readonly Chunk[],
  owner: WriteOwner,
): 'done' | 'pending' | number {
  const own = (makeRequest as MakeRequest)();
  const [first] = chunks;
  const pieces = chunks.length === 1 ? piece(first as Chunk) : chunks.map(piece);
  const result = Array.isArray(pieces) ? handle.writev(own, pieces, true) : handle.writeBuffer(own, pieces);
  if (typeof result === 'number') {
    if (result !== 0) return result;
    if (own === null || handle.writeQueueSize === 0) return 'done';
  }
  const request = typeof result === 'number' ? (own as WriteRequest) : result;
  const { writeStatus } = request;
  if (typeof writeStatus === 'number') return writeStatus === 0 ? 'done' : writeStatus;
  request.buffer = pieces;
  // Only now: seldom is anything left of a write.
  request.oncomplete = (done) => owner.onWriteDone(done);
  return 'pending';
}

function piece({ buffer, start, end }: Chunk): Uint8Array {
  return buffer.subarray(start, end);
}

/** As a socket would report it. */
export function writeError(status: number): Error {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`write ${code}`), { errno: status, code, syscall: 'write' });
}

/** Has a socket write to something that is no handle. */
function look(): MakeRequest | undefined {
  let seen: unknown;
  const handle = {
    reading: false,
    readStart: () => 0,
    readStop: () => 0,
    close: () => undefined,
    writeBuffer: (request: unknown) => {
      seen = request;
      return 0;
    },
  };
  try {
    const socket = new net.Socket({ handle } as net.SocketConstructorOpts);
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(1));
    socket.destroy();
  } catch {
    return undefined;
  }
  if (seen === null) return () => null;
  if (typeof seen !== 'object' || seen === undefined) return undefined;
  const Request = seen.constructor as new () => WriteRequest;
  return Request.name === 'WriteWrap' ? () => new Request() : undefined;
}
