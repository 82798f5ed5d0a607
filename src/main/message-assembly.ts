import { copyBytes } from '../shared/shared-memory.js';
import { SpareBuffers } from './spare-buffers.js';

const FIRST_BYTES = 256 * 1024;
/** Memory that is touched for the first time costs more than the copy itself: not twice as much each time. */
const GROWTH = 4;

/** For beginnings of longer messages, which go no further than here. All of them have FIRST_BYTES. */
const beginnings = new SpareBuffers();

/** Puts a message together that came in pieces. Its memory grows as the bytes arrive, not as the peer has announced. */
export class MessageAssembly {
  readonly #length: number;
  #buffer: Buffer;
  #have = 0;

  constructor(length: number) {
    this.#length = length;
    this.#buffer = length > FIRST_BYTES ? beginnings.take(FIRST_BYTES) : Buffer.allocUnsafeSlow(length);
  }

  /** Returns the message when `piece`, which may lie in shared memory, was the last. */
  add(piece: Uint8Array): Buffer | undefined {
    const have = this.#have + piece.length;
    if (have > this.#length) throw new RangeError(`${have} bytes of a message of ${this.#length}`);
    if (have > this.#buffer.length) {
      const grown = Buffer.allocUnsafeSlow(Math.min(this.#length, Math.max(have, GROWTH * this.#buffer.length)));
      grown.set(this.#buffer.subarray(0, this.#have));
      if (this.#buffer.length === FIRST_BYTES) beginnings.giveBack(this.#buffer);
      this.#buffer = grown;
    }
    copyBytes(this.#buffer, this.#have, piece, 0, piece.length);
    this.#have = have;
    return have === this.#length ? this.#buffer : undefined;
  }
}
