import { compressSync, uncompressSync } from 'lz4-napi';
import type { CodecOutput } from '../../src/io-worker/codec.js';
import { Compression } from '../../src/io-worker/compression.js';
import { type FrameChannel, FrameConnection } from '../../src/io-worker/frame-codec.js';
import { InflationBudget } from '../../src/io-worker/inflation-budget.js';
import type { CloseReason } from '../../src/shared/close-reason.js';
import type { ReactorError } from '../../src/shared/reactor-error.js';

/** The frames that are the application's, by kind. The bodies of all but the first begin with an id. */
export const messageNames: ReadonlyMap<number, MessageName> = new Map([
  [0, 'message'],
  [6, 'request'],
  [7, 'response'],
  [8, 'request-failed'],
]);
export type MessageName = 'message' | 'request' | 'response' | 'request-failed';

/** One thing that a decoder has told its channel. */
export type Finding =
  | { readonly what: MessageName; readonly body: Buffer }
  /** It has been answered by a pong with that body. */
  | { readonly what: 'ping'; readonly body: Buffer }
  | { readonly what: 'ignored' }
  | { readonly what: 'fail'; readonly reason: CloseReason; readonly code: string };

/** Longer messages are not copied when they are whole: their memory must be nobody else's. */
const COPIED_BYTES = 64 * 1024 - 6;

/** Writes down what a decoder finds, as whole messages, and checks that the decoder keeps to the rules of its channel. */
export class RecordingSink implements FrameChannel {
  readonly inflationBudget = new InflationBudget();
  readonly findings: Finding[] = [];
  /** What has come of a message that is passed on in pieces, and is not complete. */
  begun: { readonly length: number; readonly what: MessageName; body: Buffer } | undefined;
  /** True once a method has returned false; reset by whoever looks. */
  refused = false;
  failed = false;
  /** How often a decoder may still call: one that calls without end has stopped making progress. */
  callsLeft = Number.POSITIVE_INFINITY;
  readonly #hasRoom: () => boolean;
  #onResume: (() => void) | undefined;

  constructor(hasRoom: () => boolean = () => true) {
    this.#hasRoom = hasRoom;
  }

  /** The decoder has called `resume`, or `fail`. */
  resumed(): Promise<void> {
    return new Promise((resolve) => {
      this.#onResume = resolve;
    });
  }

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    if (!this.#accepts('frames')) return false;
    const found = this.#takeRun('frames', bytes, start, end, ['message', 'request']);
    if (found !== count) throw new Error(`frames(): ${found} frames instead of ${count}`);
    return true;
  }

  answers(bytes: Uint8Array, start: number, end: number, lane: number): boolean {
    if (!this.#accepts('answers')) return false;
    const before = this.findings.length;
    if (this.#takeRun('answers', bytes, start, end, ['response', 'request-failed']) === 0) {
      throw new Error('answers() without any');
    }
    for (const finding of this.findings.slice(before)) {
      if ('body' in finding) expectLane(finding.body, lane);
    }
    return true;
  }

  message(bytes: Uint8Array, start: number, end: number, kind = 0): boolean {
    if (!this.#accepts('message')) return false;
    const what = nameOf(kind);
    if (what !== 'message' && end - start < 4) throw new Error(`message(): a ${what} of ${end - start} bytes`);
    const view = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
    this.findings.push({ what, body: view.length > COPIED_BYTES ? view : Buffer.from(view) });
    return true;
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number, kind = 0): boolean {
    if (!this.#accepts('partFirst')) return false;
    const what = nameOf(kind);
    // Where an answer goes is in its id.
    if ((what === 'response' || what === 'request-failed') && end - start < 4) {
      throw new Error(`partFirst(): the first ${end - start} bytes of a ${what}`);
    }
    this.begun = { length, what, body: Buffer.alloc(0) };
    this.#addPart(bytes, start, end);
    return true;
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.begun === undefined) throw new Error('part() without partFirst()');
    if (start === end) throw new Error('part() without bytes');
    if (this.failed) throw new Error('part() after fail()');
    if (this.#refuses()) return false;
    this.#addPart(bytes, start, end);
    return true;
  }

  /** A pong is the only thing that a decoder writes. */
  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    this.#countCall();
    this.#expectBetweenMessages('writeOwn');
    const pieces: Uint8Array[] = [];
    if (write({ write: (bytes) => void pieces.push(bytes) }) !== undefined) throw new Error('writeOwn(): a promise');
    const pong = Buffer.concat(pieces);
    if (pong.readUInt32LE(0) !== pong.length - 4 || pong[4] !== 2 || pong[5] !== 0) {
      throw new Error(`writeOwn(): no pong: ${pong.toString('hex', 0, 20)}`);
    }
    this.findings.push({ what: 'ping', body: pong.subarray(6) });
    return true;
  }

  readonly answersPings = true;

  pong(): void {}

  busy(): boolean {
    this.ignored();
    return true;
  }

  goodbye(_reason: string): boolean {
    this.ignored();
    return true;
  }

  ignored(): void {
    this.#countCall();
    this.#expectBetweenMessages('ignored');
    this.findings.push({ what: 'ignored' });
  }

  fail(reason: CloseReason, error: ReactorError): void {
    this.#expectBetweenMessages('fail');
    this.failed = true;
    this.findings.push({ what: 'fail', reason, code: error.code });
    this.#onResume?.();
  }

  resume(): void {
    if (this.failed) throw new Error('resume() after fail()');
    this.#onResume?.();
  }

  #takeRun(method: string, bytes: Uint8Array, start: number, end: number, allowed: readonly MessageName[]): number {
    const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let count = 0;
    for (let position = start; position < end; count++) {
      const next = position + 4 + input.readUInt32LE(position);
      if (next > end) throw new Error(`${method}(): frame ${count} ends at ${next}, the range at ${end}`);
      const what = nameOf(input[position + 4] as number);
      if (!allowed.includes(what) || input[position + 5] !== 0) {
        throw new Error(`${method}(): frame ${count} is a ${what} with the flags ${input[position + 5]}`);
      }
      const body = Buffer.from(input.subarray(position + 6, next));
      if (what !== 'message' && body.length < 4) throw new Error(`${method}(): a ${what} without an id`);
      this.findings.push({ what, body });
      position = next;
    }
    return count;
  }

  #addPart(bytes: Uint8Array, start: number, end: number): void {
    const { begun } = this;
    if (begun === undefined) return;
    const have = begun.body.length + end - start;
    if (have > begun.length) throw new Error(`A message of ${begun.length} bytes was passed on with ${have}`);
    // Concatenating each time would take a quadratic time for messages that come a byte at a time.
    begun.body = appendGrowing(begun.body, bytes.subarray(start, end));
    if (have < begun.length) return;
    this.findings.push({ what: begun.what, body: begun.body });
    this.begun = undefined;
  }

  #accepts(method: string): boolean {
    this.#expectBetweenMessages(method);
    return !this.#refuses();
  }

  #refuses(): boolean {
    this.#countCall();
    if (this.#hasRoom()) return false;
    this.refused = true;
    return true;
  }

  #countCall(): void {
    if (--this.callsLeft < 0) throw new Error('The decoder makes no progress');
  }

  #expectBetweenMessages(method: string): void {
    if (this.failed) throw new Error(`${method}() after fail()`);
    if (this.begun !== undefined) throw new Error(`${method}() in the middle of a message`);
  }
}

function nameOf(kind: number): MessageName {
  const name = messageNames.get(kind);
  if (name === undefined) throw new Error(`A frame of kind ${kind} was passed on`);
  return name;
}

/** The lane is in the uppermost 5 bits of the id. */
function expectLane(body: Buffer, lane: number): void {
  const wanted = Math.floor(body.readUInt32LE(0) / 2 ** 27);
  if (lane !== wanted) throw new Error(`answers(): to lane ${lane} instead of ${wanted}`);
}

/** `have` with `more` behind it, in place if its memory has room. */
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

const GUARD_BYTES = 9;

/** Plays the connection to a decoder, as codec.ts describes it: what a full sink or a waiting codec leaves is handed in again. */
export class Feeder {
  readonly #decoder: FrameConnection;
  readonly #sink: RecordingSink;
  #rest: Uint8Array | undefined;
  #resumed: Promise<void> | undefined;
  /** How many bytes the decoder has taken. */
  consumed = 0;

  constructor(decoder: FrameConnection, sink: RecordingSink) {
    this.#decoder = decoder;
    this.#sink = sink;
  }

  /** True while the sink has refused something, or the codec waits, and nobody has tried again. */
  get isBlocked(): boolean {
    return this.#rest !== undefined;
  }

  /** Bytes came. While the sink is full they wait behind the rest. */
  push(bytes: Uint8Array): void {
    if (this.#rest === undefined) this.#decode(bytes);
    else this.#rest = Buffer.concat([this.#rest, bytes]);
  }

  /** The sink may have room again. */
  retry(): void {
    const rest = this.#rest;
    if (rest === undefined || this.#decoder.isWaiting) return;
    this.#rest = undefined;
    this.#decode(rest);
  }

  /** Tries until nothing is left. */
  finish(): void {
    for (let tries = 0; this.isBlocked; tries++) {
      if (tries > 100_000) throw new Error('No progress in 100,000 tries');
      this.retry();
    }
  }

  /** The same with a codec that may have to wait. */
  async finishWaiting(): Promise<void> {
    for (let tries = 0; this.isBlocked; tries++) {
      if (tries > 100_000) throw new Error('No progress in 100,000 tries');
      await this.waited();
      this.retry();
    }
  }

  /** The codec does not wait any more. */
  async waited(): Promise<void> {
    await this.#resumed;
    this.#resumed = undefined;
    if (this.#decoder.isWaiting) throw new Error('It is resumed and waits');
    if (this.#sink.failed) this.#rest = undefined;
  }

  #decode(bytes: Uint8Array): void {
    const { length } = bytes;
    // Bytes around the range must not matter, and the memory is someone else's after the call.
    const memory = Buffer.alloc(GUARD_BYTES + length + GUARD_BYTES, 0xff);
    memory.set(bytes, GUARD_BYTES);
    this.#sink.refused = false;
    // Each call takes a byte at least, but for a refusal or two and for what was whole before.
    this.#sink.callsLeft = length + 4;
    const position = this.#decoder.decode(memory, GUARD_BYTES, GUARD_BYTES + length) - GUARD_BYTES;
    memory.fill(0xee);
    if (this.#sink.failed) return;
    if (position < 0 || position > length) throw new Error(`decode() came to ${position} of ${length} bytes`);
    const waits = this.#decoder.isWaiting;
    if (position < length && !this.#sink.refused && !waits) {
      throw new Error(`decode() took ${position} of ${length} bytes although the sink had room`);
    }
    this.consumed += position;
    if (waits) this.#resumed = this.#sink.resumed();
    if (this.#sink.refused || waits) this.#rest = bytes.slice(position);
  }
}

/** What a peer and this side have agreed on. */
export interface Agreement {
  readonly compression: Compression | undefined;
  readonly dictionary: Buffer | undefined;
}

export const PLAIN: Agreement = { compression: undefined, dictionary: undefined };

export async function agreeOnLz4(dictionary?: Buffer, thresholdBytes = 0): Promise<Agreement> {
  return { compression: await Compression.load({ thresholdBytes, dictionary }), dictionary };
}

/** What a byte string means, read off docs/wire-format.md by the simplest possible code. */
interface Reference {
  /** Frames from the first on; `end` is the position behind the last byte, `finding` what the sink hears, if it does. */
  readonly frames: readonly {
    readonly end: number;
    readonly finding: Finding | undefined;
    readonly compressed?: boolean;
  }[];
  /** Bytes of the last, incomplete frame that are there. */
  readonly left: number;
  /** It is compressed: it is put together however long it is. */
  readonly leftCompressed: boolean;
  /** Of its body, if it is a message too long to be put together. */
  readonly begun: Buffer;
}

const LONGEST_ASSEMBLED = 65_536;

function referenceDecode(bytes: Buffer, maxFrameBytes: number, { compression, dictionary }: Agreement): Reference {
  const frames: { end: number; finding: Finding | undefined; compressed?: boolean }[] = [];
  let compressed = false;
  const fail = (reason: CloseReason, code: string): Reference => {
    frames.push({ end: bytes.length, finding: { what: 'fail', reason, code }, compressed });
    return { frames, left: 0, leftCompressed: false, begun: Buffer.alloc(0) };
  };
  const protocolError = (): Reference => fail('protocol-error', 'ERR_REACTOR_PROTOCOL');
  let hellos = 0;
  let at = 0;
  for (;;) {
    const left = bytes.length - at;
    const ends = { frames, left, leftCompressed: false, begun: Buffer.alloc(0) };
    if (left < 4) return ends;
    const length = bytes.readUInt32LE(at);
    if (length === 0 || length === 1) return protocolError();
    if (length > maxFrameBytes) return fail('frame-too-large', 'ERR_REACTOR_FRAME_TOO_LARGE');
    if (left < 5) return ends;
    const kind = bytes.readUInt8(at + 4);
    if (kind >= 9 && kind <= 63) return protocolError();
    const short = kind === 1 || kind === 2 || kind === 3 || kind === 4 || kind === 5;
    if (short && length - 2 > 256) return protocolError();
    if (left < 6) return ends;
    const flags = bytes.readUInt8(at + 5);
    const what = messageNames.get(kind);
    compressed = flags === 1 && what !== undefined && compression !== undefined;
    if (flags !== 0 && !compressed) return protocolError();
    const hasId = what !== undefined && what !== 'message';
    if (hasId && !compressed && length < 6) return protocolError();
    const end = at + 4 + length;
    const body = Buffer.from(bytes.subarray(at + 6, end));
    if (what === undefined && !short) frames.push({ end, finding: { what: 'ignored' } });
    if (end > bytes.length) {
      const isStreamed = what !== undefined && !compressed && 4 + length > LONGEST_ASSEMBLED;
      // An answer goes on when its id is whole.
      const isBegun = isStreamed && (kind === 0 || kind === 6 || body.length >= 4);
      return { ...ends, leftCompressed: compressed, begun: isBegun ? body : ends.begun };
    }
    if (compressed && what !== undefined) {
      const message = inflate(body, maxFrameBytes - 2, dictionary);
      if (message === undefined) return fail('decompression-failed', 'ERR_REACTOR_DECOMPRESSION');
      if (hasId && message.length < 4) return protocolError();
      frames.push({ end, finding: { what, body: message }, compressed });
    } else if (what !== undefined) frames.push({ end, finding: { what, body } });
    if (kind === 1) frames.push({ end, finding: { what: 'ping', body } });
    if (kind === 2) frames.push({ end, finding: undefined });
    // Whether it is told or passed over as another one, the sink writes it down in one way.
    if (kind === 4 && body.length < 4) return protocolError();
    if (kind === 4 || kind === 5) frames.push({ end, finding: { what: 'ignored' } });
    if (kind === 3) {
      if (++hellos > 1 || body.length < 16 || body.readUInt16LE(0) === 0) return protocolError();
      frames.push({ end, finding: undefined });
    }
    at = end;
  }
}

function inflate(block: Buffer, most: number, dictionary: Buffer | undefined): Buffer | undefined {
  if (block.length < 4) return undefined;
  const length = block.readUInt32LE(0);
  if (length > most || length > 255 * (block.length - 4) + 64) return undefined;
  try {
    const message = uncompressSync(block, dictionary);
    return message.length === length ? message : undefined;
  } catch {
    return undefined;
  }
}

/** Pseudo-random numbers (mulberry32): the same seed, the same streams. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** From 0 up to, and not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from `min` to `max`. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.next() * (max - min + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.integer(0, choices.length - 1)] ?? choices[0];
  }
}

const NOISE_BYTES = 1024 * 1024;
const noise = Buffer.alloc(NOISE_BYTES);
const noiseSource = new Random(1);
for (let i = 0; i < NOISE_BYTES; i++) noise[i] = noiseSource.integer(0, 255);

function frame(length: number, kind: number, flags: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(6);
  header.writeUInt32LE(length, 0);
  header[4] = kind;
  header[5] = flags;
  return Buffer.concat([header, body]);
}

function noiseBody(random: Random, length: number): Buffer {
  const start = random.integer(0, NOISE_BYTES - length);
  return noise.subarray(start, start + length);
}

/** Something that can be compressed: noise in short pieces that come again. */
function repetitiveBody(random: Random, length: number): Buffer {
  const piece = noiseBody(random, random.integer(1, 50));
  return Buffer.alloc(length, piece);
}

function validFrame(random: Random, maxFrameBytes: number, { compression, dictionary }: Agreement): Buffer {
  const limit = maxFrameBytes - 2;
  const kind = random.pick([0, 0, 0, 0, 1, 1, 2, 4, 5, 6, 6, 7, 7, 7, 8, 64, 200, 255]);
  const isShort = kind === 1 || kind === 2 || kind === 4 || kind === 5;
  let length = random.integer(0, random.pick([0, 10, 10, 10, 256]));
  if (!isShort && random.chance(0.1)) length = random.integer(65_520, 65_545);
  else if (!isShort && random.chance(0.05)) length = random.integer(60_000, 200_000);
  else if (!isShort && random.chance(0.02)) length = limit;
  const hasId = kind >= 6 && kind <= 8;
  length = Math.min(Math.max(length, hasId || kind === 4 ? 4 : 0), limit, 300_000);
  const isMessage = kind === 0 || hasId;
  const body = Buffer.from(
    isMessage && random.chance(0.3) ? repetitiveBody(random, length) : noiseBody(random, length),
  );
  // Several in a row to the same few lanes.
  if (hasId) body[3] = random.pick([0, 0, 8, 255]);
  if (isMessage && compression !== undefined && random.chance(0.4)) {
    const block = compressSync(body, dictionary);
    if (block.length <= limit) return frame(2 + block.length, kind, 1, block);
  }
  return frame(2 + length, kind, 0, body);
}

function hello(random: Random): Buffer {
  const body = Buffer.from(noiseBody(random, random.integer(16, 40)));
  body.writeUInt16LE(1, 0);
  return frame(2 + body.length, 3, 0, body);
}

/** A frame that is probably wrong in some way. */
function oddFrame(random: Random, maxFrameBytes: number): Buffer {
  if (random.chance(0.3)) return oddBlock(random, maxFrameBytes);
  const length = random.pick([0, 1, 2, 17, 18, 258, 259, maxFrameBytes, maxFrameBytes + 1, 2 ** 31, 2 ** 32 - 1]);
  const flags = random.pick([0, 0, 0, 1, 2, 128]);
  const body = noiseBody(random, random.pick([0, 5, 15, 16, 256, 257]));
  return frame(random.chance(0.5) ? 2 + body.length : length, random.integer(0, 255), flags, body);
}

/** A compressed frame whose size word, block or dictionary is probably wrong, or that is too short for an id. */
function oddBlock(random: Random, maxFrameBytes: number): Buffer {
  const length = random.pick([0, 1, 3, 4, 50, 1000, 70_000]);
  const block = compressSync(repetitiveBody(random, length), random.chance(0.2) ? noiseBody(random, 100) : undefined);
  const sizes = [
    0,
    length - 1,
    length + 1,
    255 * block.length,
    maxFrameBytes - 2,
    maxFrameBytes - 1,
    2 ** 32 - 1,
  ] as const;
  if (random.chance(0.6)) block.writeUInt32LE(Math.max(0, random.pick([...sizes])), 0);
  if (random.chance(0.3)) block[random.integer(4, block.length - 1)] = random.integer(0, 255);
  const cut = random.chance(0.3) ? block.subarray(0, random.integer(0, block.length)) : block;
  return frame(2 + cut.length, random.pick([0, 6, 7, 8, 1, 3, 64]), 1, cut);
}

/** Bytes, and where in them something begins that a split might hurt. */
function makeStream(random: Random, maxFrameBytes: number, agreement: Agreement): { bytes: Buffer; edges: number[] } {
  const style = random.pick(['valid', 'valid', 'mutated', 'mutated', 'odd', 'random']);
  if (style === 'random') {
    // Mostly small values, or the first length would already be too large.
    const bytes = Buffer.from(noiseBody(random, random.integer(0, 300)));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.chance(0.7) ? random.integer(0, 3) : (bytes[i] as number);
    return { bytes, edges: [] };
  }
  const pieces: Buffer[] = [];
  const edges: number[] = [];
  let length = 0;
  const greetsAt = random.integer(-10, 10);
  const count = random.integer(0, 25);
  for (let i = 0; i < count; i++) {
    const odd = style === 'odd' && random.chance(0.1);
    let next = validFrame(random, maxFrameBytes, agreement);
    if (odd) next = oddFrame(random, maxFrameBytes);
    else if (i === greetsAt) next = hello(random);
    pieces.push(next);
    edges.push(length);
    length += next.length;
  }
  const bytes = Buffer.concat(pieces);
  return { bytes: style === 'mutated' ? mutate(random, bytes, edges) : bytes, edges };
}

function mutate(random: Random, original: Buffer, edges: readonly number[]): Buffer {
  let bytes = original;
  for (let mutations = random.integer(1, 3); mutations > 0; mutations--) {
    const nearEdge = random.chance(0.8) ? (edges[random.integer(0, edges.length)] ?? 0) + random.integer(0, 8) : 0;
    const at = Math.min(nearEdge === 0 ? random.integer(0, bytes.length) : nearEdge, bytes.length);
    const length = random.integer(0, 8);
    switch (random.pick(['change', 'change', 'change', 'remove', 'insert', 'repeat', 'cut'])) {
      case 'change':
        bytes = Buffer.from(bytes);
        if (at < bytes.length) bytes[at] = random.chance(0.5) ? random.integer(0, 255) : random.integer(0, 3);
        break;
      case 'remove':
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 'insert':
        bytes = Buffer.concat([bytes.subarray(0, at), noiseBody(random, length), bytes.subarray(at)]);
        break;
      case 'repeat':
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - 30))]);
        break;
      case 'cut':
        bytes = bytes.subarray(0, at);
        break;
    }
  }
  return bytes;
}

/** How long the reads are that a stream comes in. */
function makeSplitter(random: Random, length: number, edges: readonly number[]): (position: number) => number {
  switch (random.pick(['whole', 'bytes', 'small', 'edges', 'reads'])) {
    case 'whole':
      return () => length;
    case 'bytes':
      return () => (length < 5000 ? 1 : random.integer(1, 5000));
    case 'small':
      return () => random.integer(1, length < 5000 ? 16 : 3000);
    case 'edges':
      return (position) => {
        const edge = edges.find((candidate) => candidate + 8 > position);
        if (edge === undefined) return random.integer(1, 65_536);
        return Math.max(1, edge - position + random.integer(0, 7));
      };
    default:
      return () => random.integer(1, 65_536);
  }
}

/**
 * Feeds random and mutated-valid byte streams, in random splits and to sinks that are full now and then, to decoders with and
 * without compression, and compares with a reference. A failure names the seed with which it is the first stream.
 *
 * @returns how many streams it ran
 */
export async function fuzzFrameDecoder(milliseconds: number, seed: number): Promise<number> {
  const until = Date.now() + milliseconds;
  const agreements: [Agreement, ...Agreement[]] = [
    PLAIN,
    await agreeOnLz4(),
    await agreeOnLz4(Buffer.from(noise.subarray(0, 5000))),
  ];
  let streams = 0;
  do {
    try {
      await runStream(new Random(seed + streams), agreements);
    } catch (error) {
      throw new Error(`FUZZ_SEED=${seed + streams}: ${(error as Error).message}`, { cause: error });
    }
    streams++;
  } while (Date.now() < until);
  return streams;
}

async function runStream(random: Random, agreements: readonly [Agreement, ...Agreement[]]): Promise<void> {
  const agreement = random.pick(agreements);
  const { compression } = agreement;
  const maxFrameBytes = random.pick([256, 1000, 65_531, 65_536, 65_540, 70_000, 250_000, 16 * 1024 * 1024]);
  const { bytes, edges } = makeStream(random, maxFrameBytes, agreement);
  const expected = referenceDecode(bytes, maxFrameBytes, agreement);
  const fullness = random.pick([0, 0, 0.1, 0.5, 0.9]);
  const sink = new RecordingSink(() => !random.chance(fullness));
  const decoder = new FrameConnection(sink, { maxFrameBytes, compression });
  const feeder = new Feeder(decoder, sink);
  const splitter = makeSplitter(random, bytes.length, edges);

  const bound = new HoldingBound(expected, sink, feeder);
  for (let position = 0; position < bytes.length && !sink.failed; ) {
    const next = Math.min(bytes.length, position + splitter(position));
    feeder.push(bytes.subarray(position, next));
    position = next;
    bound.check();
    while (feeder.isBlocked && !sink.failed && random.chance(0.7)) {
      await feeder.waited();
      feeder.retry();
      bound.check();
    }
  }
  await feeder.finishWaiting();
  bound.check();

  compare(expected, sink);
  if (!sink.failed && (decoder.incomplete() === undefined) !== (expected.left === 0)) {
    throw new Error(`incomplete() says '${decoder.incomplete()}', ${expected.left} bytes are left`);
  }
}

/** Checks that a decoder never keeps more than it may: what it has taken, and neither passed on nor skipped. */
class HoldingBound {
  readonly #expected: Reference;
  readonly #sink: RecordingSink;
  readonly #feeder: Feeder;
  #frames = 0;
  #findings = 0;

  constructor(expected: Reference, sink: RecordingSink, feeder: Feeder) {
    this.#expected = expected;
    this.#sink = sink;
    this.#feeder = feeder;
  }

  check(): void {
    if (this.#sink.failed) return;
    const { frames } = this.#expected;
    const { consumed } = this.#feeder;
    for (; this.#frames < frames.length; this.#frames++) {
      const next = frames[this.#frames];
      if (next === undefined) break;
      if (next.finding === undefined ? next.end > consumed : this.#findings === this.#sink.findings.length) break;
      if (next.finding !== undefined) this.#findings++;
    }
    const done = frames[this.#frames - 1]?.end ?? 0;
    const streamed = this.#sink.begun === undefined ? 0 : 6 + this.#sink.begun.body.length;
    const held = consumed - done - streamed;
    // Only as a whole can a compressed one be decompressed.
    const next = frames[this.#frames];
    if (next === undefined ? this.#expected.leftCompressed : next.compressed === true) return;
    if (held > LONGEST_ASSEMBLED) throw new Error(`The decoder holds ${held} bytes`);
  }
}

function compare(expected: Reference, sink: RecordingSink): void {
  const wanted = expected.frames.flatMap(({ finding }) => (finding === undefined ? [] : [finding]));
  for (let i = 0; i < Math.max(wanted.length, sink.findings.length); i++) {
    const problem = difference(wanted[i], sink.findings[i]);
    if (problem !== undefined) throw new Error(`Finding ${i}: ${problem}`);
  }
  if (sink.failed) return;
  const begun = sink.begun?.body ?? Buffer.alloc(0);
  if (!begun.equals(expected.begun)) {
    throw new Error(`${begun.length} bytes of the last message were passed on, ${expected.begun.length} came`);
  }
}

function difference(wanted: Finding | undefined, got: Finding | undefined): string | undefined {
  const same =
    wanted !== undefined &&
    got !== undefined &&
    (('body' in wanted && 'body' in got && wanted.what === got.what && wanted.body.equals(got.body)) ||
      (wanted.what === 'ignored' && got.what === 'ignored') ||
      (wanted.what === 'fail' && got.what === 'fail' && wanted.reason === got.reason && wanted.code === got.code));
  return same ? undefined : `expected ${describeFinding(wanted)}, got ${describeFinding(got)}`;
}

function describeFinding(finding: Finding | undefined): string {
  if (finding === undefined) return 'nothing';
  if ('body' in finding) return `${finding.what} of ${finding.body.length} bytes`;
  return JSON.stringify(finding);
}
