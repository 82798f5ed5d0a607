import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { type CodecChannel, STREAM_ABOVE_BYTES } from './codec.js';
import { MessageInflater } from './message-inflater.js';
import { PartialFrame } from './partial-frame.js';
import { LENGTH_BYTES, payloadType, SYNC_FLUSH_END, TYPE_BYTES } from './simple-reactor-format.js';
import { failLength, failPayload } from './simple-reactor-plain.js';

/** A body goes to the inflater in pieces of this many bytes: so what is compressed never waits in the same memory as what comes out. */
const PIECE_BYTES = 64 * 1024;

const EMPTY = new Uint8Array(0);

/** What comes next. */
const state = {
  /** A length word, whose first bytes may be in `#partial`. */
  LENGTH: 0,
  /** `#remaining` bytes of a body, the next piece of which is put together in `#partial`. */
  BODY: 1,
  /** The end of the inflater's work. */
  INFLATING: 2,
  /** The channel's consent to the message in `#chunks`. */
  READY: 3,
  /** The channel's consent to the next of `#chunks`. */
  STREAM: 4,
} as const;
type State = (typeof state)[keyof typeof state];

/**
 * Decodes codec 'simple-reactor' with compression. Where a message ends in the zlib stream can be told only by what has come out
 * when all of its body is in, so bodies are inflated one after the other, each with at least one trip through the thread pool.
 *
 * While that goes on, the last byte that went in counts as not decoded: a connection does not end in front of input that waits.
 *
 * Memory: a piece of a body, and the payload that has come out of it, `maxFrameBytes` and 16 KiB at most.
 */
export class ZlibDecoder {
  readonly #channel: CodecChannel;
  readonly #maxFrameBytes: number;
  readonly #inflater: MessageInflater;
  readonly #partial = new PartialFrame();
  #state: State = state.LENGTH;
  /** Bytes of the body that have not gone into `#partial`. */
  #remaining = 0;
  /** The byte at the front of what is decoded next has been used already. */
  #heldBack = false;
  /** What has come out of a body. */
  #chunks: Uint8Array[] = [];
  /** The first of `#chunks` that has not gone on. */
  #next = 0;
  #failure: string | undefined;
  #closed = false;

  constructor(channel: CodecChannel, maxFrameBytes: number) {
    this.#channel = channel;
    this.#maxFrameBytes = maxFrameBytes;
    this.#inflater = new MessageInflater(maxFrameBytes);
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    if (this.#failure !== undefined) return this.#fail(this.#failure, end);
    let position = start;
    while (position < end && !this.#closed && this.#state !== state.INFLATING) {
      if (this.#state === state.READY || this.#state === state.STREAM) {
        if (!this.#deliver()) break;
        this.#state = state.LENGTH;
      }
      if (this.#heldBack) {
        this.#heldBack = false;
        position++;
      } else
        position = this.#state === state.LENGTH ? this.#length(bytes, position, end) : this.#body(bytes, position, end);
    }
    return position;
  }

  get isWaiting(): boolean {
    return this.#state === state.INFLATING && !this.#closed;
  }

  /** A whole message waits for the channel. */
  get isReady(): boolean {
    return this.#state === state.READY;
  }

  incomplete(): string | undefined {
    if (this.#state === state.LENGTH) {
      return this.#partial.length === 0 ? undefined : `only ${this.#partial.length} bytes of a message came`;
    }
    return this.#remaining > 0 ? `${this.#remaining} bytes of a message are missing` : undefined;
  }

  close(): void {
    this.#closed = true;
    this.#inflater.close();
    this.#partial.clear();
    this.#chunks = [];
  }

  #length(bytes: Uint8Array, start: number, end: number): number {
    const partial = this.#partial;
    const until = Math.min(end, start + LENGTH_BYTES - partial.length);
    partial.append(bytes, start, until, LENGTH_BYTES);
    if (partial.length < LENGTH_BYTES) return until;
    const length = readU32(partial.bytes, 0);
    partial.clear();
    if (length === 0 || length > this.#maxFrameBytes) {
      this.close();
      failLength(this.#channel, length, this.#maxFrameBytes);
      return end;
    }
    this.#remaining = length;
    this.#state = state.BODY;
    return until;
  }

  #body(bytes: Uint8Array, start: number, end: number): number {
    const partial = this.#partial;
    const rest = partial.length + this.#remaining;
    // The last piece is long enough to be checked for the flush.
    const pieceBytes = rest <= PIECE_BYTES + SYNC_FLUSH_END.length ? rest : PIECE_BYTES;
    const until = Math.min(end, start + pieceBytes - partial.length);
    partial.append(bytes, start, until, pieceBytes);
    this.#remaining -= until - start;
    if (partial.length < pieceBytes) return until;

    const piece = partial.bytes.subarray(0, pieceBytes);
    partial.clear();
    if (this.#remaining === 0 && !endsWithFlush(piece)) return this.#fail('it does not end with a sync flush', end);
    this.#state = state.INFLATING;
    this.#heldBack = true;
    this.#inflater.inflate(piece, (failure) => this.#inflated(failure));
    return until - 1;
  }

  #inflated(failure: string | undefined): void {
    this.#failure = failure;
    this.#state = state.BODY;
    if (this.#remaining === 0) {
      this.#state = state.READY;
      this.#chunks = this.#inflater.take();
    }
    this.#channel.resume();
  }

  /** Passes the payload on, or what of it has not gone on. False if the channel is full, or after a failure. */
  #deliver(): boolean {
    if (this.#state === state.READY && !this.#deliverFirst()) return false;
    for (let chunk = this.#chunks[this.#next]; chunk !== undefined; chunk = this.#chunks[this.#next]) {
      if (!this.#channel.part(chunk, 0, chunk.length)) return false;
      // The memory is let go of as it goes on.
      this.#chunks[this.#next++] = EMPTY;
    }
    this.#chunks = [];
    this.#next = 0;
    return true;
  }

  /** Passes a whole message on, or the first part of a long one, which is then taken off `#chunks`. */
  #deliverFirst(): boolean {
    const length = this.#chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (length < TYPE_BYTES) {
      this.close();
      failPayload(this.#channel, length);
      return false;
    }
    const dataBytes = length - TYPE_BYTES;
    const long = dataBytes > STREAM_ABOVE_BYTES;
    // The type, and something behind it, in one chunk.
    const joined = Math.min(length, long ? TYPE_BYTES + 1 : length);
    const first = this.#joinFirst(joined);
    const type = readU32(first, 0);
    if (type !== payloadType.DATA) {
      if (type !== payloadType.HEARTBEAT) this.#channel.ignored();
      this.#chunks = [];
      return true;
    }
    const taken = long
      ? this.#channel.partFirst(dataBytes, first, TYPE_BYTES, first.length)
      : this.#channel.message(first, TYPE_BYTES, length);
    if (!taken) return false;
    this.#chunks[0] = EMPTY;
    this.#next = 1;
    this.#state = state.STREAM;
    return true;
  }

  /** Makes the first of `#chunks` have `bytes` bytes at least. */
  #joinFirst(bytes: number): Uint8Array {
    let count = 0;
    for (let length = 0; length < bytes; count++) length += this.#chunks[count]?.length ?? bytes;
    if (count > 1) this.#chunks.splice(0, count, Buffer.concat(this.#chunks.slice(0, count)));
    return this.#chunks[0] ?? EMPTY;
  }

  #fail(what: string, end: number): number {
    this.close();
    const message = `The peer sent a message that cannot be decompressed: ${what}`;
    this.#channel.fail('decompression-failed', new ReactorError('ERR_REACTOR_DECOMPRESSION', message));
    return end;
  }
}

function endsWithFlush(piece: Uint8Array): boolean {
  const at = piece.length - SYNC_FLUSH_END.length;
  return at >= 0 && SYNC_FLUSH_END.every((byte, i) => piece[at + i] === byte);
}
