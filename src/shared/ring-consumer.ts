import {
  alignRecord,
  GROWING,
  KIND_MASK,
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
 * The reading end of a ring (ring-layout.ts has the picture and the rules). Exactly one thread may use it.
 *
 * `next` moves to the next piece and describes it in `kind`, `slot`, `generation`, `offset` and `length`; its bytes stay
 * valid until `release`. A piece is a whole record, or of a growing record what has been published since the last time.
 */
export class RingConsumer {
  readonly memory: SharedMemory;
  readonly capacity: number;

  kind = 0;
  slot = 0;
  generation = 0;
  /** Byte offset of the piece in `memory`. */
  offset = 0;
  length = 0;

  /** Own copies of the positions. */
  #produced: number;
  #consumed: number;
  /** Up to here everything has been handed out by `next`. */
  #cursor: number;
  /** The record that `#cursor` is in: its header as a word index, where its payload starts, whether it may still grow. */
  #header = 0;
  #payloadStart = 0;
  #growing = false;

  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.capacity = memory.byteLength - RING_DATA_OFFSET;
    this.#consumed = memory.load(ringWord.CONSUMED);
    this.#produced = this.#consumed;
    this.#cursor = this.#consumed;
  }

  /** Moves to the next piece, if one has been published. */
  next(): boolean {
    const { memory } = this;
    if (this.#cursor === this.#produced) {
      this.#produced = memory.load(ringWord.PRODUCED);
      if (this.#cursor === this.#produced) return false;
    }
    if (this.#growing) {
      if (this.#takeExtension()) return true;
      // Something lies behind it, so it has stopped growing.
      this.#growing = false;
      this.#consumed = this.#cursor;
      memory.store(ringWord.CONSUMED, this.#consumed);
    }
    let record = alignRecord(this.#cursor) | 0;
    let header = this.#wordAt(record);
    let kindWord = memory.read(header + recordWord.KIND);
    if ((kindWord & KIND_MASK) === PADDING_KIND) {
      record = (record + this.capacity - (record & (this.capacity - 1))) | 0;
      header = this.#wordAt(record);
      kindWord = memory.read(header + recordWord.KIND);
    }
    const pad = (kindWord >> PAD_SHIFT) & PAD_MASK;
    this.kind = kindWord & KIND_MASK;
    this.slot = memory.read(header + recordWord.SLOT);
    this.generation = memory.read(header + recordWord.GENERATION);
    this.#growing = (kindWord & GROWING) !== 0;
    this.#payloadStart = (record + RECORD_HEADER_BYTES + pad) | 0;
    this.#cursor = this.#payloadStart;
    this.#take(memory.read(header + recordWord.LENGTH), header);
    return true;
  }

  /** Gives the space of the piece back, unless its record may still grow: then `next` does, later. */
  release(): void {
    if (this.#growing) return;
    this.#consumed = this.#cursor;
    this.memory.store(ringWord.CONSUMED, this.#consumed);
  }

  /** True if the producer waits for as much space as is free by now: then ring its doorbell. */
  spaceWanted(): boolean {
    const wanted = this.memory.load(ringWord.SPACE_WANTED);
    if (wanted === 0) return false;
    const produced = this.memory.load(ringWord.PRODUCED);
    return this.capacity - ((alignRecord(produced) - this.#consumed) | 0) >= wanted;
  }

  /** The producer is likely to bring more in a moment. */
  isInBatch(): boolean {
    return this.memory.load(ringWord.BATCH) !== 0;
  }

  /** The position behind what has been published by now; `distanceTo` tells when `next` has got there. */
  publishedPosition(): number {
    return this.memory.load(ringWord.PRODUCED);
  }

  /** Bytes between what `next` has handed out and the position: 0 is there, less is beyond. */
  distanceTo(position: number): number {
    return (position - this.#cursor) | 0;
  }

  /** The position up to which space has been given back. */
  get consumedPosition(): number {
    return this.#consumed;
  }

  /** True if nothing has been published that `next` has not handed out. */
  isEmpty(): boolean {
    return this.memory.load(ringWord.PRODUCED) === this.#cursor;
  }

  #takeExtension(): boolean {
    const header = this.#header;
    const length = this.memory.read(header + recordWord.LENGTH);
    if (((this.#payloadStart + length - this.#cursor) | 0) <= 0) return false;
    this.#take(length, header);
    return true;
  }

  #take(recordLength: number, header: number): void {
    this.#header = header;
    const end = (this.#payloadStart + recordLength) | 0;
    // The header may already tell of an extension that PRODUCED does not cover yet.
    const until = this.#growing && ((end - this.#produced) | 0) > 0 ? this.#produced : end;
    this.offset = RING_DATA_OFFSET + (this.#cursor & (this.capacity - 1));
    this.length = (until - this.#cursor) | 0;
    this.#cursor = until;
  }

  #wordAt(position: number): number {
    return (RING_DATA_OFFSET + (position & (this.capacity - 1))) >> 2;
  }
}
