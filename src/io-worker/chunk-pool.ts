/** Sizes of pooled chunks, and how many of each are kept for reuse: 16 MiB in all. */
const SIZES = [
  { bytes: 4 * 1024, kept: 1024 },
  { bytes: 16 * 1024, kept: 256 },
  { bytes: 64 * 1024, kept: 128 },
] as const;
const LARGEST_BYTES = SIZES[2].bytes;

/** A piece of output on its way to one socket, or of input that is kept: `buffer[start, end)`. */
export interface Chunk {
  readonly buffer: Buffer;
  start: number;
  end: number;
  /** Index of the pool it returns to; -1 for memory that is not the pool's. */
  readonly pool: number;
  /** A frame of this side's own (hello, pong): no sender was charged for it. */
  readonly own?: boolean;
  /** A first piece of it has been handed out. */
  isCut?: boolean;
}

/** True if all of it fits into one chunk, where it starts like `offset` modulo 8. */
export function fitsChunk(bytes: number, offset: number): boolean {
  return (offset % 8) + bytes <= LARGEST_BYTES;
}

/**
 * Memory for what passes through, used again and again: what busy connections send, and what is kept of their long messages, must not
 * become garbage.
 */
export class ChunkPool {
  readonly #free: Buffer[][] = SIZES.map(() => []);

  /** A chunk with room for `bytes`, or the largest there is. It starts like `offset` modulo 8 (shared-memory.ts says why). */
  acquire(bytes: number, offset: number): Chunk {
    const start = offset % 8;
    let pool = SIZES.findIndex((size) => size.bytes >= bytes + start);
    if (pool === -1) pool = SIZES.length - 1;
    const size = SIZES[pool] as (typeof SIZES)[number];
    const buffer = this.#free[pool]?.pop() ?? Buffer.allocUnsafeSlow(size.bytes);
    return { buffer, start, end: start, pool };
  }

  release(chunk: Chunk): void {
    const free = this.#free[chunk.pool];
    if (free !== undefined && free.length < (SIZES[chunk.pool]?.kept ?? 0)) free.push(chunk.buffer);
  }
}
