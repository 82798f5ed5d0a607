const UNIT_BYTES = 256 * 1024;
const MAX_BYTES = 1024 * 1024;
const MAX_SPARES = 4;

/**
 * Memory that is needed for a moment and never handed out, to be used again: what is touched for the first time costs far more
 * than the copy into it. 4 MiB at most lie idle.
 */
export class SpareBuffers {
  readonly #spares: Buffer[] = [];

  /** One of `bytes` bytes or more. */
  take(bytes: number): Buffer {
    const index = this.#spares.findIndex((spare) => spare.length >= bytes);
    const [spare] = index === -1 ? [] : this.#spares.splice(index, 1);
    return spare ?? Buffer.allocUnsafeSlow(bytes > MAX_BYTES ? bytes : Math.ceil(bytes / UNIT_BYTES) * UNIT_BYTES);
  }

  /** It is not needed any more. */
  giveBack(buffer: Buffer): void {
    if (buffer.length <= MAX_BYTES && this.#spares.length < MAX_SPARES) this.#spares.push(buffer);
  }
}
