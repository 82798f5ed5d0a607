import { monotonicMs } from '../shared/monotonic-clock.js';

/**
 * Deadlines by the hundred thousand: setting and clearing one costs the same however many there are, and a moment at which none is
 * due costs nothing.
 *
 * ```
 *  level   slots   one slot is       reaches
 *  0       256     1 ms              256 ms
 *  1        64     256 ms            16 s
 *  2        64     16 s              17 min
 *  3        64     17 min            18 h
 *  4        64     18 h              49 days      what is further away waits in the last slot, and is put back from there
 * ```
 * A deadline lies in the slot of the lowest level that reaches it. When the time comes to a slot of level 1 or above, what lies in it
 * goes to the levels below; when it comes to one of level 0, what lies in it is due. A bit for each slot says whether anything lies
 * there, so that the wheel finds the next moment with something to do, and has one timer of Node's for that.
 */
const SLOT_BITS = [8, 6, 6, 6, 6] as const;
const LEVELS = SLOT_BITS.length;

/** ms that a slot of each level covers, and how many slots it has. */
const UNITS: readonly number[] = SLOT_BITS.map((_, level) => 2 ** SLOT_BITS.slice(0, level).reduce((a, b) => a + b, 0));
const SLOTS: readonly number[] = SLOT_BITS.map((bits) => 2 ** bits);
const WORD_BITS = 32;

/** Node's own timers reach 2^31 ms. */
const MAX_SLEEP_MS = 2 ** 31 - 1;

/** Something that is to happen at a time. It is set, set anew and cleared through the wheel, and belongs to that one wheel. */
export class Deadline {
  readonly onDue: () => void;
  /** @internal The wheel's: when, in ticks, and where it lies. */
  due = 0;
  slot: Slot | undefined;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  constructor(onDue: () => void) {
    this.onDue = onDue;
  }

  /** It has been set, and has been neither due nor cleared since. */
  get isSet(): boolean {
    return this.slot !== undefined;
  }
}

/** The deadlines of one slot, as a list through them. */
class Slot {
  readonly level: number;
  readonly index: number;
  first: Deadline | undefined;
  last: Deadline | undefined;

  constructor(level: number, index: number) {
    this.level = level;
    this.index = index;
  }
}

/** What a wheel goes by; another one in tests. */
export interface WheelClock {
  /** ms, from any beginning on; it never goes back. */
  now(): number;
  /** Calls back once after so many ms; called again, in place of the call before. */
  wakeAfter(ms: number, wake: () => void): void;
}

class NodeClock implements WheelClock {
  #timer: NodeJS.Timeout | undefined;

  now(): number {
    return monotonicMs();
  }

  wakeAfter(ms: number, wake: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(wake, ms).unref();
  }
}

export class TimingWheel {
  readonly #clock: WheelClock;
  readonly #levels: readonly (readonly Slot[])[];
  /** A bit for each slot that holds something. */
  readonly #occupied: readonly Int32Array[];
  readonly #start: number;
  /** The tick (ms since the start) up to which everything has happened. */
  #tick = 0;
  /** The tick that the clock has been asked to wake for. */
  #wakeTick = Number.POSITIVE_INFINITY;
  #turning = false;
  #size = 0;

  constructor(clock: WheelClock = new NodeClock()) {
    this.#clock = clock;
    this.#start = clock.now();
    this.#levels = SLOTS.map((slots, level) => Array.from({ length: slots }, (_, index) => new Slot(level, index)));
    this.#occupied = SLOTS.map((slots) => new Int32Array(slots / WORD_BITS));
  }

  /** How many deadlines are set. */
  get size(): number {
    return this.#size;
  }

  /** ms since the wheel was made. */
  get now(): number {
    return this.#clock.now() - this.#start;
  }

  /**
   * Sets a deadline, or sets it anew. It is due when that time has passed, not before.
   * @param slackMs it may be that much later: those that are due at about the same time are then due together
   */
  set(deadline: Deadline, afterMs: number, slackMs = 1): void {
    this.clear(deadline);
    const due = Math.ceil((this.now + afterMs) / slackMs) * slackMs;
    deadline.due = Math.max(this.#tick + 1, due);
    this.#size++;
    this.#insert(deadline);
    // The wheel looks for the next one itself when it stops turning.
    if (!this.#turning && deadline.due < this.#wakeTick) this.#wakeFor(deadline.due);
  }

  clear(deadline: Deadline): void {
    if (deadline.slot === undefined) return;
    this.#remove(deadline, deadline.slot);
    this.#size--;
  }

  /** Everything that has become due happens now. */
  turn(): void {
    if (this.#turning) return;
    const now = Math.floor(this.now);
    this.#turning = true;
    try {
      for (let tick = this.#nextTick(); tick <= now; tick = this.#nextTick()) {
        this.#tick = tick;
        this.#cascade(tick);
        this.#expire(tick);
      }
      this.#tick = Math.max(this.#tick, now);
    } finally {
      this.#turning = false;
      this.#wakeTick = Number.POSITIVE_INFINITY;
      const next = this.#nextTick();
      if (next !== Number.POSITIVE_INFINITY) this.#wakeFor(next);
    }
  }

  #wakeFor(tick: number): void {
    this.#wakeTick = tick;
    this.#clock.wakeAfter(Math.min(MAX_SLEEP_MS, Math.max(1, Math.ceil(tick - this.now))), () => this.turn());
  }

  #insert(deadline: Deadline): void {
    const slot = this.#slotFor(deadline.due);
    deadline.slot = slot;
    deadline.previous = slot.last;
    if (slot.last === undefined) slot.first = deadline;
    else slot.last.next = deadline;
    slot.last = deadline;
    this.#mark(slot, true);
  }

  #slotFor(due: number): Slot {
    for (let level = 0; level < LEVELS; level++) {
      const unit = UNITS[level] as number;
      const slots = SLOTS[level] as number;
      const at = Math.floor(due / unit);
      if (at - Math.floor(this.#tick / unit) < slots) return this.#levels[level]?.[at % slots] as Slot;
    }
    // The slot of the highest level that comes last.
    const top = LEVELS - 1;
    const slots = SLOTS[top] as number;
    const last = Math.floor(this.#tick / (UNITS[top] as number)) + slots - 1;
    return this.#levels[top]?.[last % slots] as Slot;
  }

  #remove(deadline: Deadline, slot: Slot): void {
    const { previous, next } = deadline;
    if (previous === undefined) slot.first = next;
    else previous.next = next;
    if (next === undefined) slot.last = previous;
    else next.previous = previous;
    deadline.previous = undefined;
    deadline.next = undefined;
    deadline.slot = undefined;
    if (slot.first === undefined) this.#mark(slot, false);
  }

  #mark({ level, index }: Slot, isOccupied: boolean): void {
    const words = this.#occupied[level] as Int32Array;
    const word = Math.floor(index / WORD_BITS);
    const bit = 1 << (index % WORD_BITS);
    words[word] = isOccupied ? (words[word] as number) | bit : (words[word] as number) & ~bit;
  }

  /** The next tick at which something is due or goes down a level. */
  #nextTick(): number {
    let next = Number.POSITIVE_INFINITY;
    for (let level = 0; level < LEVELS; level++) {
      const unit = UNITS[level] as number;
      const at = Math.floor(this.#tick / unit);
      const distance = this.#distance(level, (at + 1) % (SLOTS[level] as number));
      if (distance !== -1) next = Math.min(next, (at + 1 + distance) * unit);
    }
    return next;
  }

  /** How many slots on from `from` the first is that holds something, or -1. */
  #distance(level: number, from: number): number {
    const words = this.#occupied[level] as Int32Array;
    const slots = SLOTS[level] as number;
    const first = Math.floor(from / WORD_BITS);
    for (let i = 0; i <= words.length; i++) {
      const word = (first + i) % words.length;
      let bits = words[word] as number;
      // Of the word that it begins in, first what is behind, and at the very end what is in front.
      if (i === 0) bits &= -1 << (from % WORD_BITS);
      else if (i === words.length) bits &= ~(-1 << (from % WORD_BITS));
      if (bits === 0) continue;
      const index = word * WORD_BITS + (WORD_BITS - 1 - Math.clz32(bits & -bits));
      return (index - from + slots) % slots;
    }
    return -1;
  }

  /** What lies in slots whose time begins at that tick goes to the levels below. */
  #cascade(tick: number): void {
    for (let level = LEVELS - 1; level > 0; level--) {
      const unit = UNITS[level] as number;
      if (tick % unit !== 0) continue;
      const slot = this.#levels[level]?.[Math.floor(tick / unit) % (SLOTS[level] as number)] as Slot;
      for (let left = slot.first; left !== undefined; ) {
        const deadline: Deadline = left;
        left = deadline.next;
        this.#remove(deadline, slot);
        this.#insert(deadline);
      }
    }
  }

  #expire(tick: number): void {
    const slots = SLOTS[0] as number;
    const slot = this.#levels[0]?.[tick % slots] as Slot;
    // What is set meanwhile is due later, and lies elsewhere.
    let threw = true;
    try {
      for (let deadline = slot.first; deadline !== undefined; deadline = slot.first) {
        this.clear(deadline);
        deadline.onDue();
      }
      threw = false;
    } finally {
      // The others have their turn in the next tick.
      if (threw) this.#postpone(slot, tick + 1);
    }
  }

  #postpone(slot: Slot, due: number): void {
    for (let deadline = slot.first; deadline !== undefined; deadline = slot.first) {
      this.#remove(deadline, slot);
      deadline.due = due;
      this.#insert(deadline);
    }
  }
}
