import { ReactorError } from '../shared/reactor-error.js';
import type { CodecChannel, ConnectionCodec } from './codec.js';
import { PartialFrame } from './partial-frame.js';

export interface DecodeFramesOptions {
  /** The longest frame. A peer that sends a longer one is closed with 'frame-too-large'. */
  readonly maxBytes: number;
  /**
   * How long the frame is that begins at the front of `bytes`, or undefined if more bytes are needed to tell: it may look a byte beyond
   * the longest frame, and is given no more. What it throws closes the connection: see `ConnectionCodec.decode`.
   */
  readonly frameLength: (bytes: Buffer) => number | undefined;
  /**
   * What of a whole frame is the message. Default: all of it. Return a part of `frame`, or undefined if it is none of the application's,
   * such as a heartbeat: nothing comes of it, and it counts as no message. It is asked again about a frame that the channel did not take.
   */
  readonly message?: ((frame: Buffer) => Uint8Array | undefined) | undefined;
}

/**
 * The reading half of a codec, for a protocol in which one can see from its first bytes how long a frame is. It keeps what has not
 * come whole, up to `maxBytes` and one more, and gives the channel the message in each frame. Thread: io worker.
 */
export function decodeFrames(
  channel: CodecChannel,
  options: DecodeFramesOptions,
): Pick<ConnectionCodec, 'decode' | 'incomplete'> {
  const decoder = new FramesDecoder(channel, options);
  return {
    decode: (bytes, start, end) => decoder.decode(bytes, start, end),
    incomplete: () => decoder.incomplete(),
  };
}

class FramesDecoder {
  readonly #channel: CodecChannel;
  readonly #options: DecodeFramesOptions;
  /** In so many bytes the length of a frame must show. However they were split, `frameLength` sees no more. */
  readonly #most: number;
  /** The start of a frame that is not whole. */
  readonly #partial = new PartialFrame();
  /** What it will have; undefined as long as that cannot be told. */
  #length: number | undefined;
  #failed = false;

  constructor(channel: CodecChannel, options: DecodeFramesOptions) {
    this.#channel = channel;
    this.#options = options;
    this.#most = options.maxBytes + 1;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (this.#partial.length > 0 && !this.#failed) {
      const before = this.#partial.length;
      // Enough to find out, or for the whole frame; not all there is, which would be copied for nothing.
      const wanted = (this.#length ?? Math.min(2 * before, this.#most)) - before;
      const until = Math.min(end, at + Math.max(wanted, 1));
      this.#partial.append(bytes, at, until, this.#length ?? this.#most);
      if (this.#length !== undefined && this.#partial.length < this.#length) return end;
      const whole = asBuffer(this.#partial.bytes).subarray(0, this.#partial.length);
      const length = this.#lengthOf(whole);
      if (length === undefined || length > this.#partial.length) {
        at = until;
        if (at === end) return end;
        continue;
      }
      // What was appended beyond its end is still in `bytes`.
      if (this.#failed) return end;
      if (!this.#give(whole.subarray(0, length))) {
        this.#partial.shorten(before);
        return at;
      }
      this.#length = undefined;
      if (length < before) {
        // It took a look beyond its end to tell: what is behind it has come before.
        this.#partial.shorten(before);
        this.#partial.cutFront(length);
        continue;
      }
      at += length - before;
      this.#partial.clear();
    }
    const view = asBuffer(bytes);
    while (at < end && !this.#failed) {
      const length = this.#lengthOf(view.subarray(at, Math.min(end, at + this.#most)));
      if (length === undefined || length > end - at) {
        this.#partial.append(bytes, at, end, length ?? this.#most);
        return end;
      }
      if (this.#failed || !this.#give(view.subarray(at, at + length))) return at;
      at += length;
    }
    return at;
  }

  incomplete(): string | undefined {
    return this.#partial.length === 0 ? undefined : `only ${this.#partial.length} bytes of a frame came`;
  }

  /** Sets `#length`, too, and fails if the frame is too long. */
  #lengthOf(bytes: Buffer): number | undefined {
    const { maxBytes } = this.#options;
    const length = this.#options.frameLength(bytes);
    if (length !== undefined && !(Number.isInteger(length) && length > 0)) {
      throw new RangeError(`frameLength() returned ${length}`);
    }
    if (length === undefined ? bytes.length >= this.#most : length > maxBytes) {
      this.#failed = true;
      const what = length === undefined ? `more than ${maxBytes}` : String(length);
      const message = `The peer sent a frame of ${what} bytes, the most is ${maxBytes}`;
      this.#channel.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
    }
    this.#length = length;
    return length;
  }

  #give(frame: Buffer): boolean {
    const { message: messageOf } = this.#options;
    const message = messageOf === undefined ? frame : messageOf(frame);
    return message === undefined || this.#channel.message(message, 0, message.length);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
