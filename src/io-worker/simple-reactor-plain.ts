import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { type CodecChannel, STREAM_ABOVE_BYTES } from './codec.js';
import { lengthAsText } from './length-as-text.js';
import { PartialFrame } from './partial-frame.js';
import { LENGTH_BYTES, payloadType, TYPE_BYTES } from './simple-reactor-format.js';

const HEADER_BYTES = LENGTH_BYTES + TYPE_BYTES;

/** What the bytes that come next are. */
const state = {
  /** A length word and a type, whose first bytes may be in `#partial`. */
  HEADER: 0,
  /** `#remaining` bytes of a heartbeat, or of what nobody is interested in. */
  SKIP: 1,
  /** `#remaining` bytes of a message that is put together in `#partial`. */
  GATHER: 2,
  /** The message in `#partial` is whole and waits for the channel. */
  READY: 3,
  /** `#remaining` bytes of a long message, none of which has gone on. */
  STREAM_FIRST: 4,
  /** `#remaining` bytes of a long message, which go on as they are. */
  STREAM: 5,
} as const;
type State = (typeof state)[keyof typeof state];

/**
 * Decodes codec 'simple-reactor' without compression.
 *
 * Memory: a message of up to STREAM_ABOVE_BYTES that has not come whole; a longer one goes on as it arrives.
 */
export class PlainDecoder {
  readonly #channel: CodecChannel;
  readonly #maxFrameBytes: number;
  readonly #partial = new PartialFrame();
  #state: State = state.HEADER;
  #remaining = 0;
  #failed = false;

  constructor(channel: CodecChannel, maxFrameBytes: number) {
    this.#channel = channel;
    this.#maxFrameBytes = maxFrameBytes;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    if (this.#state === state.READY && !this.#deliverPartial()) return position;
    while (position < end && !this.#failed) {
      const before = position;
      position = this.#step(bytes, position, end);
      // No step forward: the channel is full.
      if (position === before || this.#state === state.READY) break;
    }
    return position;
  }

  /** A whole message waits for the channel, whether bytes are left that have not been decoded or not. */
  get isReady(): boolean {
    return this.#state === state.READY;
  }

  incomplete(): string | undefined {
    switch (this.#state) {
      case state.HEADER:
        return this.#partial.length === 0 ? undefined : `only ${this.#partial.length} bytes of a message came`;
      case state.READY:
        return undefined;
      default:
        return `${this.#remaining} bytes of a message are missing`;
    }
  }

  #step(bytes: Uint8Array, start: number, end: number): number {
    const until = Math.min(end, start + this.#remaining);
    switch (this.#state) {
      case state.HEADER:
        return this.#header(bytes, start, end);
      case state.SKIP:
        this.#pass(until - start, state.SKIP);
        return until;
      case state.GATHER:
        this.#partial.append(bytes, start, until, this.#partial.length + this.#remaining);
        this.#remaining -= until - start;
        if (this.#remaining === 0) this.#deliverPartial();
        return until;
      case state.STREAM_FIRST:
        if (!this.#channel.partFirst(this.#remaining, bytes, start, until)) return start;
        this.#pass(until - start, state.STREAM);
        return until;
      default:
        if (!this.#channel.part(bytes, start, until)) return start;
        this.#pass(until - start, state.STREAM);
        return until;
    }
  }

  #header(bytes: Uint8Array, start: number, end: number): number {
    const partial = this.#partial;
    if (partial.length > 0 || end - start < HEADER_BYTES) {
      // A bad length is refused when it is there, whether the type has come or not.
      const part = partial.length < LENGTH_BYTES ? LENGTH_BYTES : HEADER_BYTES;
      const until = Math.min(end, start + part - partial.length);
      partial.append(bytes, start, until, HEADER_BYTES);
      if (partial.length >= LENGTH_BYTES && !this.#checkLength(readU32(partial.bytes, 0))) return end;
      if (partial.length < HEADER_BYTES) return until;
      const header = partial.bytes;
      partial.clear();
      this.#begin(readU32(header, 0) - TYPE_BYTES, readU32(header, LENGTH_BYTES));
      return until;
    }
    const length = readU32(bytes, start);
    if (!this.#checkLength(length)) return end;
    const type = readU32(bytes, start + LENGTH_BYTES);
    const data = start + HEADER_BYTES;
    const next = start + LENGTH_BYTES + length;
    if (type === payloadType.DATA && next <= end && next - data <= STREAM_ABOVE_BYTES) {
      return this.#channel.message(bytes, data, next) ? next : start;
    }
    this.#begin(next - data, type);
    return data;
  }

  /** A payload with `length` bytes of data begins. */
  #begin(length: number, type: number): void {
    this.#remaining = length;
    if (type !== payloadType.DATA) {
      if (type !== payloadType.HEARTBEAT) this.#channel.ignored();
      this.#state = length > 0 ? state.SKIP : state.HEADER;
    } else if (length === 0) this.#deliverPartial();
    else this.#state = length > STREAM_ABOVE_BYTES ? state.STREAM_FIRST : state.GATHER;
  }

  #pass(count: number, current: State): void {
    this.#remaining -= count;
    this.#state = this.#remaining > 0 ? current : state.HEADER;
  }

  #deliverPartial(): boolean {
    this.#state = state.READY;
    if (!this.#channel.message(this.#partial.bytes, 0, this.#partial.length)) return false;
    this.#partial.clear();
    this.#state = state.HEADER;
    return true;
  }

  #checkLength(length: number): boolean {
    if (length >= TYPE_BYTES && length <= this.#maxFrameBytes) return true;
    this.#failed = true;
    failLength(this.#channel, length, this.#maxFrameBytes);
    return false;
  }
}

/** The length word is not allowed. */
export function failLength(channel: CodecChannel, length: number, maxFrameBytes: number): void {
  if (length > maxFrameBytes) {
    const message = `The peer announced a message of ${length} bytes${lengthAsText(length)}, maxFrameBytes is ${maxFrameBytes}`;
    channel.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
  } else failPayload(channel, length);
}

/** A payload is too short for its type. */
export function failPayload(channel: CodecChannel, length: number): void {
  const message = `The peer sent a payload of ${length} bytes, the least is ${TYPE_BYTES}`;
  channel.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', message));
}
