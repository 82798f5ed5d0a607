import type { SharedMemory } from '../shared/shared-memory.js';

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
}

interface TrailEntry {
  readonly keeper: InputKeeper;
  readonly upTo: number;
  readonly isSuspect: boolean;
  /** Of the ring, behind the record. */
  readonly position: number;
  readonly kind: number;
  readonly offset: number;
  readonly length: number;
}

const COMPACT_AT = 1024;

/**
 * What input lies where in an event ring. As long as the app thread has not given a record's space back, the ring itself keeps
 * it. Before the space is used again, what the application has not done with (it waits in a queue there, or is a piece of
 * a long message) is copied out of the ring and kept by its connection: if the thread dies, another one gets it.
 */
export class LaneTrail {
  readonly #ring: SharedMemory;
  #entries: TrailEntry[] = [];
  #head = 0;

  constructor(ring: SharedMemory) {
    this.#ring = ring;
  }

  add(entry: TrailEntry): void {
    this.#entries.push(entry);
  }

  get size(): number {
    return this.#entries.length - this.#head;
  }

  /** The space up to `position` may be used again. */
  settle(position: number): void {
    for (; this.#head < this.#entries.length; this.#head++) {
      const { keeper, upTo, isSuspect, position: end, kind, offset, length } = this.#entries[this.#head] as TrailEntry;
      if (((position - end) | 0) < 0) break;
      if (keeper.isDone(upTo)) continue;
      const payload = Buffer.allocUnsafeSlow(length);
      this.#ring.copyOut(offset, length, payload, 0);
      keeper.keep({ kind, payload, upTo, wasDelivered: true, isSuspect });
    }
    if (this.#head === this.#entries.length) {
      this.#entries = [];
      this.#head = 0;
    } else if (this.#head > COMPACT_AT) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
