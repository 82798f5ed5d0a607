/** The least that is taken at once, so that a frame that comes byte by byte does not move with each of them. */
const FIRST_BYTES = 512;

const EMPTY = new Uint8Array(0);

/**
 * The bytes of a frame that has not come whole yet.
 *
 * The memory grows as bytes arrive, and not as the peer has announced: at most twice what has come, and never beyond what the
 * frame needs. Whoever gathers n bytes one by one copies O(n) in all.
 */
export class PartialFrame {
  #bytes: Uint8Array = EMPTY;
  #length = 0;

  /** The memory, of which the first `length` bytes have come. `append` may move it; `clear` leaves it to whoever has it. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** How many bytes have come. */
  get length(): number {
    return this.#length;
  }

  /** @param total what the frame will take at most: the memory never grows beyond it */
  append(source: Uint8Array, start: number, end: number, total: number): void {
    const needed = this.#length + end - start;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, Math.min(total, Math.max(2 * needed, FIRST_BYTES))));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    // A loop is cheaper than a subarray for the single bytes of a header.
    if (end - start === 1) this.#bytes[this.#length] = source[start] as number;
    else this.#bytes.set(source.subarray(start, end), this.#length);
    this.#length = needed;
  }

  /** Only the first `length` bytes are wanted. */
  shorten(length: number): void {
    this.#length = length;
  }

  /** The first `count` bytes are not wanted. */
  cutFront(count: number): void {
    this.#bytes = this.#bytes.subarray(count);
    this.#length -= count;
  }

  clear(): void {
    this.#bytes = EMPTY;
    this.#length = 0;
  }
}
