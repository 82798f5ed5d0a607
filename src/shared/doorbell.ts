import type { SharedMemory } from './shared-memory.js';

/**
 * How a sleeping thread is woken. Each thread that consumes rings has one word, however many rings it consumes:
 *
 * ```
 *  the consumer                           a producer
 *  1  word := ASLEEP                      1  publish a record (or free space)
 *  2  look at every ring once more        2  word ASLEEP -> AWAKE ? ring : nothing to do
 *  3  still nothing: sleep
 * ```
 * Both sides write before they read, and all four accesses are sequentially consistent: either the consumer sees the
 * record in step 2 or the producer sees ASLEEP. Only one producer wins the exchange, so one sleep costs one ring.
 *
 * A thread that sleeps in its event loop (ASLEEP) is woken by a message on a port. One that sleeps in Atomics.wait (PARKED)
 * handles no messages: it is woken through the word itself. One that will look again in a moment by itself, and has nothing to do
 * before the producers have come to the end of what they are at, is DOZING: they do not ring for each record, but at that end.
 */
const AWAKE = 0;
const ASLEEP = 1;
const PARKED = 2;
const DOZING = 3;

/** The consumer's side. */
export class SleepWord {
  readonly #memory: SharedMemory;
  readonly #word: number;

  constructor(memory: SharedMemory, word: number) {
    this.#memory = memory;
    this.#word = word;
  }

  /** Step 1. After this, look once more before sleeping. */
  announceSleep(): void {
    this.#memory.store(this.#word, ASLEEP);
  }

  /** Awake again, rung or not. */
  awake(): void {
    this.#memory.store(this.#word, AWAKE);
  }

  /** Step 1 of a thread that will `park`. */
  announcePark(): void {
    this.#memory.store(this.#word, PARKED);
  }

  /** Step 1 of a thread that has set a timer for the case that nobody rings. */
  announceDoze(): void {
    this.#memory.store(this.#word, DOZING);
  }

  /** Step 3: blocks the thread until it is rung, `timeoutMs` at most. */
  park(timeoutMs: number): void {
    this.#memory.waitWhile(this.#word, PARKED, timeoutMs);
    this.awake();
  }
}

/** A producer's side. */
export class Doorbell {
  readonly #memory: SharedMemory;
  readonly #word: number;
  readonly #wake: () => void;

  /** @param wake what wakes the thread: an empty message on a port that it listens to */
  constructor(memory: SharedMemory, word: number, wake: () => void) {
    this.#memory = memory;
    this.#word = word;
    this.#wake = wake;
  }

  /** Step 2. Call it after each publication; it costs one load while the consumer is awake. True if it slept. */
  ring(): boolean {
    // Looking before exchanging keeps the cache line shared while the consumer is awake.
    if (this.#memory.load(this.#word) === AWAKE) return false;
    const before = this.#memory.exchange(this.#word, AWAKE);
    if (before === PARKED) this.#memory.notify(this.#word);
    else if (before !== AWAKE) this.#wake();
    return before !== AWAKE;
  }

  /** Step 2 of a producer that calls `endBatch` soon. */
  ringInBatch(): void {
    const state = this.#memory.load(this.#word);
    if (state !== AWAKE && state !== DOZING) this.ring();
  }

  /** The producer is at the end of a batch. */
  endBatch(): void {
    if (this.#memory.load(this.#word) === DOZING) this.ring();
  }
}
