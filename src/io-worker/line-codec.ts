import type { LineSettings } from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { Codec, CodecChannel, CodecOutput, ConnectionCodec } from './codec.js';
import { PartialFrame } from './partial-frame.js';

/** How far a delimiter is looked for byte by byte: for short lines that is cheaper than a call of indexOf for each. */
const LOOP_BYTES = 64;

/** Up to here message and delimiter are copied into one chunk. */
const ONE_CHUNK_BYTES = 4096;

/**
 * Codec 'line': messages that end with a delimiter.
 *
 * ```
 *  +-------------+-----------+-------------+-----------+
 *  | message ... | delimiter | message ... | delimiter |
 *  +-------------+-----------+-------------+-----------+
 *    0 to maxBytes
 * ```
 *
 * The delimiter is the first one behind the one before: of 'aab' in 'aaab' the message is 'a'.
 */
export class LineCodec implements Codec {
  readonly maxMessageBytes: number;
  readonly #delimiter: Buffer;

  constructor({ delimiter, maxBytes }: LineSettings) {
    this.#delimiter = Buffer.from(delimiter);
    this.maxMessageBytes = maxBytes;
  }

  open(channel: CodecChannel): ConnectionCodec {
    return new LineConnection(channel, this.#delimiter, this.maxMessageBytes);
  }
}

/**
 * Memory: a line whose delimiter has not come, `maxBytes` and the first bytes of a delimiter at most.
 */
class LineConnection implements ConnectionCodec {
  readonly sharedEncoding = 'line';
  readonly #channel: CodecChannel;
  readonly #delimiter: Buffer;
  readonly #maxBytes: number;
  /** The line that is not whole yet. */
  readonly #partial = new PartialFrame();
  /** `#partial` is a whole message, without its delimiter, and waits for the channel. */
  #ready = false;

  constructor(channel: CodecChannel, delimiter: Buffer, maxBytes: number) {
    this.#channel = channel;
    this.#delimiter = delimiter;
    this.#maxBytes = maxBytes;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    if (this.#ready && !this.#deliverPartial()) return start;
    if (start === end) return end;
    const input = Buffer.from(bytes.buffer, bytes.byteOffset, end);
    const delimiterBytes = this.#delimiter.length;
    let position = start;
    if (this.#partial.length > 0) {
      position = this.#completePartial(input, start, end);
      if (position < 0 || this.#ready) return Math.max(position, 0);
    }
    while (position < end) {
      const found = this.#find(input, position, end);
      if (found === -1) {
        this.#keep(input, position, end);
        return end;
      }
      if (found - position > this.#maxBytes) {
        this.#failTooLarge();
        return end;
      }
      if (!this.#channel.message(bytes, position, found)) return position;
      position = found + delimiterBytes;
    }
    return end;
  }

  incomplete(): string | undefined {
    const { length } = this.#partial;
    return length === 0 || this.#ready ? undefined : `${length} bytes came without the delimiter behind them`;
  }

  encode(message: Buffer, output: CodecOutput): void {
    if (message.length > ONE_CHUNK_BYTES) {
      output.write(message);
      output.write(this.#delimiter);
      return;
    }
    const line = Buffer.allocUnsafe(message.length + this.#delimiter.length);
    line.set(message);
    line.set(this.#delimiter, message.length);
    output.write(line);
  }

  /**
   * Looks for the end of the line that `#partial` has the front of.
   * @returns where the next line begins, `end` if this one goes on, -1 after a failure
   */
  #completePartial(input: Buffer, start: number, end: number): number {
    const partial = this.#partial;
    const delimiterBytes = this.#delimiter.length;
    // A delimiter may lie across the border: its last bytes among the first that came now.
    const behind = Math.min(partial.length, delimiterBytes - 1);
    const ahead = Math.min(end - start, delimiterBytes - 1);
    let messageEnd = -1;
    if (behind > 0) {
      const seam = Buffer.concat([
        partial.bytes.subarray(partial.length - behind, partial.length),
        input.subarray(start, start + ahead),
      ]);
      const at = seam.indexOf(this.#delimiter);
      if (at !== -1) messageEnd = partial.length - behind + at;
    }
    if (messageEnd === -1) {
      const found = this.#find(input, start, end);
      if (found === -1) {
        return this.#keep(input, start, end) ? end : -1;
      }
      messageEnd = partial.length + found - start;
    }
    if (messageEnd > this.#maxBytes) return this.#failTooLarge();
    const next = start + messageEnd + delimiterBytes - partial.length;
    if (messageEnd > partial.length) partial.append(input, start, start + messageEnd - partial.length, messageEnd);
    else partial.shorten(messageEnd);
    this.#deliverPartial();
    return next;
  }

  /** Keeps the front of a line. No delimiter ends in it. */
  #keep(input: Buffer, start: number, end: number): boolean {
    const length = this.#partial.length + end - start;
    // A delimiter may have begun at the end: only what is in front of it belongs to the message for certain.
    if (length > this.#maxBytes && length - this.#begunDelimiter(input, start, end) > this.#maxBytes) {
      this.#failTooLarge();
      return false;
    }
    this.#partial.append(input, start, end, this.#maxBytes + this.#delimiter.length - 1);
    return true;
  }

  /** How many of the last bytes are the front of a delimiter, at most. */
  #begunDelimiter(input: Buffer, start: number, end: number): number {
    const partial = this.#partial;
    const byteFromEnd = (distance: number): number | undefined =>
      distance <= end - start ? input[end - distance] : partial.bytes[partial.length - (distance - (end - start))];
    for (let length = this.#delimiter.length - 1; length > 0; length--) {
      let matched = 0;
      while (matched < length && byteFromEnd(length - matched) === this.#delimiter[matched]) matched++;
      if (matched === length) return length;
    }
    return 0;
  }

  /** Where the first delimiter in `input[start, end)` begins, or -1. */
  #find(input: Buffer, start: number, end: number): number {
    const delimiter = this.#delimiter;
    const first = delimiter[0];
    const last = end - delimiter.length;
    const until = Math.min(start + LOOP_BYTES, last + 1);
    for (let at = start; at < until; at++) {
      if (input[at] !== first) continue;
      let matched = 1;
      while (matched < delimiter.length && input[at + matched] === delimiter[matched]) matched++;
      if (matched === delimiter.length) return at;
    }
    return until > last ? -1 : input.indexOf(delimiter, until);
  }

  #deliverPartial(): boolean {
    this.#ready = !this.#channel.message(this.#partial.bytes, 0, this.#partial.length);
    if (!this.#ready) this.#partial.clear();
    return !this.#ready;
  }

  #failTooLarge(): -1 {
    const message = `The peer sent a message of more than ${this.#maxBytes} bytes, which is the codec's maxBytes`;
    this.#channel.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
    return -1;
  }
}
