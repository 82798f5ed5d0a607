import type { ReconnectSettings } from '../shared/reconnect-settings.js';

/** How long to wait before each attempt in a row: longer and longer, and never quite as long as anybody else. */
export class Backoff {
  readonly #settings: Pick<ReconnectSettings, 'minDelayMs' | 'maxDelayMs' | 'factor' | 'jitter'>;
  readonly #random: () => number;
  #baseMs: number;

  constructor(
    settings: Pick<ReconnectSettings, 'minDelayMs' | 'maxDelayMs' | 'factor' | 'jitter'>,
    random: () => number = Math.random,
  ) {
    this.#settings = settings;
    this.#random = random;
    this.#baseMs = settings.minDelayMs;
  }

  /** In ms. */
  next(): number {
    const { maxDelayMs, factor, jitter } = this.#settings;
    const delay = this.#baseMs * (1 + jitter * (2 * this.#random() - 1));
    this.#baseMs = Math.min(maxDelayMs, this.#baseMs * factor);
    return Math.min(maxDelayMs, delay);
  }

  reset(): void {
    this.#baseMs = this.#settings.minDelayMs;
  }
}
