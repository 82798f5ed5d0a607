import type { CloseReason } from '../shared/close-reason.js';
import {
  BUSY_BODY_BYTES,
  capability,
  FIRST_RESERVED_KIND,
  FIRST_USER_KIND,
  FRAME_HEADER_BYTES,
  FRAME_LENGTH_BYTES,
  FRAME_OVERHEAD_IN_LENGTH,
  frameFlag,
  frameKind,
  frameOffset,
  HELLO_BODY_BYTES,
  HELLO_VERSION,
  helloOffset,
  isAnswer,
  laneOfRequest,
  MAX_CONTROL_BODY_BYTES,
  maxBodyBytes,
  PING_CLOCK_BYTES,
  REQUEST_ID_BYTES,
} from '../shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import type { Codec, CodecOutput, ConnectionCodec } from './codec.js';
import type { ConnectionChannel } from './codec-channel.js';
import { ASYNC_ABOVE_BYTES, type Compression } from './compression.js';
import type { InflationBudget } from './inflation-budget.js';
import { lengthAsText } from './length-as-text.js';
import { PartialFrame } from './partial-frame.js';

/** A data frame up to this length is put together here; a longer one goes on piece by piece, as it arrives. */
const ASSEMBLE_LIMIT = READ_BUFFER_BYTES;

/** Decompressed in one go; then other connections have their turn. */
const MAX_INFLATED_AT_ONCE = 256 * 1024;

/** Codec 'frame': frame-format.ts has the picture. */
export class FrameCodec implements Codec {
  readonly maxFrameBytes: number;
  readonly compression: Compression | undefined;
  readonly #hello: Buffer;

  /**
   * @param compression what this side offers to its peers
   * @param heartbeatMs what it tells them of its heartbeat, 0: there is none
   */
  constructor(maxFrameBytes: number, compression?: Compression, heartbeatMs = 0) {
    this.maxFrameBytes = maxFrameBytes;
    this.compression = compression;
    this.#hello = encodeHello(maxFrameBytes, compression, heartbeatMs);
  }

  get maxMessageBytes(): number {
    return maxBodyBytes(this.maxFrameBytes);
  }

  open(channel: ConnectionChannel): FrameConnection {
    const connection = new FrameConnection(channel, this);
    // The same bytes for all: they do not change.
    channel.writeOwn((output) => output.write(this.#hello));
    return connection;
  }
}

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
  /** `#inflated` is a whole message and waits for the sink; or it is still being decompressed. */
  INFLATED: 5,
  /** `#partial` is what a long message begins with, and waits for the sink. */
  BEGUN: 6,
} as const;
type State = (typeof state)[keyof typeof state];

/** What a frame connection needs of its channel. */
export type FrameChannel = Pick<
  ConnectionChannel,
  | 'frames'
  | 'answers'
  | 'message'
  | 'partFirst'
  | 'part'
  | 'ignored'
  | 'goodbye'
  | 'answersPings'
  | 'pong'
  | 'busy'
  | 'fail'
  | 'resume'
  | 'writeOwn'
  | 'inflationBudget'
> &
  Partial<Pick<ConnectionChannel, 'takesKind' | 'system'>>;

/**
 * One connection with codec 'frame'.
 *
 * The fast way, `#scan`, finds the longest run of whole frames of the application's and passes it on uncut. Everything else
 * (system frames, frames split over reads, long ones, compressed ones, broken ones) is taken a frame at a time in `#special`.
 *
 * Memory: a frame that is not whole, up to ASSEMBLE_LIMIT, or up to the limit if it is compressed, in a buffer that grows as
 * bytes arrive and not as announced; and one decompressed message.
 */
export class FrameConnection implements ConnectionCodec {
  readonly #sink: FrameChannel;
  readonly #maxFrameBytes: number;
  /** What this side has offered. */
  readonly #compression: Compression | undefined;
  /** The peer takes LZ4, with the same dictionary. */
  #compresses = false;
  #inflated: Buffer | undefined;
  #inflatedKind = 0;
  /** Bytes that the present call of `decode` has decompressed. */
  #inflatedBytes = 0;
  /** What is decompressed counts against this, until it has been delivered. */
  #charged: { readonly budget: InflationBudget; readonly bytes: number } | undefined;
  #closed = false;
  #state: State = state.FRAME;
  readonly #partial = new PartialFrame();
  #remaining = 0;
  #greeted = false;
  #failed = false;
  /** What the peer is to be told as soon as it has said that it understands. */
  #owesGoodbye: CloseReason | undefined;
  #hasGoodbye = false;
  hasReceivedFrame = false;

  constructor(sink: FrameChannel, { maxFrameBytes, compression }: Pick<FrameCodec, 'maxFrameBytes' | 'compression'>) {
    this.#sink = sink;
    this.#maxFrameBytes = maxFrameBytes;
    this.#compression = compression;
  }

  get passesThrough(): boolean {
    return !this.#compresses;
  }

  get sharedEncoding(): string {
    return this.#compresses ? 'lz4' : 'plain';
  }

  /** A message is being decompressed. */
  get isWaiting(): boolean {
    return this.#state === state.INFLATED && this.#inflated === undefined && !this.#failed;
  }

  encode(message: Buffer, output: CodecOutput, kind: number): void | Promise<void> {
    if (!this.#compresses || this.#compression === undefined) {
      writeFrame(output, kind, 0, message);
      return;
    }
    const compressed = this.#compression.compress(message);
    const write = (block: Buffer | undefined): void => {
      if (block === undefined) writeFrame(output, kind, 0, message);
      else writeFrame(output, kind, frameFlag.LZ4, block);
    };
    if (compressed instanceof Promise) return compressed.then(write);
    write(compressed);
  }

  ping(clock: number): boolean {
    const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + PING_CLOCK_BYTES);
    writeHeader(frame, frameKind.PING, 0, PING_CLOCK_BYTES);
    frame.writeDoubleLE(clock, FRAME_HEADER_BYTES);
    return this.#sink.writeOwn((output) => output.write(frame));
  }

  busy(stallMs: number): void {
    if (!this.#greeted) return;
    const body = Buffer.allocUnsafe(BUSY_BODY_BYTES);
    body.writeUInt32LE(Math.min(Math.round(stallMs), 2 ** 32 - 1));
    this.#sink.writeOwn((output) => output.write(encodeFrame(frameKind.BUSY, body)));
  }

  goodbye(reason: CloseReason): void {
    this.#owesGoodbye = reason;
    if (this.#greeted) this.#sayGoodbye();
  }

  #sayGoodbye(): void {
    const reason = this.#owesGoodbye;
    if (reason === undefined) return;
    this.#owesGoodbye = undefined;
    this.#sink.writeOwn((output) => output.write(encodeFrame(frameKind.GOODBYE, Buffer.from(reason))));
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    this.#inflatedBytes = 0;
    if (this.#state === state.READY && !this.#deliverPartial()) return position;
    if (this.#state === state.INFLATED && !this.#deliverInflated()) return position;
    if (this.#state === state.BEGUN && !this.#deliverBegun()) return position;
    while (position < end && !this.#failed) {
      const before = position;
      const stateBefore = this.#state;
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
      // No step forward: the sink is full. Or something has to be done with what came so far.
      if (position === before && this.#state === stateBefore) break;
      if (this.#state === state.READY || this.#state === state.INFLATED || this.#state === state.BEGUN) break;
    }
    return position;
  }

  incomplete(): string | undefined {
    switch (this.#state) {
      case state.FRAME:
      case state.READY:
      case state.INFLATED:
        return undefined;
      case state.STREAM:
      case state.SKIP:
        return `${this.#remaining} bytes of a frame are missing`;
      default:
        return `only ${this.#partial.length} bytes of a frame came`;
    }
  }

  /** Passes on all whole frames at the front that go the same way, and begins with what follows them. */
  #scan(bytes: Uint8Array, start: number, end: number): number {
    const longest = Math.min(this.#maxFrameBytes, READ_BUFFER_BYTES);
    let position = start;
    let count = 0;
    let lane = NO_LANE;
    while (end - position >= FRAME_HEADER_BYTES) {
      const length = readU32(bytes, position);
      const kind = bytes[position + frameOffset.KIND] as number;
      if (!isMessage(kind) || bytes[position + frameOffset.FLAGS] !== 0) break;
      if (length < leastLength(kind) || length > longest) break;
      const next = position + FRAME_LENGTH_BYTES + length;
      if (next > end) break;
      const route = isAnswer(kind) ? laneOfRequest(readU32(bytes, position + FRAME_HEADER_BYTES)) : NO_LANE;
      if (route !== lane) {
        if (count > 0) break;
        lane = route;
      }
      position = next;
      count++;
    }
    if (count === 0) return this.#special(bytes, position, end);
    const taken =
      lane === NO_LANE
        ? this.#sink.frames(bytes, start, position, count)
        : this.#sink.answers(bytes, start, position, lane);
    return taken ? position : start;
  }

  /** Takes the frame at `start`, or as much of it as is there. */
  #special(bytes: Uint8Array, start: number, end: number): number {
    if (!this.#checkHeader(bytes, start, end)) return end;
    const available = end - start;
    if (available < FRAME_HEADER_BYTES) return this.#keep(bytes, start, end);

    const kind = bytes[start + frameOffset.KIND] as number;
    const total = FRAME_LENGTH_BYTES + readU32(bytes, start);
    if (this.#isStreamed(kind, bytes[start + frameOffset.FLAGS] as number, total)) {
      if (available < headerBytes(kind)) return this.#keep(bytes, start, end);
      const until = Math.min(end, start + total);
      const body = start + FRAME_HEADER_BYTES;
      if (!this.#sink.partFirst(total - FRAME_HEADER_BYTES, bytes, body, until, kind)) return start;
      return this.#begin(state.STREAM, total, start, until);
    }
    if (isMessage(kind) || isControl(kind) || this.#sink.takesKind?.(kind) === true) {
      if (available < total) return this.#keep(bytes, start, end);
      return this.#deliver(bytes, start, start + total) ? start + total : start;
    }
    this.#sink.ignored(kind);
    return this.#begin(state.SKIP, total, start, Math.min(end, start + total));
  }

  /** Compressed ones are put together however long they are: only as a whole can they be decompressed. */
  #isStreamed(kind: number, flags: number, total: number): boolean {
    return isMessage(kind) && flags === 0 && total > ASSEMBLE_LIMIT;
  }

  /** Passes a whole frame on. */
  #deliver(bytes: Uint8Array, start: number, end: number): boolean {
    const body = start + FRAME_HEADER_BYTES;
    const kind = bytes[start + frameOffset.KIND] as number;
    if (isMessage(kind)) {
      if (bytes[start + frameOffset.FLAGS] !== 0) return this.#inflate(kind, bytes, body, end);
      if (!isAnswer(kind)) return this.#sink.frames(bytes, start, end, 1);
      return this.#sink.answers(bytes, start, end, laneOfRequest(readU32(bytes, body)));
    }
    this.hasReceivedFrame = true;
    if (kind >= FIRST_USER_KIND) return this.#sink.system?.(kind, bytes, body, end) !== false;
    switch (kind) {
      case frameKind.PING:
        if (this.#sink.answersPings) this.#answerPing(Buffer.from(bytes.subarray(body, end)));
        return true;
      case frameKind.PONG:
        this.#heedPong(bytes.subarray(body, end));
        return true;
      case frameKind.BUSY:
        return this.#heedBusy(bytes.subarray(body, end));
      case frameKind.HELLO:
        this.#greet(bytes, body, end);
        return true;
      case frameKind.GOODBYE:
        return this.#heedGoodbye(bytes.subarray(body, end));
      default:
        return true;
    }
  }

  /** A peer that asks and does not read the answers gets no more of them. The body is a copy: the answer may have to wait. */
  #answerPing(body: Uint8Array): void {
    this.#sink.writeOwn((output) => output.write(encodeFrame(frameKind.PONG, body)));
  }

  /** What answers none of this side's pings means nothing. */
  #heedPong(clock: Uint8Array): void {
    if (clock.length !== PING_CLOCK_BYTES) return;
    this.#sink.pong(Buffer.from(clock.buffer, clock.byteOffset, PING_CLOCK_BYTES).readDoubleLE());
  }

  #heedBusy(body: Uint8Array): boolean {
    if (body.length >= BUSY_BODY_BYTES) return this.#sink.busy(readU32(body, 0));
    this.#fail(`a busy of ${body.length} bytes, at least ${BUSY_BODY_BYTES} are needed`);
    return true;
  }

  #greet(bytes: Uint8Array, body: number, end: number): void {
    if (this.#greeted) this.#fail('a second hello');
    else if (end - body < HELLO_BODY_BYTES) {
      this.#fail(`a hello of ${end - body} bytes, at least ${HELLO_BODY_BYTES} are needed`);
    } else {
      const hello = Buffer.from(bytes.buffer, bytes.byteOffset + body, end - body);
      if (hello.readUInt16LE(helloOffset.VERSION) === 0) this.#fail('a hello of version 0');
      const takesLz4 = (hello.readUInt16LE(helloOffset.CAPABILITIES) & capability.LZ4) !== 0;
      const isSameDictionary = hello.readUInt32LE(helloOffset.DICTIONARY) === this.#compression?.dictionaryId;
      this.#compresses = takesLz4 && isSameDictionary;
    }
    this.#greeted = true;
    this.#sayGoodbye();
  }

  /** Only the first one: whoever sends more of them has nothing to say. */
  #heedGoodbye(reason: Uint8Array): boolean {
    if (this.#hasGoodbye) {
      this.#sink.ignored();
      return true;
    }
    this.#hasGoodbye = this.#sink.goodbye(Buffer.from(reason).toString());
    return this.#hasGoodbye;
  }

  /** Begins to decompress a message. True: it has been taken. */
  #inflate(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    const compression = this.#compression as Compression;
    const block = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
    this.#inflatedKind = kind;
    this.#state = state.INFLATED;
    const length = compression.announced(block, maxBodyBytes(this.#maxFrameBytes));
    if (length instanceof ReactorError) this.#takeInflated(length);
    else if (length <= ASYNC_ABOVE_BYTES && this.#inflatedBytes + length <= MAX_INFLATED_AT_ONCE) {
      this.#inflatedBytes += length;
      this.#takeInflated(compression.decompress(block, length));
      if (!this.#failed) this.#deliverInflated();
    } else if (length <= ASYNC_ABOVE_BYTES) {
      // Others first: one read may hold hundreds of messages, each of which becomes 255 times as long.
      const kept = Buffer.from(block);
      setImmediate(() => this.#closed || this.#noteInflated(compression.decompress(kept, length)));
    } else {
      // What is gathered in `#partial` is nobody else's; the read buffer is read into again.
      const kept = bytes === this.#partial.bytes ? block : Buffer.from(block);
      const budget = this.#sink.inflationBudget;
      budget.take(length, () => {
        this.#charged = { budget, bytes: length };
        if (this.#closed) this.#giveBack();
        else void compression.decompressLong(kept, length).then((outcome) => this.#noteInflated(outcome));
      });
    }
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#inflated = undefined;
    this.#giveBack();
  }

  #giveBack(): void {
    const charged = this.#charged;
    this.#charged = undefined;
    charged?.budget.give(charged.bytes);
  }

  #noteInflated(outcome: Buffer | ReactorError): void {
    if (this.#closed) return;
    this.#takeInflated(outcome);
    if (!this.#failed) this.#sink.resume();
  }

  #takeInflated(outcome: Buffer | ReactorError): void {
    if (outcome instanceof ReactorError) {
      this.#failed = true;
      this.#sink.fail('decompression-failed', outcome);
    } else if (outcome.length >= leastLength(this.#inflatedKind) - FRAME_OVERHEAD_IN_LENGTH) this.#inflated = outcome;
    else this.#fail(`a frame of kind ${this.#inflatedKind} that is too short for its id`);
  }

  #deliverInflated(): boolean {
    const message = this.#inflated;
    if (message === undefined || !this.#sink.message(message, 0, message.length, this.#inflatedKind)) return false;
    this.#inflated = undefined;
    this.#state = state.FRAME;
    this.#giveBack();
    return true;
  }

  /** Checks as much of the header as is there, so that a bad one is refused before anything is stored for it. */
  #checkHeader(bytes: Uint8Array, start: number, end: number): boolean {
    const available = end - start;
    if (available < FRAME_LENGTH_BYTES) return true;
    const length = readU32(bytes, start);
    if (length < FRAME_OVERHEAD_IN_LENGTH) return this.#fail(`a frame length of ${length}, the least is 2`);
    if (length > this.#maxFrameBytes) {
      this.#failed = true;
      const message = `The peer announced a frame of ${length} bytes${lengthAsText(length)}, maxFrameBytes is ${this.#maxFrameBytes}`;
      this.#sink.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', message));
      return false;
    }
    if (available <= frameOffset.KIND) return true;
    const kind = bytes[start + frameOffset.KIND] as number;
    if (kind >= FIRST_RESERVED_KIND && kind < FIRST_USER_KIND) return this.#fail(`a frame of the unknown kind ${kind}`);
    if (isAnswer(kind) || kind === frameKind.REQUEST) {
      // Of a compressed one that is known when it is decompressed.
      const flags = available > frameOffset.FLAGS ? bytes[start + frameOffset.FLAGS] : undefined;
      if (flags === 0 && length < leastLength(kind)) {
        return this.#fail(`a frame of kind ${kind} that is too short for its id`);
      }
    }
    if (isControl(kind) && length - FRAME_OVERHEAD_IN_LENGTH > MAX_CONTROL_BODY_BYTES) {
      return this.#fail(
        `a frame of kind ${kind} with ${length - FRAME_OVERHEAD_IN_LENGTH} bytes, the most is ${MAX_CONTROL_BODY_BYTES}`,
      );
    }
    if (available <= frameOffset.FLAGS) return true;
    const flags = bytes[start + frameOffset.FLAGS] as number;
    const allowed = this.#compression !== undefined && isMessage(kind) ? frameFlag.LZ4 : 0;
    if ((flags & ~allowed) !== 0) {
      return this.#fail(`a frame of kind ${kind} with the flags 0x${flags.toString(16)}, which were not negotiated`);
    }
    return true;
  }

  /** Adds to `#partial` what its frame still needs. */
  #fill(bytes: Uint8Array, start: number, end: number): number {
    let position = start;
    while (position < end && this.#partial.length < FRAME_HEADER_BYTES) {
      this.#partial.append(bytes, position, ++position, FRAME_HEADER_BYTES);
      if (!this.#checkHeader(this.#partial.bytes, 0, this.#partial.length)) return end;
    }
    if (this.#partial.length < FRAME_HEADER_BYTES) return position;

    const kind = this.#partial.bytes[frameOffset.KIND] as number;
    const total = FRAME_LENGTH_BYTES + readU32(this.#partial.bytes, 0);
    if (this.#isStreamed(kind, this.#partial.bytes[frameOffset.FLAGS] as number, total)) {
      // Only the header is stored, with the id if there is one: the rest goes on as it comes.
      const until = Math.min(end, position + headerBytes(kind) - this.#partial.length);
      this.#partial.append(bytes, position, until, headerBytes(kind));
      if (this.#partial.length < headerBytes(kind)) return until;
      this.#state = state.BEGUN;
      this.#deliverBegun();
      return until;
    }
    if (!isMessage(kind) && !isControl(kind) && this.#sink.takesKind?.(kind) !== true) {
      this.#sink.ignored(kind);
      const start = position - this.#partial.length;
      this.#partial.clear();
      return this.#begin(state.SKIP, total, start, Math.min(end, start + total));
    }
    const until = Math.min(end, position + total - this.#partial.length);
    this.#partial.append(bytes, position, until, total);
    if (this.#partial.length === total) {
      this.#state = state.READY;
      this.#deliverPartial();
    }
    return until;
  }

  #deliverPartial(): boolean {
    if (!this.#deliver(this.#partial.bytes, 0, this.#partial.length)) return false;
    this.#partial.clear();
    if (this.#state === state.READY) this.#state = state.FRAME;
    return true;
  }

  #deliverBegun(): boolean {
    const { bytes, length } = this.#partial;
    const total = FRAME_LENGTH_BYTES + readU32(bytes, 0);
    const kind = bytes[frameOffset.KIND] as number;
    if (!this.#sink.partFirst(total - FRAME_HEADER_BYTES, bytes, FRAME_HEADER_BYTES, length, kind)) return false;
    this.#remaining = total - length;
    this.#partial.clear();
    this.#state = state.STREAM;
    return true;
  }

  #keep(bytes: Uint8Array, start: number, end: number): number {
    const total = end - start < FRAME_LENGTH_BYTES ? FRAME_HEADER_BYTES : FRAME_LENGTH_BYTES + readU32(bytes, start);
    this.#partial.append(bytes, start, end, total);
    this.#state = state.PARTIAL;
    return end;
  }

  /** The frame of `total` bytes at `start` is begun, up to `until`. */
  #begin(next: typeof state.STREAM | typeof state.SKIP, total: number, start: number, until: number): number {
    this.#remaining = start + total - until;
    this.#state = this.#remaining === 0 ? state.FRAME : next;
    if (this.#remaining === 0) this.hasReceivedFrame = true;
    return until;
  }

  #pass(start: number, until: number): number {
    this.#remaining -= until - start;
    if (this.#remaining > 0) return until;
    this.#state = state.FRAME;
    this.hasReceivedFrame = true;
    return until;
  }

  #fail(what: string): false {
    this.#failed = true;
    this.#sink.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', `The peer sent ${what}`));
    return false;
  }
}

/** Instead of a lane: to whoever gets the connection's messages. */
const NO_LANE = -1;

/** The application's: they may be long, and may be compressed. */
function isMessage(kind: number): boolean {
  return kind === frameKind.DATA || (kind >= frameKind.REQUEST && kind <= frameKind.REQUEST_FAILED);
}

function leastLength(kind: number): number {
  return kind === frameKind.DATA ? FRAME_OVERHEAD_IN_LENGTH : FRAME_OVERHEAD_IN_LENGTH + REQUEST_ID_BYTES;
}

/** What must be there of a frame before it can go on in pieces: where an answer goes is in its id. */
function headerBytes(kind: number): number {
  return isAnswer(kind) ? FRAME_HEADER_BYTES + REQUEST_ID_BYTES : FRAME_HEADER_BYTES;
}

function isControl(kind: number): boolean {
  return kind >= frameKind.PING && kind <= frameKind.GOODBYE;
}

/** The first frame of each side. */
function encodeHello(maxFrameBytes: number, compression: Compression | undefined, heartbeatMs: number): Buffer {
  const frame = encodeFrame(frameKind.HELLO, Buffer.alloc(HELLO_BODY_BYTES));
  const body = frame.subarray(FRAME_HEADER_BYTES);
  body.writeUInt16LE(HELLO_VERSION, helloOffset.VERSION);
  body.writeUInt16LE(compression === undefined ? 0 : capability.LZ4, helloOffset.CAPABILITIES);
  body.writeUInt32LE(maxFrameBytes, helloOffset.MAX_FRAME);
  body.writeUInt32LE(heartbeatMs, helloOffset.HEARTBEAT_MS);
  body.writeUInt32LE(compression?.dictionaryId ?? 0, helloOffset.DICTIONARY);
  return frame;
}

function encodeFrame(kind: number, body: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + body.length);
  writeHeader(frame, kind, 0, body.length);
  frame.set(body, FRAME_HEADER_BYTES);
  return frame;
}

function writeFrame(output: CodecOutput, kind: number, flags: number, body: Buffer): void {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  writeHeader(header, kind, flags, body.length);
  output.write(header);
  output.write(body);
}

function writeHeader(frame: Buffer, kind: number, flags: number, bodyBytes: number): void {
  frame.writeUInt32LE(FRAME_OVERHEAD_IN_LENGTH + bodyBytes, frameOffset.LENGTH);
  frame[frameOffset.KIND] = kind;
  frame[frameOffset.FLAGS] = flags;
}
