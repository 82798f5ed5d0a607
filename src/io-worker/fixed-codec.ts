import type { FixedSettings } from '../shared/codec-settings.js';
import { type Codec, type CodecChannel, type CodecOutput, type ConnectionCodec, STREAM_ABOVE_BYTES } from './codec.js';
import { PartialFrame } from './partial-frame.js';

/**
 * Codec 'fixed': messages that all have the same length, and nothing between them.
 *
 * ```
 *  0             bytes         2 x bytes     3 x bytes
 *  +-------------+-------------+-------------+
 *  | message ... | message ... | message ... |
 *  +-------------+-------------+-------------+
 * ```
 */
export class FixedCodec implements Codec {
  readonly maxMessageBytes: number;
  readonly minMessageBytes: number;

  constructor({ bytes }: FixedSettings) {
    this.maxMessageBytes = bytes;
    this.minMessageBytes = bytes;
  }

  open(channel: CodecChannel): ConnectionCodec {
    return new FixedConnection(channel, this.maxMessageBytes);
  }
}

/** Memory: a message that has not come whole, up to STREAM_ABOVE_BYTES; a longer one goes on as it arrives. */
class FixedConnection implements ConnectionCodec {
  readonly sharedEncoding = 'fixed';
  readonly #channel: CodecChannel;
  readonly #bytes: number;
  readonly #partial = new PartialFrame();
  /** How many bytes of a long message have gone on. */
  #passed = 0;

  constructor(channel: CodecChannel, bytes: number) {
    this.#channel = channel;
    this.#bytes = bytes;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    return this.#bytes > STREAM_ABOVE_BYTES ? this.#stream(bytes, start, end) : this.#gather(bytes, start, end);
  }

  incomplete(): string | undefined {
    const have = this.#passed + this.#partial.length;
    return have % this.#bytes === 0 ? undefined : `only ${have} bytes of a message of ${this.#bytes} came`;
  }

  encode(message: Buffer, output: CodecOutput): void {
    if (message.length !== this.#bytes) {
      throw new RangeError(`A message of ${message.length} bytes, with codec 'fixed' it must have ${this.#bytes}`);
    }
    output.write(message);
  }

  #gather(bytes: Uint8Array, start: number, end: number): number {
    const partial = this.#partial;
    let position = start;
    if (partial.length > 0) {
      position = Math.min(end, start + this.#bytes - partial.length);
      partial.append(bytes, start, position, this.#bytes);
      if (partial.length < this.#bytes || !this.#channel.message(partial.bytes, 0, this.#bytes)) return position;
      partial.clear();
    }
    while (end - position >= this.#bytes) {
      const next = position + this.#bytes;
      if (!this.#channel.message(bytes, position, next)) return position;
      position = next;
    }
    if (position < end) partial.append(bytes, position, end, this.#bytes);
    return end;
  }

  #stream(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    while (position < end) {
      const until = Math.min(end, position + this.#bytes - this.#passed);
      const taken =
        this.#passed === 0
          ? this.#channel.partFirst(this.#bytes, bytes, position, until)
          : this.#channel.part(bytes, position, until);
      if (!taken) return position;
      this.#passed = (this.#passed + until - position) % this.#bytes;
      position = until;
    }
    return end;
  }
}
