import type { SharedMemory } from '../shared/shared-memory.js';
import { type Chunk, type ChunkPool, fitsChunk } from './chunk-pool.js';

/** Pieces of long messages are longer. What is shorter would leave most of a pooled chunk empty for as long as it is kept. */
const MIN_POOLED_BYTES = 32 * 1024;

/** Who keeps a connection's input until the app thread has done with it. */
export interface InputKeeper {
  /** True: nobody will need the input again, up to that message. */
  isDone(upTo: number): boolean;
  keep(input: RetainedInput): void;
}

/** Input as it was put into a ring. */
export interface RetainedInput {
  readonly kind: number;
  readonly payload: Buffer;
  /** The number of the last message in it. */
  readonly upTo: number;
  /** The thread whose ring it was put into has had it. */
  readonly wasDelivered: boolean;
  /** A thread that has died has had it, and may have handled some of it. */
  readonly isSuspect: boolean;
  /** What the payload lies in, if it goes back to the pool when the thread has done with it. */
  readonly chunk?: Chunk;
}

/** A piece of input, and who keeps it for as long as the thread has not done with it. */
export interface KeptInput {
  readonly keeper: InputKeeper;
  /** The number of the last message in it. */
  readonly upTo: number;
  /** See RetainedInput. */
  readonly isSuspect: boolean;
}

/**
 * An entry, in words:
 * ```
 *  +-------+----------+----------------------+--------+--------+
 *  | up to | position | kind | SUSPECT << 31 | offset | length |
 *  +-------+----------+----------------------+--------+--------+
 * ```
 * `position` is that of the ring, behind the record.
 */
const field = { UP_TO: 0, POSITION: 1, KIND: 2, OFFSET: 3, LENGTH: 4 } as const;
const ENTRY_WORDS = 5;
const SUSPECT: number = 1 << 31;
const MIN_ENTRIES = 512;

/**
 * What input lies where in an event ring. As long as the app thread has not given a record's space back, the ring itself keeps
 * it. Before the space is used again, what the application has not done with (it waits in a queue there, or is a piece of
 * a long message) is copied out of the ring and kept by its connection: if the thread dies, another one gets it.
 *
 * There is an entry for each record, and it lives for as long as the record. So they are words in a queue and not objects: the
 * garbage collector would copy those again and again, and hold up all connections meanwhile.
 */
export class LaneTrail {
  readonly #ring: SharedMemory;
  readonly #pool: ChunkPool;
  /** A queue that goes round: `#size` entries from `#head` on, of as many as `#mask` + 1. */
  #words = new Int32Array(MIN_ENTRIES * ENTRY_WORDS);
  #keepers: (InputKeeper | undefined)[] = new Array(MIN_ENTRIES).fill(undefined);
  #mask = MIN_ENTRIES - 1;
  #head = 0;
  #size = 0;

  constructor(ring: SharedMemory, pool: ChunkPool) {
    this.#ring = ring;
    this.#pool = pool;
  }

  get size(): number {
    return this.#size;
  }

  add({ keeper, upTo, isSuspect }: KeptInput, position: number, kind: number, offset: number, length: number): void {
    if (this.#size > this.#mask) this.#resize(2 * this.#size);
    const index = (this.#head + this.#size++) & this.#mask;
    this.#keepers[index] = keeper;
    const at = index * ENTRY_WORDS;
    const words = this.#words;
    words[at + field.UP_TO] = upTo;
    words[at + field.POSITION] = position;
    words[at + field.KIND] = isSuspect ? kind | SUSPECT : kind;
    words[at + field.OFFSET] = offset;
    words[at + field.LENGTH] = length;
  }

  /** The space up to `position` may be used again. */
  settle(position: number): void {
    while (this.#size > 0) {
      const at = this.#head * ENTRY_WORDS;
      if (((position - (this.#words[at + field.POSITION] as number)) | 0) < 0) break;
      const keeper = this.#keepers[this.#head] as InputKeeper;
      this.#keepers[this.#head] = undefined;
      this.#head = (this.#head + 1) & this.#mask;
      this.#size--;
      const upTo = this.#words[at + field.UP_TO] as number;
      if (!keeper.isDone(upTo)) keeper.keep(this.#retained(at, upTo));
    }
    if (this.#size === 0 && this.#mask >= 16 * MIN_ENTRIES) this.#resize(MIN_ENTRIES);
  }

  #retained(at: number, upTo: number): RetainedInput {
    const kind = this.#words[at + field.KIND] as number;
    const offset = this.#words[at + field.OFFSET] as number;
    const length = this.#words[at + field.LENGTH] as number;
    const isPooled = length >= MIN_POOLED_BYTES && fitsChunk(length, offset);
    const chunk = isPooled ? this.#pool.acquire(length, offset) : undefined;
    const payload = chunk?.buffer.subarray(chunk.start, chunk.start + length) ?? Buffer.allocUnsafeSlow(length);
    this.#ring.copyOut(offset, length, payload, 0);
    const isSuspect = (kind & SUSPECT) !== 0;
    return { kind: kind & ~SUSPECT, payload, upTo, wasDelivered: true, isSuspect, ...(chunk && { chunk }) };
  }

  #resize(entries: number): void {
    const words = new Int32Array(entries * ENTRY_WORDS);
    const keepers: (InputKeeper | undefined)[] = new Array(entries).fill(undefined);
    for (let i = 0; i < this.#size; i++) {
      const index = (this.#head + i) & this.#mask;
      words.set(this.#words.subarray(index * ENTRY_WORDS, (index + 1) * ENTRY_WORDS), i * ENTRY_WORDS);
      keepers[i] = this.#keepers[index];
    }
    this.#words = words;
    this.#keepers = keepers;
    this.#mask = entries - 1;
    this.#head = 0;
  }
}
