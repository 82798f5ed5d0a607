import {
  FIRST_RESERVED_KIND,
  FIRST_USER_KIND,
  FRAME_HEADER_BYTES,
  FRAME_LENGTH_BYTES,
  FRAME_OVERHEAD_IN_LENGTH,
  frameKind,
  frameOffset,
  HELLO_BODY_BYTES,
  HELLO_VERSION,
  helloOffset,
  MAX_CONTROL_BODY_BYTES,
} from '../shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import type { Decoder, DecoderSink } from './codec.js';

/** A data frame up to this length is put together here; a longer one goes on piece by piece, as it arrives. */
const ASSEMBLE_LIMIT = READ_BUFFER_BYTES;

const FIRST_PARTIAL_BYTES = 512;

const EMPTY = new Uint8Array(0);

/** What the bytes that come next are. */
const state = {
  /** The start of a frame. */
  FRAME: 0,
  /** More of the frame whose first bytes are in `#partial`. */
  PARTIAL: 1,
  /** The frame in `#partial` is whole and waits for the sink. */
  READY: 2,
  /** `#remaining` bytes of a long message, which go on as they are. */
  STREAM: 3,
  /** `#remaining` bytes of a frame that nobody is interested in. */
  SKIP: 4,
} as const;
type State = (typeof state)[keyof typeof state];

/**
 * Decodes codec 'frame' (frame-format.ts has the picture).
 *
 * The fast way, `#scan`, finds the longest run of whole data frames and passes it on uncut. Everything else (system frames,
 * frames split over reads, long ones, broken ones) is taken a frame at a time in `#special`.
 *
 * Memory: a frame that is not whole, up to ASSEMBLE_LIMIT, in a buffer that grows as bytes arrive and not as announced.
 */
export class FrameDecoder implements Decoder {
  readonly #sink: DecoderSink;
  readonly #maxFrameBytes: number;
  #state: State = state.FRAME;
  #partial: Uint8Array = EMPTY;
  #have = 0;
  #remaining = 0;
  #greeted = false;
  #failed = false;

  constructor(sink: DecoderSink, maxFrameBytes: number) {
    this.#sink = sink;
    this.#maxFrameBytes = maxFrameBytes;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    if (this.#state === state.READY && !this.#deliverPartial()) return position;
    while (position < end && !this.#failed) {
      const before = position;
      switch (this.#state) {
        case state.FRAME:
          position = this.#scan(bytes, position, end);
          break;
        case state.PARTIAL:
          position = this.#fill(bytes, position, end);
          break;
        case state.STREAM: {
          const until = Math.min(end, position + this.#remaining);
          if (this.#sink.part(bytes, position, until)) position = this.#pass(position, until);
          break;
        }
        default:
          position = this.#pass(position, Math.min(end, position + this.#remaining));
      }
      // No step forward: the sink is full.
      if (position === before || this.#state === state.READY) break;
    }
    return position;
  }

  incomplete(): string | undefined {
    switch (this.#state) {
      case state.FRAME:
      case state.READY:
        return undefined;
      case state.STREAM:
      case state.SKIP:
        return `${this.#remaining} bytes of a frame are missing`;
      default:
        return `only ${this.#have} bytes of a frame came`;
    }
  }

  /** Passes on all whole data frames at the front, and begins with what follows them. */
  #scan(bytes: Uint8Array, start: number, end: number): number {
    const longest = Math.min(this.#maxFrameBytes, READ_BUFFER_BYTES);
    let position = start;
    let count = 0;
    while (end - position >= FRAME_HEADER_BYTES) {
      const length = readU32(bytes, position);
      // Kind DATA and no flags, in one comparison.
      const plain = bytes[position + frameOffset.KIND] === frameKind.DATA && bytes[position + frameOffset.FLAGS] === 0;
      if (!plain || length < FRAME_OVERHEAD_IN_LENGTH || length > longest) break;
      const next = position + FRAME_LENGTH_BYTES + length;
      if (next > end) break;
      position = next;
      count++;
    }
    if (count > 0) return this.#sink.frames(bytes, start, position, count) ? position : start;
    return this.#special(bytes, position, end);
  }

  /** Takes the frame at `start`, or as much of it as is there. */
  #special(bytes: Uint8Array, start: number, end: number): number {
    if (!this.#checkHeader(bytes, start, end)) return end;
    const available = end - start;
    if (available < FRAME_HEADER_BYTES) return this.#keep(bytes, start, end);

    const kind = bytes[start + frameOffset.KIND] as number;
    const total = FRAME_LENGTH_BYTES + readU32(bytes, start);
    const body = start + FRAME_HEADER_BYTES;
    if (kind === frameKind.DATA && total > ASSEMBLE_LIMIT) {
      const until = Math.min(end, start + total);
      if (!this.#sink.partFirst(total - FRAME_HEADER_BYTES, bytes, body, until)) return start;
      return this.#begin(state.STREAM, total, start, until);
    }
    if (kind === frameKind.DATA || isControl(kind)) {
      if (available < total) return this.#keep(bytes, start, end);
      return this.#deliver(bytes, start, start + total) ? start + total : start;
    }
    this.#sink.ignored(kind);
    return this.#begin(state.SKIP, total, start, Math.min(end, start + total));
  }

  /** Passes a whole frame on. */
  #deliver(bytes: Uint8Array, start: number, end: number): boolean {
    const body = start + FRAME_HEADER_BYTES;
    switch (bytes[start + frameOffset.KIND]) {
      case frameKind.DATA:
        return this.#sink.frames(bytes, start, end, 1);
      case frameKind.PING:
        this.#sink.ping(bytes, body, end);
        return true;
      case frameKind.HELLO:
        if (this.#greeted) this.#fail('a second hello');
        else if (end - body < HELLO_BODY_BYTES)
          this.#fail(`a hello of ${end - body} bytes, at least ${HELLO_BODY_BYTES} are needed`);
        else if (bytes[body + helloOffset.VERSION] === 0 && bytes[body + helloOffset.VERSION + 1] === 0)
          this.#fail('a hello of version 0');
        this.#greeted = true;
        return true;
      default:
        // A pong: this version sends no ping, so it answers nothing.
        return true;
    }
  }

  /** Checks as much of the header as is there, so that a bad one is refused before anything is stored for it. */
  #checkHeader(bytes: Uint8Array, start: number, end: number): boolean {
    const available = end - start;
    if (available < FRAME_LENGTH_BYTES) return true;
    const length = readU32(bytes, start);
    if (length < FRAME_OVERHEAD_IN_LENGTH) return this.#fail(`a frame length of ${length}, the least is 2`);
    if (length > this.#maxFrameBytes) {
      this.#failed = true;
      const message = `The peer announced a frame of ${length} bytes, maxFrameBytes is ${this.#maxFrameBytes}`;
      this.#sink.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
      return false;
    }
    if (available <= frameOffset.KIND) return true;
    const kind = bytes[start + frameOffset.KIND] as number;
    if (kind >= FIRST_RESERVED_KIND && kind < FIRST_USER_KIND) return this.#fail(`a frame of the unknown kind ${kind}`);
    if (isControl(kind) && length - FRAME_OVERHEAD_IN_LENGTH > MAX_CONTROL_BODY_BYTES) {
      return this.#fail(
        `a frame of kind ${kind} with ${length - FRAME_OVERHEAD_IN_LENGTH} bytes, the most is ${MAX_CONTROL_BODY_BYTES}`,
      );
    }
    if (available <= frameOffset.FLAGS) return true;
    const flags = bytes[start + frameOffset.FLAGS] as number;
    // Bit 0 announces LZ4, which this side has not offered in its hello.
    if (flags !== 0) return this.#fail(`a frame with the flags 0x${flags.toString(16)}, none were negotiated`);
    return true;
  }

  /** Adds to `#partial` what its frame still needs. */
  #fill(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    while (position < end && this.#have < FRAME_HEADER_BYTES) {
      this.#append(bytes, position, ++position);
      if (!this.#checkHeader(this.#partial, 0, this.#have)) return end;
    }
    if (this.#have < FRAME_HEADER_BYTES) return position;

    const kind = this.#partial[frameOffset.KIND] as number;
    const total = FRAME_LENGTH_BYTES + readU32(this.#partial, 0);
    const streamed = kind === frameKind.DATA && total > ASSEMBLE_LIMIT;
    if (streamed || (kind !== frameKind.DATA && !isControl(kind))) {
      // Only the header is stored: the rest is treated as if it had come in one piece.
      const start = position - FRAME_HEADER_BYTES;
      const until = Math.min(end, start + total);
      if (streamed) {
        if (!this.#sink.partFirst(total - FRAME_HEADER_BYTES, bytes, position, until)) return position;
      } else this.#sink.ignored(kind);
      this.#dropPartial();
      return this.#begin(streamed ? state.STREAM : state.SKIP, total, start, until);
    }
    const until = Math.min(end, position + total - this.#have);
    this.#append(bytes, position, until, total);
    if (this.#have === total) {
      this.#state = state.READY;
      this.#deliverPartial();
    }
    return until;
  }

  #deliverPartial(): boolean {
    if (!this.#deliver(this.#partial, 0, this.#have)) return false;
    this.#dropPartial();
    this.#state = state.FRAME;
    return true;
  }

  #keep(bytes: Uint8Array, start: number, end: number): number {
    const total = end - start < FRAME_LENGTH_BYTES ? FRAME_HEADER_BYTES : FRAME_LENGTH_BYTES + readU32(bytes, start);
    this.#append(bytes, start, end, total);
    this.#state = state.PARTIAL;
    return end;
  }

  /** @param total what the whole frame will take: the buffer never grows beyond it */
  #append(bytes: Uint8Array, start: number, end: number, total = FRAME_HEADER_BYTES): void {
    const needed = this.#have + end - start;
    if (needed > this.#partial.length) {
      const grown = new Uint8Array(Math.max(needed, Math.min(total, Math.max(2 * needed, FIRST_PARTIAL_BYTES))));
      grown.set(this.#partial.subarray(0, this.#have));
      this.#partial = grown;
    }
    this.#partial.set(bytes.subarray(start, end), this.#have);
    this.#have = needed;
  }

  #dropPartial(): void {
    this.#partial = EMPTY;
    this.#have = 0;
  }

  /** The frame of `total` bytes at `start` is begun, up to `until`. */
  #begin(next: typeof state.STREAM | typeof state.SKIP, total: number, start: number, until: number): number {
    this.#remaining = start + total - until;
    this.#state = this.#remaining === 0 ? state.FRAME : next;
    return until;
  }

  #pass(start: number, until: number): number {
    this.#remaining -= until - start;
    if (this.#remaining === 0) this.#state = state.FRAME;
    return until;
  }

  #fail(what: string): false {
    this.#failed = true;
    this.#sink.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', `The peer sent ${what}`));
    return false;
  }
}

function isControl(kind: number): boolean {
  return kind === frameKind.PING || kind === frameKind.PONG || kind === frameKind.HELLO;
}

/** The first frame of each side. */
export function encodeHello(maxFrameBytes: number): Buffer {
  const frame = encodeFrame(frameKind.HELLO, Buffer.alloc(HELLO_BODY_BYTES));
  frame.writeUInt16LE(HELLO_VERSION, FRAME_HEADER_BYTES + helloOffset.VERSION);
  frame.writeUInt32LE(maxFrameBytes, FRAME_HEADER_BYTES + helloOffset.MAX_FRAME);
  return frame;
}

export function encodeFrame(kind: number, body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length);
  frame.writeUInt32LE(FRAME_OVERHEAD_IN_LENGTH + body.length, frameOffset.LENGTH);
  frame[frameOffset.KIND] = kind;
  frame[frameOffset.FLAGS] = 0;
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}
