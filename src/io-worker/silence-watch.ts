import { monotonicMs } from '../shared/monotonic-clock.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/** Notices that a peer has been silent for too long. */
export class SilenceWatch {
  readonly #wheel: TimingWheel;
  readonly #limitMs: number;
  readonly #onSilence: () => void;
  #heardAt: number = monotonicMs();
  readonly #deadline: Deadline;
  #lastLook: NodeJS.Immediate | undefined;
  #stopped = false;
  readonly #isDeaf: () => boolean;

  /**
   * @param isDeaf while it is true nobody reads what the peer sends, so its silence means nothing
   * @param onSilence is called once
   */
  constructor(wheel: TimingWheel, limitMs: number, isDeaf: () => boolean, onSilence: () => void) {
    this.#wheel = wheel;
    this.#limitMs = limitMs;
    this.#isDeaf = isDeaf;
    this.#onSilence = onSilence;
    this.#deadline = new Deadline(() => this.#onDue());
    wheel.set(this.#deadline, limitMs);
  }

  heard(): void {
    this.#heardAt = monotonicMs();
  }

  stop(): void {
    this.#stopped = true;
    this.#wheel.clear(this.#deadline);
    clearImmediate(this.#lastLook);
  }

  #onDue(): void {
    const rest = this.#rest();
    if (rest > 0) this.#wheel.set(this.#deadline, rest);
    // After a long stop of this thread timers come first, and what the peer has sent meanwhile comes after them.
    else this.#lastLook = setImmediate(() => this.#decide());
  }

  #decide(): void {
    const rest = this.#rest();
    if (rest > 0) this.#wheel.set(this.#deadline, rest);
    else if (!this.#stopped) this.#onSilence();
  }

  /** How long the peer may still be silent. */
  #rest(): number {
    if (this.#isDeaf()) this.heard();
    return this.#heardAt + this.#limitMs - monotonicMs();
  }
}
