const FIRST_BYTES = 256 * 1024;

/** Puts a message together that came in pieces. Its memory grows as the bytes arrive, not as the peer has announced. */
export class MessageAssembly {
  readonly #length: number;
  #buffer: Buffer;
  #have = 0;

  constructor(length: number) {
    this.#length = length;
    this.#buffer = Buffer.allocUnsafeSlow(Math.min(length, FIRST_BYTES));
  }

  /** Returns the message when `piece` was the last. */
  add(piece: Uint8Array): Buffer | undefined {
    const have = this.#have + piece.length;
    if (have > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#length, Math.max(have, 2 * this.#buffer.length)));
      grown.set(this.#buffer.subarray(0, this.#have));
      this.#buffer = grown;
    }
    this.#buffer.set(piece, this.#have);
    this.#have = have;
    return have === this.#length ? this.#buffer : undefined;
  }
}
