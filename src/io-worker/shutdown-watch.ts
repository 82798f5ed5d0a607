import { Deadline, type TimingWheel } from './timing-wheel.js';

/** Watches over a connection that is shutting down: it ends when nothing has moved for a whole timeout. */
export class ShutdownWatch {
  readonly #wheel: TimingWheel;
  readonly #deadline: Deadline;

  /**
   * @param progress grows with what moves
   * @param onStuck called at most once
   */
  constructor(wheel: TimingWheel, timeoutMs: number, progress: () => number, onStuck: () => void) {
    this.#wheel = wheel;
    let before = progress();
    this.#deadline = new Deadline(() => {
      const now = progress();
      if (now === before) onStuck();
      else wheel.set(this.#deadline, timeoutMs);
      before = now;
    });
    wheel.set(this.#deadline, timeoutMs);
  }

  stop(): void {
    this.#wheel.clear(this.#deadline);
  }
}
