import { FRAME_HEADER_BYTES } from '../shared/frame-format.js';
import type { Codec } from './codec.js';
import type { ConnectionEncoder } from './connection-encoder.js';

/** The connection's codec has state: it must encode the message for itself. */
export const EACH_FOR_ITSELF = 'each for itself';

/** One message on its way to many connections: encoded once for all that encode alike. */
export class Broadcast {
  readonly #message: Buffer;
  readonly #fits: boolean;
  readonly #onEncoding: () => void;
  readonly #encoded = new Map<string, Buffer | Promise<Buffer> | undefined>();

  /** @param onEncoding called each time that it has to be encoded */
  constructor(
    message: Buffer,
    { maxMessageBytes, minMessageBytes = 0 }: Pick<Codec, 'maxMessageBytes' | 'minMessageBytes'>,
    onEncoding: () => void = () => undefined,
  ) {
    this.#onEncoding = onEncoding;
    this.#message = message;
    this.#fits = message.length >= minMessageBytes && message.length <= maxMessageBytes;
  }

  /** What a connection is charged for until the message is encoded. */
  get plainBytes(): number {
    return FRAME_HEADER_BYTES + this.#message.length;
  }

  /** A codec may change what it encodes. */
  copy(): Buffer {
    return Buffer.from(this.#message);
  }

  /**
   * The message as that connection would encode it. Undefined: it cannot be encoded. A thread that has only the server's id does not
   * know how long a message may be.
   */
  encodedFor(encoder: ConnectionEncoder): Buffer | Promise<Buffer> | typeof EACH_FOR_ITSELF | undefined {
    if (!this.#fits) return undefined;
    const key = encoder.sharedEncoding;
    if (key !== undefined && this.#encoded.has(key)) return this.#encoded.get(key);
    this.#onEncoding();
    if (key === undefined) return EACH_FOR_ITSELF;
    let encoded: Buffer | Promise<Buffer> | undefined;
    try {
      encoded = encoder.encodeShared(this.copy());
    } catch {
      // The message is not one for this codec.
    }
    this.#encoded.set(key, encoded);
    return encoded;
  }
}
