/** Bytes that may pass in a second, and not more than those of one second at once. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #most: number;
  #level: number;
  #at: number;

  constructor(bytesPerSecond: number, now: number) {
    this.#perMs = bytesPerSecond / 1000;
    this.#most = bytesPerSecond;
    this.#level = bytesPerSecond;
    this.#at = now;
  }

  /** Bytes that may pass now. Less than 0: more have passed than may. */
  level(now: number): number {
    this.#level = Math.min(this.#most, this.#level + (now - this.#at) * this.#perMs);
    this.#at = now;
    return this.#level;
  }

  /** So many have passed: what is too much is made up for by those that follow. Returns what may pass now. */
  take(bytes: number, now: number): number {
    this.#level = this.level(now) - bytes;
    return this.#level;
  }

  /** In how many ms, from the last look on, so many may pass. */
  waitMs(bytes: number): number {
    return Math.max(0, (Math.min(bytes, this.#most) - this.#level) / this.#perMs);
  }
}
