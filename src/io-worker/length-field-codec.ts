import {
  type LengthFieldSettings,
  longestLengthFieldMessage,
  shortestLengthFieldMessage,
} from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type Codec, type CodecChannel, type CodecOutput, type ConnectionCodec, STREAM_ABOVE_BYTES } from './codec.js';
import { PartialFrame } from './partial-frame.js';

/** Up to here what is put in front of a message is copied into one chunk with it. */
const ONE_CHUNK_BYTES = 4096;

/** Codec 'length-field': frames whose header says how long they are (codec-settings.ts has the picture). */
export class LengthFieldCodec implements Codec {
  readonly maxMessageBytes: number;
  readonly minMessageBytes: number;
  readonly #settings: LengthFieldSettings;

  /** @param settings without a fault: see `lengthFieldFault` */
  constructor(settings: LengthFieldSettings) {
    this.#settings = settings;
    this.maxMessageBytes = longestLengthFieldMessage(settings);
    this.minMessageBytes = shortestLengthFieldMessage(settings);
  }

  open(channel: CodecChannel): ConnectionCodec {
    return new LengthFieldConnection(channel, this.#settings);
  }
}

/** What the bytes that come next are. */
const state = {
  /** The start of a frame. */
  FRAME: 0,
  /** More of a header, whose first bytes are in `#partial`. */
  HEADER: 1,
  /** `#remaining` bytes that are stripped; then the message. */
  SKIP: 2,
  /** `#remaining` bytes of a frame that is put together in `#partial`. */
  GATHER: 3,
  /** What is in `#partial` waits for the channel: a message, or the first bytes of a long one. */
  READY: 4,
  /** `#remaining` bytes of a long message, none of which has gone on. */
  STREAM_FIRST: 5,
  /** `#remaining` bytes of a long message, which go on as they are. */
  STREAM: 6,
} as const;
type State = (typeof state)[keyof typeof state];

/**
 * Memory: a header, or a message of up to STREAM_ABOVE_BYTES with what belongs to it of the header, in a buffer that grows as
 * bytes arrive. Bytes that are stripped behind the header are not stored.
 */
class LengthFieldConnection implements ConnectionCodec {
  readonly sharedEncoding = 'length-field';
  readonly #channel: CodecChannel;
  readonly #settings: LengthFieldSettings;
  readonly #headerBytes: number;
  readonly #partial = new PartialFrame();
  #state: State = state.FRAME;
  #remaining = 0;
  /** Of the frame that has begun; known when its header is there. */
  #messageBytes = 0;
  /** The channel is full, or the peer has broken the rules. */
  #stopped = false;

  constructor(channel: CodecChannel, settings: LengthFieldSettings) {
    this.#channel = channel;
    this.#settings = settings;
    this.#headerBytes = settings.offset + settings.bytes;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    this.#stopped = false;
    if (this.#state === state.READY) this.#deliverPartial();
    let position = start;
    while (position < end && !this.#stopped) position = this.#step(bytes, position, end);
    return position;
  }

  incomplete(): string | undefined {
    switch (this.#state) {
      case state.FRAME:
        return undefined;
      case state.READY:
        return this.#remaining > 0 ? `${this.#remaining} bytes of a frame are missing` : undefined;
      case state.HEADER:
        return `only ${this.#partial.length} bytes of a frame came, its header has ${this.#headerBytes}`;
      case state.SKIP:
        return `${this.#remaining + this.#messageBytes} bytes of a frame are missing`;
      default:
        return `${this.#remaining} bytes of a frame are missing`;
    }
  }

  encode(message: Buffer, output: CodecOutput): void {
    const { offset, strip } = this.#settings;
    const shortest = shortestLengthFieldMessage(this.#settings);
    if (message.length < shortest) {
      throw new RangeError(
        `A message of ${message.length} bytes, with these settings of 'length-field' it has ${shortest} at least`,
      );
    }
    const longest = longestLengthFieldMessage(this.#settings);
    if (message.length > longest) {
      throw new RangeError(
        `A message of ${message.length} bytes, with these settings of 'length-field' it has ${longest} at most`,
      );
    }
    const value = strip + message.length - this.#headerBytes - this.#settings.adjustment;
    if (strip <= offset) this.#writeField(message, offset - strip, value);
    if (strip === 0) {
      output.write(message);
    } else if (strip + message.length <= ONE_CHUNK_BYTES) {
      const frame = Buffer.alloc(strip + message.length);
      frame.set(message, strip);
      if (strip > offset) this.#writeField(frame, offset, value);
      output.write(frame);
    } else {
      const front = Buffer.alloc(strip);
      if (strip > offset) this.#writeField(front, offset, value);
      output.write(front);
      output.write(message);
    }
  }

  #step(bytes: Uint8Array, start: number, end: number): number {
    switch (this.#state) {
      case state.FRAME:
        return this.#frame(bytes, start, end);
      case state.HEADER: {
        const until = Math.min(end, start + this.#headerBytes - this.#partial.length);
        this.#partial.append(bytes, start, until, this.#headerBytes);
        if (this.#partial.length === this.#headerBytes && this.#readHeader(this.#partial.bytes, 0)) this.#afterHeader();
        return until;
      }
      case state.SKIP: {
        const until = Math.min(end, start + this.#remaining);
        this.#remaining -= until - start;
        if (this.#remaining === 0) this.#begin();
        return until;
      }
      case state.GATHER: {
        const until = Math.min(end, start + this.#remaining);
        this.#partial.append(bytes, start, until, this.#partial.length + this.#remaining);
        this.#remaining -= until - start;
        if (this.#remaining === 0) this.#deliverPartial();
        return until;
      }
      default: {
        const until = Math.min(end, start + this.#remaining);
        const taken =
          this.#state === state.STREAM_FIRST
            ? this.#channel.partFirst(this.#messageBytes, bytes, start, until)
            : this.#channel.part(bytes, start, until);
        if (!taken) return this.#stop(start);
        this.#remaining -= until - start;
        this.#state = this.#remaining === 0 ? state.FRAME : state.STREAM;
        return until;
      }
    }
  }

  /** The frame at `start`: passes it on if it is there whole, begins it otherwise. */
  #frame(bytes: Uint8Array, start: number, end: number): number {
    const { strip } = this.#settings;
    if (end - start < this.#headerBytes) {
      this.#partial.append(bytes, start, end, this.#headerBytes);
      this.#state = state.HEADER;
      return end;
    }
    if (!this.#readHeader(bytes, start)) return end;
    const next = start + strip + this.#messageBytes;
    if (next <= end && this.#messageBytes <= STREAM_ABOVE_BYTES) {
      return this.#channel.message(bytes, start + strip, next) ? next : this.#stop(start);
    }
    // What is stripped need not be stored, unless a part of the header belongs to the message.
    const from = start + Math.min(strip, this.#headerBytes);
    this.#skip(strip - this.#headerBytes);
    return from < end ? this.#step(bytes, from, end) : from;
  }

  /** The header in `#partial` is whole. */
  #afterHeader(): void {
    const { strip } = this.#settings;
    const inHeader = this.#headerBytes - strip;
    if (inHeader <= 0) {
      this.#partial.clear();
      this.#skip(-inHeader);
      return;
    }
    this.#partial.cutFront(strip);
    this.#remaining = this.#messageBytes - inHeader;
    if (this.#remaining === 0 || this.#messageBytes > STREAM_ABOVE_BYTES) this.#deliverPartial();
    else this.#state = state.GATHER;
  }

  /** The message comes behind the next `count` bytes, or at once. */
  #skip(count: number): void {
    this.#remaining = count;
    if (count > 0) this.#state = state.SKIP;
    else this.#begin();
  }

  /** Nothing of the message is stored, and all of it comes next. */
  #begin(): void {
    this.#remaining = this.#messageBytes;
    if (this.#remaining === 0) this.#deliverPartial();
    else this.#state = this.#remaining > STREAM_ABOVE_BYTES ? state.STREAM_FIRST : state.GATHER;
  }

  /** `#partial` is a message, or, if bytes are still to come, the first bytes of a long one. */
  #deliverPartial(): void {
    const { bytes, length } = this.#partial;
    const taken =
      this.#remaining > 0
        ? this.#channel.partFirst(this.#messageBytes, bytes, 0, length)
        : this.#channel.message(bytes, 0, length);
    this.#stopped = !taken;
    this.#state = state.READY;
    if (!taken) return;
    this.#partial.clear();
    this.#state = this.#remaining > 0 ? state.STREAM : state.FRAME;
  }

  #stop(position: number): number {
    this.#stopped = true;
    return position;
  }

  /** Reads the length at once when it is there, so that a bad one is refused before anything is stored for it. */
  #readHeader(bytes: Uint8Array, start: number): boolean {
    const { adjustment, strip, maxFrameBytes } = this.#settings;
    const length = this.#headerBytes + this.#readField(bytes, start) + adjustment;
    if (length < this.#headerBytes) {
      return this.#fail(`announced a frame of ${length} bytes, its header alone has ${this.#headerBytes}`);
    }
    if (length > maxFrameBytes) {
      this.#stopped = true;
      // Above 2^53 the number is not exact; whoever reads it in a log is content with that.
      const message = `The peer announced a frame of ${length} bytes, maxFrameBytes is ${maxFrameBytes}`;
      this.#channel.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
      return false;
    }
    if (strip > length) return this.#fail(`announced a frame of ${length} bytes, ${strip} are to be stripped`);
    this.#messageBytes = length - strip;
    return true;
  }

  /** Exact up to 2^53, and above that still above any limit. */
  #readField(bytes: Uint8Array, start: number): number {
    const { offset, bytes: count, endian } = this.#settings;
    let value = 0;
    if (endian === 'big') {
      for (let at = start + offset; at < start + offset + count; at++) value = value * 256 + (bytes[at] as number);
    } else {
      for (let at = start + offset + count - 1; at >= start + offset; at--) value = value * 256 + (bytes[at] as number);
    }
    return value;
  }

  #writeField(target: Uint8Array, at: number, value: number): void {
    const { bytes: count, endian } = this.#settings;
    let rest = value;
    for (let i = 0; i < count; i++) {
      // Not with shifts: they are for 32 bits.
      target[endian === 'big' ? at + count - 1 - i : at + i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }

  #fail(what: string): false {
    this.#stopped = true;
    this.#channel.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', `The peer ${what}`));
    return false;
  }
}
