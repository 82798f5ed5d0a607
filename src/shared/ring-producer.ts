import type { Ledger } from './ledger.js';
import {
  alignRecord,
  GROWING,
  KIND_MASK,
  maxPayloadBytes,
  PAD_MASK,
  PAD_SHIFT,
  PADDING_KIND,
  RECORD_HEADER_BYTES,
  RING_DATA_OFFSET,
  recordWord,
  ringWord,
} from './ring-layout.js';
import type { SharedMemory } from './shared-memory.js';

/**
 * The writing end of a ring (ring-layout.ts has the picture and the rules). Exactly one thread may use it.
 *
 * A write has three steps: `claim` or `extend` gives the offset in the shared memory where the payload goes, the caller
 * copies it there, `publish` makes it visible. Until `publish`, nothing has happened as far as the consumer can tell.
 */
export class RingProducer {
  readonly memory: SharedMemory;
  readonly capacity: number;
  /** The longest payload one record can carry, in bytes. */
  readonly maxPayload: number;

  /** Own copies of the two positions; `#consumed` may be older than the truth, which only makes the ring look fuller. */
  #produced: number;
  #consumed: number;

  /** The last record, as a position; what `extend` would extend. -1 before the first. */
  #record = -1;
  #kindWord = 0;
  #slot = 0;
  #generation = 0;
  #length = 0;
  #claimed = 0;
  readonly #beforeReuse: ((consumed: number) => void) | undefined;

  /** @param beforeReuse called before space up to a position is written to again */
  constructor(memory: SharedMemory, beforeReuse?: (consumed: number) => void) {
    this.#beforeReuse = beforeReuse;
    this.memory = memory;
    this.capacity = memory.byteLength - RING_DATA_OFFSET;
    this.maxPayload = maxPayloadBytes(this.capacity);
    this.#produced = memory.load(ringWord.PRODUCED);
    this.#consumed = memory.load(ringWord.CONSUMED);
  }

  /**
   * Starts a record. `pad` (0 to 7) shifts the payload.
   * Returns the payload's byte offset in `memory`, or -1 if there is no room now.
   */
  claim(kind: number, slot: number, generation: number, length: number, pad = 0, growing = false): number {
    const size = RECORD_HEADER_BYTES + pad + length;
    const start = alignRecord(this.#produced);
    const untilEnd = this.capacity - (start & (this.capacity - 1));
    const padding = size > untilEnd ? untilEnd : 0;
    if (!this.#hasRoomUpTo((start + padding + alignRecord(size)) | 0)) return -1;
    if (padding > 0) this.memory.write(this.#wordAt(start) + recordWord.KIND, PADDING_KIND);
    this.#record = (start + padding) | 0;
    this.#kindWord = kind | (pad << PAD_SHIFT) | (growing ? GROWING : 0);
    this.#slot = slot;
    this.#generation = generation;
    this.#length = 0;
    this.#claimed = length;
    return this.#payloadOffset();
  }

  /**
   * Continues the last record in place, if it is a growing one of this kind for this connection and there is room behind
   * it. Returns the byte offset in `memory` for the `length` further bytes, or -1: then `claim`.
   */
  extend(kind: number, slot: number, generation: number, length: number): number {
    if (
      this.#record === -1 ||
      this.#slot !== slot ||
      this.#generation !== generation ||
      (this.#kindWord & (KIND_MASK | GROWING)) !== (kind | GROWING) ||
      this.#length + length > this.maxPayload
    ) {
      return -1;
    }
    const end = (this.#produced & (this.capacity - 1)) + length;
    // A payload that ended exactly at the end of the data has its continuation at offset 0: that is a new record's place.
    if (end > this.capacity || (this.#produced & (this.capacity - 1)) === 0) return -1;
    if (!this.#hasRoomUpTo(alignRecord(this.#produced + length) | 0)) return -1;
    this.#claimed = length;
    return this.#payloadOffset();
  }

  /** Makes what was claimed or extended visible to the consumer. */
  publish(): void {
    const produced = this.#writeHeader();
    this.memory.store(ringWord.PRODUCED, produced);
    this.#published(produced);
  }

  /** The same for a record with `bytes` that have been charged: the ledger has them until then. */
  publishCharged(ledger: Ledger, bytes: number): void {
    const produced = this.#writeHeader();
    this.memory.storeNoted(ringWord.PRODUCED, produced, ledger.memory, this.#slot, -bytes);
    this.#published(produced);
  }

  /** Takes `claim` or `extend` back. */
  cancel(): void {
    this.#record = -1;
  }

  /** The position behind what has been published. */
  get produced(): number {
    return this.#produced;
  }

  /**
   * Asks to be woken once `bytes` are free, and looks once more: true if they are free already. Half of the ring is the
   * most that is sure to become free.
   */
  wantSpace(bytes: number): boolean {
    this.memory.store(ringWord.SPACE_WANTED, bytes);
    this.noteConsumed();
    return this.#free() >= bytes;
  }

  /** Takes `wantSpace` back. */
  spaceFound(): void {
    this.memory.store(ringWord.SPACE_WANTED, 0);
  }

  /** More records are likely to follow in a moment, or no longer. */
  setBatch(isBatch: boolean): void {
    this.memory.store(ringWord.BATCH, isBatch ? 1 : 0);
  }

  /** Bytes that the consumer has not given back, as of now. */
  usedBytes(): number {
    return (this.#produced - this.memory.load(ringWord.CONSUMED)) | 0;
  }

  /** Looks how far the consumer has come. */
  noteConsumed(): void {
    this.#consumed = this.memory.load(ringWord.CONSUMED);
    this.#beforeReuse?.(this.#consumed);
  }

  #hasRoomUpTo(position: number): boolean {
    if (((position - this.#consumed) | 0) <= this.capacity) return true;
    this.noteConsumed();
    return ((position - this.#consumed) | 0) <= this.capacity;
  }

  /** Returns the position behind the record. */
  #writeHeader(): number {
    const { memory } = this;
    const header = this.#wordAt(this.#record);
    const length = this.#length + this.#claimed;
    // Of a record that grows, the rest has been there since its first publication.
    if (this.#length === 0) {
      memory.write(header + recordWord.KIND, this.#kindWord);
      memory.write(header + recordWord.SLOT, this.#slot);
      memory.write(header + recordWord.GENERATION, this.#generation);
    }
    memory.write(header + recordWord.LENGTH, length);
    return (this.#payloadStart() + length) | 0;
  }

  #published(produced: number): void {
    this.#length += this.#claimed;
    this.#produced = produced;
  }

  #free(): number {
    return this.capacity - ((alignRecord(this.#produced) - this.#consumed) | 0);
  }

  #payloadStart(): number {
    return this.#record + RECORD_HEADER_BYTES + ((this.#kindWord >> PAD_SHIFT) & PAD_MASK);
  }

  /** Where the next payload byte goes. */
  #payloadOffset(): number {
    return RING_DATA_OFFSET + ((this.#payloadStart() + this.#length) & (this.capacity - 1));
  }

  #wordAt(position: number): number {
    return (RING_DATA_OFFSET + (position & (this.capacity - 1))) >> 2;
  }
}
