import type { SharedMemory } from '../shared/shared-memory.js';
import type { Chunk, ChunkPool } from './chunk-pool.js';

/** What one connection has still to write, in order. Its bound is the connection's credit, which the senders keep to. */
export class OutputBuffer {
  readonly #pool: ChunkPool;
  #chunks: Chunk[] = [];
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

  /** Takes bytes that are this buffer's from now on: they are not copied. @param own see Chunk */
  appendOwned(buffer: Buffer, own = false): void {
    this.bytes += buffer.length;
    this.#chunks.push({ buffer, start: 0, end: buffer.length, pool: -1, own });
  }

  /** Hands out the next chunks: `limit` bytes, give or take a pooled chunk. */
  take(limit: number): Chunk[] {
    const taken: Chunk[] = [];
    let room = limit;
    while (room > 0) {
      const chunk = this.#chunks[0];
      if (chunk === undefined) break;
      const length = chunk.end - chunk.start;
      if (chunk.pool === -1 && length > room) {
        taken.push({ ...chunk, end: chunk.start + room });
        chunk.start += room;
        this.bytes -= room;
        break;
      }
      this.#chunks.shift();
      taken.push(chunk);
      this.bytes -= length;
      room -= length;
    }
    return taken;
  }

  /** Gives back what `take` handed out. */
  release(chunks: readonly Chunk[]): void {
    for (const chunk of chunks) this.#pool.release(chunk);
  }

  clear(): void {
    this.release(this.#chunks);
    this.#chunks = [];
    this.bytes = 0;
  }

  #tail(bytes: number, offset: number): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.pool !== -1 && last.end < last.buffer.length) return last;
    const chunk = this.#pool.acquire(bytes, offset);
    this.#chunks.push(chunk);
    return chunk;
  }
}
