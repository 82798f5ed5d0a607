import { Deadline, type TimingWheel } from './timing-wheel.js';

const SLICE_MS = 100;
/** A slice may have so many attempts, however few wait. */
const MIN_PER_SLICE = 4;
/** All that wait are spread over so many slices at least. */
const MIN_SLICES = 100;

/**
 * When the attempts of an io worker to connect again are made. Clients that have lost the same server at the same moment would come
 * back together, whatever their jitter: here they are spread over ten seconds at least, so that no second has more than a tenth of them.
 * A few clients are not held up, unless they try again all the time.
 */
export class RetrySchedule {
  readonly #wheel: TimingWheel;
  readonly #random: () => number;
  /** How many attempts a slice has, by its number; those that have been made count until it is over. */
  readonly #slices = new Map<number, number>();
  /** Slices in which some have been made, the earliest first. */
  readonly #begun = new Set<number>();
  #waiting = 0;

  constructor(wheel: TimingWheel, random: () => number = Math.random) {
    this.#wheel = wheel;
    this.#random = random;
  }

  /** How many attempts are still to be made. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Runs it once, not earlier than in `delayMs`. */
  add(delayMs: number, run: () => void): Retry {
    this.#waiting++;
    const now = this.#wheel.now;
    this.#forgetBefore(Math.floor(now / SLICE_MS));
    const most = Math.max(MIN_PER_SLICE, Math.ceil(this.#waiting / MIN_SLICES));
    // In whole ms, as the wheel has it: it would be late for its slice otherwise.
    const wanted = Math.floor(Math.ceil(now + delayMs) / SLICE_MS);
    let slice = wanted;
    while ((this.#slices.get(slice) ?? 0) >= most) slice++;
    this.#slices.set(slice, (this.#slices.get(slice) ?? 0) + 1);
    const afterMs = slice === wanted ? delayMs : Math.floor((slice + this.#random()) * SLICE_MS) - now;
    const deadline = new Deadline(() => {
      this.#waiting--;
      this.#begun.add(slice);
      run();
    });
    this.#wheel.set(deadline, afterMs);
    return {
      delayMs: afterMs,
      cancel: () => {
        if (!deadline.isSet) return;
        this.#wheel.clear(deadline);
        this.#leave(slice);
      },
    };
  }

  #leave(slice: number): void {
    this.#waiting--;
    const left = (this.#slices.get(slice) ?? 1) - 1;
    if (left === 0) this.#slices.delete(slice);
    else this.#slices.set(slice, left);
  }

  /** They are over. */
  #forgetBefore(slice: number): void {
    for (const begun of this.#begun) {
      if (begun >= slice) break;
      this.#begun.delete(begun);
      this.#slices.delete(begun);
    }
  }
}

/** An attempt that is still to be made. */
export interface Retry {
  readonly delayMs: number;
  cancel(): void;
}
