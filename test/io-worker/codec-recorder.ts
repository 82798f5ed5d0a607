import { createHash } from 'node:crypto';
import {
  type CodecChannel,
  type CodecOutput,
  type ConnectionCodec,
  STREAM_ABOVE_BYTES,
} from '../../src/io-worker/codec.js';
import type { CloseReason } from '../../src/shared/close-reason.js';
import type { ConnectionAddresses } from '../../src/shared/event-record.js';
import type { ReactorError } from '../../src/shared/reactor-error.js';

/** One thing that a codec has told its channel. */
export type Finding =
  | { readonly what: 'message'; readonly body: Buffer }
  | { readonly what: 'ignored' }
  | { readonly what: 'fail'; readonly reason: CloseReason; readonly code: string; readonly text?: string };

const ADDRESSES: ConnectionAddresses = {
  remoteAddress: '127.0.0.1',
  remotePort: 50_000,
  remoteFamily: 'IPv4',
  localAddress: '127.0.0.1',
  localPort: 8080,
  encrypted: false,
};

/** Writes down what a codec finds, as whole messages, and checks that the codec keeps to the rules of CodecChannel. */
export class RecordingChannel implements CodecChannel {
  readonly role: 'server' | 'client';
  readonly addresses: ConnectionAddresses = ADDRESSES;
  /** The socket is read. */
  isReading = true;
  readonly findings: Finding[] = [];
  /** What has come of a message that is passed on in parts, and is not complete. */
  begun: { readonly length: number; body: Buffer } | undefined;
  /** How many messages were passed on in parts. */
  streamed = 0;
  /** How many calls were refused. */
  refusals = 0;
  /** True once a method has returned false; reset by whoever looks. */
  refused = false;
  failed = false;
  /** The memory that is being decoded. */
  reading: ArrayBufferLike | undefined;
  /** The connection is closed: from now on nothing may be called. */
  closed = false;
  /** How often a codec may still call: one that calls without end has stopped making progress. */
  callsLeft = Number.POSITIVE_INFINITY;
  /** What the codec has written of its own accord. */
  readonly own = new RecordingOutput();
  onResume: () => void = () => {};
  onFail: () => void = () => {};
  onOwn: () => void = () => {};
  /** True while too much of the codec's own waits. */
  refusesOwn = false;
  readonly #hasRoom: () => boolean;

  constructor(hasRoom: () => boolean = () => true, role: 'server' | 'client' = 'server') {
    this.#hasRoom = hasRoom;
    this.role = role;
  }

  message(bytes: Uint8Array, start: number, end: number): boolean {
    this.#expectBetweenMessages('message');
    if (start < 0 || end < start || end > bytes.length) throw new Error(`message() of [${start}, ${end})`);
    if (this.#refuses()) return false;
    const body = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
    // A long one of the codec's own memory is not copied: if that changes, it shows when somebody looks.
    const isKept = end - start > STREAM_ABOVE_BYTES && bytes.buffer !== this.reading;
    this.findings.push({ what: 'message', body: isKept ? body : Buffer.from(body) });
    return true;
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#expectBetweenMessages('partFirst');
    if (length <= STREAM_ABOVE_BYTES) throw new Error(`partFirst() for a message of ${length} bytes`);
    if (this.#refuses()) return false;
    this.begun = { length, body: Buffer.alloc(0) };
    this.streamed++;
    this.#addPart(bytes, start, end);
    return true;
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.begun === undefined) throw new Error('part() without partFirst()');
    if (this.failed || this.closed) throw new Error('part() after the end');
    if (this.#refuses()) return false;
    this.#addPart(bytes, start, end);
    return true;
  }

  fail(reason: CloseReason, error: ReactorError): void {
    if (this.failed || this.closed) throw new Error('fail() after the end');
    this.failed = true;
    this.findings.push({ what: 'fail', reason, code: error.code, text: error.message });
    this.onFail();
  }

  ignored(): void {
    this.#countCall();
    this.#expectBetweenMessages('ignored');
    this.findings.push({ what: 'ignored' });
  }

  resume(): void {
    if (this.failed || this.closed) throw new Error('resume() after the end');
    this.onResume();
  }

  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    if (this.failed || this.closed) throw new Error('writeOwn() after the end');
    if (this.refusesOwn) return false;
    const written = write(this.own);
    if (written === undefined) this.onOwn();
    else
      written.then(
        () => this.onOwn(),
        () => {},
      );
    return true;
  }

  #addPart(bytes: Uint8Array, start: number, end: number): void {
    const { begun } = this;
    if (begun === undefined) return;
    if (start === end) throw new Error('a part without bytes');
    const have = begun.body.length + end - start;
    if (have > begun.length) throw new Error(`A message of ${begun.length} bytes was passed on with ${have}`);
    begun.body = appendGrowing(begun.body, bytes.subarray(start, end));
    if (have < begun.length) return;
    this.findings.push({ what: 'message', body: begun.body });
    this.begun = undefined;
  }

  #refuses(): boolean {
    this.#countCall();
    if (this.refused) throw new Error('The codec goes on after it was refused');
    if (this.#hasRoom()) return false;
    this.refused = true;
    this.refusals++;
    return true;
  }

  #countCall(): void {
    if (--this.callsLeft < 0) throw new Error('The codec makes no progress');
  }

  #expectBetweenMessages(method: string): void {
    if (this.failed || this.closed) throw new Error(`${method}() after the end`);
    if (this.begun !== undefined) throw new Error(`${method}() in the middle of a message`);
  }
}

/** `have` with `more` behind it, in place if its memory has room: messages may come a byte at a time. */
function appendGrowing(have: Buffer, more: Uint8Array): Buffer {
  const length = have.length + more.length;
  const memory =
    length <= have.buffer.byteLength
      ? have.buffer
      : new ArrayBuffer(Math.max(length, 2 * have.buffer.byteLength, 1024));
  const grown = Buffer.from(memory, 0, length);
  if (memory !== have.buffer) grown.set(have);
  grown.set(more, have.length);
  return grown;
}

/** What a codec has encoded. Chunks are kept as they are: they must not change any more. */
export class RecordingOutput implements CodecOutput {
  readonly chunks: Uint8Array[] = [];

  write(bytes: Uint8Array): void {
    this.chunks.push(bytes);
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }
}

const GUARD_BYTES = 9;
const READ_BYTES = 64 * 1024;

/** Plays the connection to a codec, as codec.ts describes it: what was not decoded is handed in again. */
export class Feeder {
  readonly #codec: ConnectionCodec;
  readonly #channel: RecordingChannel;
  readonly #mayWait: boolean;
  #rest: Uint8Array | undefined;
  #resumed: boolean = false;
  #waiting = false;
  #wake: (() => void) | undefined;
  /** How many bytes the codec has taken. */
  consumed = 0;

  /** @param mayWait the codec may stop of its own accord, and resume */
  constructor(codec: ConnectionCodec, channel: RecordingChannel, mayWait = false) {
    this.#codec = codec;
    this.#channel = channel;
    this.#mayWait = mayWait;
    channel.onResume = () => {
      this.#resumed = true;
      this.#waiting = false;
      this.#wake?.();
    };
  }

  /** True while there is a rest: the channel was full, or the codec waits. */
  get isBlocked(): boolean {
    return this.#rest !== undefined;
  }

  /** True while only `resume()` can go on. */
  get isWaiting(): boolean {
    return this.#waiting && !this.#channel.failed;
  }

  /** Bytes came. They wait behind the rest, if there is one. */
  push(bytes: Uint8Array): void {
    if (this.#rest === undefined) this.#decode(bytes);
    else this.#queue(bytes);
  }

  /** The channel may have room again, or the codec may have resumed. */
  retry(): void {
    const rest = this.#rest;
    if (rest === undefined || this.#channel.failed) return;
    this.#rest = undefined;
    // As much as a read brings at most: all of it each time would take a quadratic time.
    this.#decode(rest.subarray(0, READ_BYTES));
    if (rest.length > READ_BYTES) this.#queue(rest.subarray(READ_BYTES));
  }

  /** Tries until nothing is left, or the connection has failed. */
  finish(): void {
    for (let tries = 0; this.isBlocked && !this.#channel.failed; tries++) {
      if (tries > 100_000) throw new Error('No progress in 100,000 tries');
      this.retry();
    }
  }

  /** The same for a codec that waits now and then. */
  async settle(): Promise<void> {
    for (let tries = 0; this.isBlocked && !this.#channel.failed; tries++) {
      if (tries > 100_000) throw new Error('No progress in 100,000 tries');
      if (this.#waiting) await new Promise<void>((resolve) => (this.#wake = resolve));
      this.retry();
    }
  }

  #queue(bytes: Uint8Array): void {
    const rest = this.#rest ?? new Uint8Array(0);
    // What follows in the same memory is not copied.
    const follows = rest.buffer === bytes.buffer && rest.byteOffset + rest.length === bytes.byteOffset;
    this.#rest = follows
      ? new Uint8Array(rest.buffer, rest.byteOffset, rest.length + bytes.length)
      : Buffer.concat([rest, bytes]);
  }

  #decode(bytes: Uint8Array): void {
    const { length } = bytes;
    // Bytes around the range must not matter, and the memory is someone else's after the call.
    const memory = Buffer.alloc(GUARD_BYTES + length + GUARD_BYTES, 0xff);
    memory.set(bytes, GUARD_BYTES);
    this.#channel.refused = false;
    this.#resumed = false;
    // A call takes a byte at least, but for a refusal or two and for what was whole before.
    this.#channel.callsLeft = this.#mayWait ? Number.POSITIVE_INFINITY : length + 4;
    this.#channel.reading = memory.buffer;
    const position = this.#codec.decode(memory, GUARD_BYTES, GUARD_BYTES + length) - GUARD_BYTES;
    this.#channel.reading = undefined;
    memory.fill(0xee);
    if (this.#channel.failed) return;
    if (position < 0 || position > length) throw new Error(`decode() came to ${position} of ${length} bytes`);
    const { refused } = this.#channel;
    if (position < length && !refused) {
      if (!this.#mayWait) throw new Error(`decode() took ${position} of ${length} bytes although the channel had room`);
      this.#waiting = !this.#resumed;
    }
    this.consumed += position;
    if (position < length || refused) this.#rest = bytes.subarray(position);
  }
}

/** Findings as short text: bodies of 100 KB would make a failure unreadable, and the comparison slow. */
export function summary(findings: readonly Finding[]): string[] {
  return findings.map((finding) => {
    switch (finding.what) {
      case 'message':
        return `message of ${finding.body.length}: ${finding.body.toString('latin1', 0, 16)} sum ${createHash('sha1').update(finding.body).digest('hex').slice(0, 12)}`;
      case 'ignored':
        return 'ignored';
      default:
        return `fail ${finding.reason} ${finding.code}`;
    }
  });
}

export const message = (body: Uint8Array | string): Finding => ({ what: 'message', body: Buffer.from(body) });

/** Bytes as they stand on the wire: `hex('03000000 00 00 61')`. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

/** A body whose bytes tell where they belong. */
export function body(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 0xff;
  return bytes;
}

export function* inPieces(bytes: Buffer, length: number): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
