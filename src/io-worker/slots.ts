import type { ConnectionTable, SlotSettings } from '../shared/connection-table.js';

/** So many freed slots are looked at before a fresh one is taken. */
const TRIES = 8;

/** Which slot of the connection table holds which connection. Freed slots are reused oldest first. */
export class Slots<T> {
  readonly table: ConnectionTable;
  readonly #occupants: (T | undefined)[] = [];
  #free: number[] = [];
  #freed: number[] = [];
  #worn = 0;
  count = 0;

  readonly #settle: (isSettled: () => boolean) => void;

  /** @param settle executes what the rings hold until it is told that it is enough: credit comes back, and slots become free */
  constructor(table: ConnectionTable, settle: (isSettled: () => boolean) => void) {
    this.table = table;
    this.#settle = settle;
  }

  /** Opens a slot; undefined if all are taken. */
  open(settings: SlotSettings): { slot: number; generation: number } | undefined {
    for (;;) {
      let slot = this.#reuse(TRIES) ?? this.#fresh();
      if (slot === undefined) {
        this.#settle(() => this.#free.length + this.#freed.length > 0);
        slot = this.#reuse(Number.POSITIVE_INFINITY);
      }
      if (slot === undefined) return undefined;
      const generation = this.table.open(slot, settings);
      if (generation !== -1) {
        this.count++;
        return { slot, generation };
      }
      this.#worn++;
    }
  }

  put(slot: number, occupant: T): void {
    this.#occupants[slot] = occupant;
  }

  get(slot: number): T | undefined {
    return this.#occupants[slot];
  }

  free(slot: number): void {
    this.#occupants[slot] = undefined;
    this.#freed.push(slot);
    this.count--;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (const occupant of this.#occupants) if (occupant !== undefined) yield occupant;
  }

  /** The slot that has been free for longest and that no thread owes or has bytes for any more. */
  #reuse(tries: number): number | undefined {
    let owed: number | undefined;
    for (let left = Math.min(tries, this.#free.length + this.#freed.length); left > 0; left--) {
      if (this.#free.length === 0) {
        this.#free = this.#freed.reverse();
        this.#freed = [];
      }
      const reused = this.#free.pop() as number;
      if (this.table.buffered(reused) === 0) return reused;
      // A thread has still bytes for the previous connection: they would count for the next one. Those in its ring can be had.
      if (owed === undefined) {
        owed = reused;
        this.#settle(() => this.table.buffered(reused) === 0);
        if (this.table.buffered(reused) === 0) return reused;
      }
      this.#freed.push(reused);
    }
    return undefined;
  }

  #fresh(): number | undefined {
    const fresh = this.count + this.#worn + this.#free.length + this.#freed.length;
    return fresh < this.table.slots ? fresh : undefined;
  }
}
