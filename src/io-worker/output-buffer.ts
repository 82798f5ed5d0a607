import { FRAME_HEADER_BYTES, FRAME_LENGTH_BYTES, frameOffset } from '../shared/frame-format.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import type { Chunk, ChunkPool } from './chunk-pool.js';

/** Shorter pieces are copied: a chunk each would cost more than its bytes, which are all that the credit bounds. */
const MIN_SHARED_BYTES = 1024;

/** So many places of chunks that have been handed out may be left at the head of the list. */
const COMPACT_AT = 256;

/** In place of the list of those in which nothing waits: there are thousands of them. Nothing is ever added to it. */
const NOTHING: never[] = [];

/** What one connection has still to write, in order. Its bound is the connection's credit, which the senders keep to. */
export class OutputBuffer {
  readonly #pool: ChunkPool;
  #chunks: (Chunk | undefined)[] = NOTHING;
  /** The first of them that has not been handed out: shifting a long array is slow. */
  #head = 0;
  /** Bytes that `take` has not handed out yet. */
  bytes = 0;

  constructor(pool: ChunkPool) {
    this.#pool = pool;
  }

  /** Copies `length` bytes out of shared memory. */
  append(memory: SharedMemory, offset: number, length: number): void {
    this.bytes += length;
    let done = 0;
    while (done < length) {
      const chunk = this.#tail(length - done, offset + done);
      const piece = Math.min(length - done, chunk.buffer.length - chunk.end);
      memory.copyOut(offset + done, piece, chunk.buffer, chunk.end);
      chunk.end += piece;
      done += piece;
    }
  }

  /** Copies the bytes. */
  appendCopy(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    let done = 0;
    while (done < bytes.length) {
      const chunk = this.#tail(this.#sizeFor(bytes.length - done), done);
      const piece = Math.min(bytes.length - done, chunk.buffer.length - chunk.end);
      chunk.buffer.set(piece === bytes.length ? bytes : bytes.subarray(done, done + piece), chunk.end);
      chunk.end += piece;
      done += piece;
    }
  }

  /** Makes a frame of a copy of the body. Returns how long the frame is. */
  appendFrame(kind: number, body: Uint8Array): number {
    const length = FRAME_HEADER_BYTES + body.length;
    let chunk = this.#tail(this.#sizeFor(length), 0);
    if (chunk.buffer.length - chunk.end < FRAME_HEADER_BYTES) {
      chunk = this.#pool.acquire(this.#sizeFor(length), 0);
      this.#push(chunk);
    }
    const { buffer, end } = chunk;
    writeU32(buffer, end, length - FRAME_LENGTH_BYTES);
    buffer[end + frameOffset.KIND] = kind;
    buffer[end + frameOffset.FLAGS] = 0;
    chunk.end += FRAME_HEADER_BYTES;
    this.bytes += FRAME_HEADER_BYTES;
    this.appendCopy(body);
    return length;
  }

  /** Short messages are seldom alone: chunks grow with what has gathered. */
  #sizeFor(bytes: number): number {
    return Math.max(bytes, 2 * this.bytes);
  }

  /** Takes bytes that are this buffer's from now on: they are not copied. @param own see Chunk */
  appendOwned(buffer: Buffer, own = false): void {
    this.bytes += buffer.length;
    this.#push({ buffer, start: 0, end: buffer.length, pool: -1, own });
  }

  /** Takes bytes that others have, too, and that do not change. */
  appendShared(bytes: Buffer): void {
    if (bytes.length >= MIN_SHARED_BYTES) {
      this.appendOwned(bytes);
      return;
    }
    this.bytes += bytes.length;
    let done = 0;
    while (done < bytes.length) {
      const chunk = this.#tail(bytes.length - done, done);
      const copied = bytes.copy(chunk.buffer, chunk.end, done);
      chunk.end += copied;
      done += copied;
    }
  }

  /** Appends all that another one holds, which is empty then. */
  appendAll(other: OutputBuffer): void {
    this.bytes += other.bytes;
    for (const chunk of other.take(other.bytes)) this.#push(chunk);
  }

  /** All that it holds in one piece; it is empty then. */
  drain(): Buffer {
    const whole = Buffer.allocUnsafeSlow(this.bytes);
    let at = 0;
    const chunks = this.take(this.bytes);
    for (const { buffer, start, end } of chunks) at += buffer.copy(whole, at, start, end);
    this.release(chunks);
    return whole;
  }

  /**
   * Hands out the next chunks: `limit` bytes, give or take a pooled chunk.
   * @param isExact not a byte more: pooled chunks are cut, too, and given back with their last piece
   */
  take(limit: number, isExact = false): Chunk[] {
    const taken: Chunk[] = [];
    let room = limit;
    while (room > 0) {
      const chunk = this.#chunks[this.#head];
      if (chunk === undefined) break;
      const length = chunk.end - chunk.start;
      if ((chunk.pool === -1 || isExact) && length > room) {
        taken.push({ ...chunk, end: chunk.start + room, pool: -1 });
        chunk.isCut = true;
        chunk.start += room;
        this.bytes -= room;
        break;
      }
      // Whoever writes it has it now: it must not stay in memory until the list is compacted.
      this.#chunks[this.#head++] = undefined;
      taken.push(chunk);
      this.bytes -= length;
      room -= length;
    }
    if (this.#head === this.#chunks.length || this.#head >= COMPACT_AT) {
      this.#chunks = this.#head === this.#chunks.length ? NOTHING : this.#chunks.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }

  /** Gives back what `take` handed out. */
  release(chunks: readonly Chunk[]): void {
    for (const chunk of chunks) this.#pool.release(chunk);
  }

  clear(): void {
    // Of one that has been cut, the kernel may still be reading the first piece.
    this.release((this.#chunks.slice(this.#head) as Chunk[]).filter(({ isCut }) => isCut !== true));
    this.#chunks = NOTHING;
    this.#head = 0;
    this.bytes = 0;
  }

  #push(chunk: Chunk): void {
    // Mostly there is one: an empty list would take room for many as soon as the first is added.
    if (this.#chunks === NOTHING) this.#chunks = [chunk];
    else this.#chunks.push(chunk);
  }

  #tail(bytes: number, offset: number): Chunk {
    const last = this.#head < this.#chunks.length ? this.#chunks.at(-1) : undefined;
    if (last !== undefined && last.pool !== -1 && last.end < last.buffer.length) return last;
    const chunk = this.#pool.acquire(bytes, offset);
    this.#push(chunk);
    return chunk;
  }
}

function writeU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}
