/** A single message may be longer when there is no other one. */
const MAX_BYTES = 32 * 1024 * 1024;

interface Turn {
  readonly bytes: number;
  readonly start: () => void;
}

/**
 * Long messages for one thread that have been, or are being, decompressed and have not been delivered. A few bytes of a peer's can
 * become many: a thousand peers at once must not become a thousand times the longest message. Whoever comes too much waits, in
 * order, and is not read meanwhile.
 */
export class InflationBudget {
  #bytes = 0;
  #waiting: Turn[] = [];
  #isServing = false;

  /** Calls `start`, now or when it is its turn. From then on the bytes count, until they are given back. */
  take(bytes: number, start: () => void): void {
    if (this.#waiting.length === 0 && this.#hasRoom(bytes)) {
      this.#bytes += bytes;
      start();
    } else this.#waiting.push({ bytes, start });
  }

  give(bytes: number): void {
    this.#bytes -= bytes;
    // Who has closed meanwhile gives back at once: the call that is under way goes on with the next.
    if (this.#isServing) return;
    this.#isServing = true;
    for (let next = this.#waiting[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.start();
    }
    this.#isServing = false;
  }

  #hasRoom(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= MAX_BYTES;
  }
}
