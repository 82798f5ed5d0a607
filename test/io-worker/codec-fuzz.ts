import zlib from 'node:zlib';
import { type Codec, STREAM_ABOVE_BYTES } from '../../src/io-worker/codec.js';
import { FixedCodec } from '../../src/io-worker/fixed-codec.js';
import { LengthFieldCodec } from '../../src/io-worker/length-field-codec.js';
import { LineCodec } from '../../src/io-worker/line-codec.js';
import { PartialFrame } from '../../src/io-worker/partial-frame.js';
import { SimpleReactorCodec } from '../../src/io-worker/simple-reactor-codec.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import type { CloseReason } from '../../src/shared/close-reason.js';
import { type LengthFieldSettings, lengthFieldFault } from '../../src/shared/codec-settings.js';
import { Feeder, type Finding, message, RecordingChannel } from './codec-recorder.js';

/** What a byte string means, read off the documents by the simplest possible code. */
export interface Reference {
  readonly findings: readonly Finding[];
  /** The last message is not whole. */
  readonly incomplete: boolean;
  /** What is there of it, if it is passed on in parts. */
  readonly begun?: Buffer;
}

interface Trial {
  readonly codec: Codec;
  readonly reference: (bytes: Buffer) => Reference;
  /** The most that may be kept of a frame that is not whole. */
  readonly heldBytes: number;
  /** Whole frames, some of them odd. */
  readonly frames: readonly Buffer[];
}

interface Subject {
  readonly makeTrial: (random: Random) => Trial;
  /** It stops while others work for it. */
  readonly mayWait?: boolean;
  readonly reasons: readonly CloseReason[];
}

const FAILURES = {
  'protocol-error': 'ERR_REACTOR_PROTOCOL',
  'frame-too-large': 'ERR_REACTOR_FRAME_TOO_LARGE',
  'decompression-failed': 'ERR_REACTOR_DECOMPRESSION',
} as const;

export function failure(reason: keyof typeof FAILURES): Finding {
  return { what: 'fail', reason, code: FAILURES[reason] };
}

/** Pseudo-random numbers (mulberry32): the same seed, the same streams. */
export class Random {
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

  times<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

const NOISE_BYTES = 1024 * 1024;
const noise = Buffer.alloc(NOISE_BYTES);
const noiseSource = new Random(1);
for (let i = 0; i < NOISE_BYTES; i++) noise[i] = noiseSource.integer(0, 255);

function noiseBody(random: Random, length: number): Buffer {
  const start = random.integer(0, NOISE_BYTES - length);
  return noise.subarray(start, start + length);
}

/** How long a message is: mostly short, now and then around the border to what is passed on in parts, or long. */
function someLength(random: Random, most: number): number {
  let length = random.integer(0, random.pick([0, 3, 10, 40, 300]));
  if (random.chance(0.06)) length = random.integer(STREAM_ABOVE_BYTES - 4, STREAM_ABOVE_BYTES + 4);
  else if (random.chance(0.03)) length = random.integer(60_000, 200_000);
  else if (random.chance(0.05)) length = most + random.integer(-2, 0);
  return Math.max(0, Math.min(length, most, 300_000));
}

// ---- line

const DELIMITERS = [
  '\n',
  '\r\n',
  '\0',
  'aa',
  'aab',
  'abab',
  '\r\n\r\n',
  'aaaaaaaaaaaaaaab',
  'abaabaabaabaabab',
] as const;

function isAt(bytes: Buffer, position: number, wanted: Buffer): boolean {
  return bytes[position] === wanted[0] && bytes.subarray(position, position + wanted.length).equals(wanted);
}

export function referenceLines(bytes: Buffer, delimiter: Buffer, maxBytes: number): Reference {
  const findings: Finding[] = [];
  for (let at = 0; ; ) {
    let end = at;
    while (end < bytes.length && !isAt(bytes, end, delimiter)) end++;
    if (end === bytes.length) {
      // What may be the front of a delimiter is not part of the message for certain.
      let sure = Math.max(at, bytes.length - delimiter.length + 1);
      while (!delimiter.subarray(0, bytes.length - sure).equals(bytes.subarray(sure))) sure++;
      if (sure - at > maxBytes) return { findings: [...findings, failure('frame-too-large')], incomplete: false };
      return { findings, incomplete: at < bytes.length };
    }
    if (end - at > maxBytes) return { findings: [...findings, failure('frame-too-large')], incomplete: false };
    findings.push(message(bytes.subarray(at, end)));
    at = end + delimiter.length;
  }
}

function lineTrial(random: Random): Trial {
  const delimiter = Buffer.from(random.pick(DELIMITERS));
  const maxBytes = random.pick([1, 5, 100, 100, 1000, 65_530, 65_531, 70_000, 250_000]);
  const frames = random.times(random.integer(0, 30), () => {
    const text = Buffer.from(noiseBody(random, someLength(random, maxBytes)));
    // Few different bytes, those of the delimiter among them: many beginnings of delimiters, and some whole ones.
    if (random.chance(0.5) && text.length < 1000) {
      for (let i = 0; i < text.length; i++) {
        text[i] = random.chance(0.1) ? 120 : (delimiter[random.integer(0, delimiter.length - 1)] as number);
      }
    }
    return Buffer.concat([text, delimiter]);
  });
  return {
    codec: new LineCodec({ delimiter, maxBytes }),
    reference: (bytes) => referenceLines(bytes, delimiter, maxBytes),
    heldBytes: maxBytes + delimiter.length - 1,
    frames,
  };
}

// ---- length-field

export function referenceLengthField(bytes: Buffer, settings: LengthFieldSettings): Reference {
  const { offset, bytes: count, endian, adjustment, strip, maxFrameBytes } = settings;
  const findings: Finding[] = [];
  for (let at = 0; ; ) {
    const left = bytes.length - at;
    if (left < offset + count) return { findings, incomplete: left > 0 };
    const field = Buffer.from(bytes.subarray(at + offset, at + offset + count));
    if (endian === 'little') field.reverse();
    const length = BigInt(`0x${field.toString('hex')}`) + BigInt(offset + count + adjustment);
    const fail = (reason: 'protocol-error' | 'frame-too-large'): Reference => {
      return { findings: [...findings, failure(reason)], incomplete: false };
    };
    if (length < offset + count) return fail('protocol-error');
    if (length > maxFrameBytes) return fail('frame-too-large');
    if (length < strip) return fail('protocol-error');
    const end = at + Number(length);
    const body = bytes.subarray(at + strip, end);
    if (end > bytes.length) {
      return {
        findings,
        incomplete: true,
        begun: Number(length) - strip > STREAM_ABOVE_BYTES ? body : Buffer.alloc(0),
      };
    }
    findings.push(message(body));
    at = end;
  }
}

function lengthFieldSettings(random: Random): LengthFieldSettings {
  for (;;) {
    const offset = random.pick([0, 0, 1, 4, random.integer(0, 20)]);
    const bytes = random.integer(1, 8);
    const settings: LengthFieldSettings = {
      offset,
      bytes,
      endian: random.pick(['big', 'little']),
      adjustment: random.pick([0, 0, 0, -bytes, -offset - bytes, random.integer(-30, 30)]),
      strip: random.pick([0, offset, offset + bytes, offset + bytes, offset + bytes + random.integer(0, 30)]),
      maxFrameBytes: random.pick([256, 1000, 65_530, 70_000, 250_000, 16 * 1024 * 1024]),
    };
    if (lengthFieldFault(settings) === undefined) return settings;
  }
}

function lengthFieldTrial(random: Random): Trial {
  const settings = lengthFieldSettings(random);
  const { offset, bytes, endian, adjustment, strip, maxFrameBytes } = settings;
  const header = offset + bytes;
  const longest = Math.min(maxFrameBytes, header + 256 ** bytes - 1 + adjustment);
  const frames = random.times(random.integer(0, 25), () => {
    const shortest = Math.max(header, header + adjustment, strip);
    const length = Math.max(shortest, Math.min(longest, shortest + someLength(random, longest)));
    const frame = Buffer.from(noiseBody(random, length));
    let value = BigInt(length - header - adjustment);
    if (random.chance(0.01)) value = random.pick([0n, 1n, 255n, 2n ** 32n, 2n ** 53n, 2n ** 64n - 1n]);
    const field = Buffer.alloc(8);
    if (endian === 'big') field.writeBigUInt64BE(value);
    else field.writeBigUInt64LE(value);
    frame.set(endian === 'big' ? field.subarray(8 - bytes) : field.subarray(0, bytes), offset);
    return frame;
  });
  return {
    codec: new LengthFieldCodec(settings),
    reference: (stream) => referenceLengthField(stream, settings),
    heldBytes: STREAM_ABOVE_BYTES + header,
    frames,
  };
}

// ---- fixed

export function referenceFixed(bytes: Buffer, length: number): Reference {
  const findings: Finding[] = [];
  let at = 0;
  for (; at + length <= bytes.length; at += length) findings.push(message(bytes.subarray(at, at + length)));
  const rest = bytes.subarray(at);
  return { findings, incomplete: rest.length > 0, begun: length > STREAM_ABOVE_BYTES ? rest : Buffer.alloc(0) };
}

function fixedTrial(random: Random): Trial {
  const bytes = random.pick([1, 2, 7, 100, 1000, 65_530, 65_531, 65_536, 100_000]);
  return {
    codec: new FixedCodec({ bytes }),
    reference: (stream) => referenceFixed(stream, bytes),
    heldBytes: Math.min(bytes, STREAM_ABOVE_BYTES),
    frames: random.times(random.integer(0, bytes > 1000 ? 5 : 100), () => noiseBody(random, bytes)),
  };
}

// ---- simple-reactor

export function referenceSimpleReactor(bytes: Buffer, compress: boolean, maxFrameBytes: number): Reference {
  const findings: Finding[] = [];
  const bodies: Buffer[] = [];
  let inflated = 0;
  /** What `body` adds to the zlib stream, or undefined. */
  const inflate = (body: Buffer): Buffer | undefined => {
    const input = Buffer.concat([...bodies, body]);
    try {
      const options = { finishFlush: zlib.constants.Z_SYNC_FLUSH, maxOutputLength: inflated + maxFrameBytes };
      const { buffer, engine } = zlib.inflateSync(input, { ...options, info: true }) as unknown as {
        buffer: Buffer;
        engine: { bytesWritten: number };
      };
      return engine.bytesWritten < input.length ? undefined : buffer.subarray(inflated);
    } catch {
      return undefined;
    }
  };
  for (let at = 0; ; ) {
    const left = bytes.length - at;
    const fail = (reason: keyof typeof FAILURES): Reference => {
      return { findings: [...findings, failure(reason)], incomplete: false };
    };
    if (left < 4) return { findings, incomplete: left > 0 };
    const length = bytes.readUInt32LE(at);
    if (length > maxFrameBytes) return fail('frame-too-large');
    if (length === 0 || (!compress && length < 4)) return fail('protocol-error');
    const end = at + 4 + length;
    const body = bytes.subarray(at + 4, end);
    let payload: Buffer | undefined = body;
    if (compress && end > bytes.length) {
      // Pieces of 64 KiB go on before the message is whole, so what is wrong with them shows.
      const pieces = Math.min(Math.floor(body.length / 65_536), Math.ceil((length - 4) / 65_536) - 1);
      if (pieces > 0 && inflate(body.subarray(0, pieces * 65_536)) === undefined) return fail('decompression-failed');
      return { findings, incomplete: true };
    }
    if (compress) {
      if (body.toString('hex', Math.max(0, length - 4)) !== '0000ffff') return fail('decompression-failed');
      payload = inflate(body);
      if (payload === undefined) return fail('decompression-failed');
      if (payload.length < 4) return fail('protocol-error');
      bodies.push(body);
      inflated += payload.length;
    }
    const type = payload.length < 4 ? undefined : payload.readUInt32LE(0);
    if (type !== undefined && type !== 1 && type !== 2) findings.push({ what: 'ignored' });
    if (end > bytes.length) {
      const long = type === 1 && length - 4 > STREAM_ABOVE_BYTES;
      return { findings, incomplete: true, begun: long ? payload.subarray(4) : Buffer.alloc(0) };
    }
    if (type === 1) findings.push(message(payload.subarray(4)));
    at = end;
  }
}

/** Payloads as they stand on the wire. */
export function simpleReactorFrames(payloads: readonly Buffer[], compress: boolean): Buffer[] {
  return payloads.map((payload, i) => {
    let body = payload;
    if (compress) {
      // Each message by itself is a stretch of the stream, too: one that refers to nothing before it.
      body = zlib.deflateRawSync(payload, { finishFlush: zlib.constants.Z_SYNC_FLUSH, level: payload.length % 10 });
      if (i === 0) body = Buffer.concat([Buffer.from('789c', 'hex'), body]);
    }
    const frame = Buffer.alloc(4 + body.length);
    frame.writeUInt32LE(body.length);
    frame.set(body, 4);
    return frame;
  });
}

export function payload(type: number, data: Uint8Array | string): Buffer {
  const bytes = Buffer.from(data);
  const head = Buffer.alloc(4);
  head.writeUInt32LE(type);
  return Buffer.concat([head, bytes]);
}

function simpleReactorTrial(random: Random, compress: boolean): Trial {
  const maxFrameBytes = random.pick([256, 1000, 65_534, 65_540, 100_000, 250_000]);
  const payloads = random.times(random.integer(0, compress ? 12 : 25), () => {
    const length = someLength(random, maxFrameBytes - 4);
    const data = random.chance(0.5) ? noiseBody(random, length) : Buffer.alloc(length, 'abc');
    if (random.chance(0.01)) return data.subarray(0, 3);
    return payload(random.pick([1, 1, 1, 1, 1, 2, 2, 0, 3, 2 ** 32 - 1]), data);
  });
  return {
    codec: new SimpleReactorCodec({ compress, heartbeatMs: 60_000, maxFrameBytes }, new TimingWheel()),
    reference: (bytes) => referenceSimpleReactor(bytes, compress, maxFrameBytes),
    heldBytes: compress ? 65_536 + 4 : STREAM_ABOVE_BYTES,
    frames: simpleReactorFrames(payloads, compress),
  };
}

export const subjects = {
  line: { makeTrial: lineTrial, reasons: ['frame-too-large'] },
  'length-field': { makeTrial: lengthFieldTrial, reasons: ['frame-too-large', 'protocol-error'] },
  fixed: { makeTrial: fixedTrial, reasons: [] },
  'simple-reactor without compression': {
    makeTrial: (random) => simpleReactorTrial(random, false),
    reasons: ['frame-too-large', 'protocol-error'],
  },
  'simple-reactor': {
    makeTrial: (random) => simpleReactorTrial(random, true),
    mayWait: true,
    reasons: ['frame-too-large', 'protocol-error', 'decompression-failed'],
  },
} as const satisfies Record<string, Subject>;

// ---- streams

/** Bytes, and where in them something begins that a split might hurt. */
function makeStream(random: Random, frames: readonly Buffer[]): { bytes: Buffer; edges: number[] } {
  const style = random.pick(['valid', 'valid', 'mutated', 'mutated', 'random']);
  if (style === 'random') {
    // Mostly small values, or the first length would already be too large.
    const bytes = Buffer.from(noiseBody(random, random.integer(0, 300)));
    for (let i = 0; i < bytes.length; i++) bytes[i] = random.chance(0.7) ? random.integer(0, 3) : (bytes[i] as number);
    return { bytes, edges: [] };
  }
  const edges: number[] = [];
  let length = 0;
  for (const frame of frames) {
    edges.push(length);
    length += frame.length;
  }
  const bytes = Buffer.concat(frames);
  return { bytes: style === 'mutated' ? mutate(random, bytes, edges) : bytes, edges };
}

function mutate(random: Random, original: Buffer, edges: readonly number[]): Buffer {
  let bytes = original;
  for (let mutations = random.integer(1, 3); mutations > 0; mutations--) {
    const nearEdge = (edges[random.integer(0, edges.length)] ?? 0) + random.integer(0, 30);
    const at = Math.min(random.chance(0.8) ? nearEdge : random.integer(0, bytes.length), bytes.length);
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

// ---- the run

/**
 * Feeds random and mutated-valid byte streams, in random splits and to channels that are full now and then, to codecs, and
 * compares with a reference. A failure names the seed with which it is the first stream.
 *
 * @returns how many streams it ran
 */
export async function fuzzCodec(name: keyof typeof subjects, milliseconds: number, seed: number): Promise<number> {
  const until = Date.now() + milliseconds;
  const stopWatching = watchPartialFrames();
  let streams = 0;
  try {
    do {
      try {
        await runStream(subjects[name], new Random(seed + streams));
      } catch (error) {
        throw new Error(`${name}, FUZZ_SEED=${seed + streams}: ${(error as Error).message}`, { cause: error });
      }
      streams++;
    } while (Date.now() < until);
  } finally {
    stopWatching();
  }
  return streams;
}

let mostHeld = 0;

/** Looks at all the memory that codecs have for frames that are not whole. */
function watchPartialFrames(): () => void {
  const { append } = PartialFrame.prototype;
  PartialFrame.prototype.append = function (source, start, end, total): void {
    const before = this.bytes;
    append.call(this, source, start, end, total);
    if (this.bytes === before) return;
    const held = this.bytes.buffer.byteLength;
    if (held > total) throw new Error(`${held} bytes of memory for a frame that needs ${total}`);
    if (held > Math.max(2 * this.length, 512)) throw new Error(`${held} bytes of memory when ${this.length} have come`);
    mostHeld = Math.max(mostHeld, held);
  };
  return () => {
    PartialFrame.prototype.append = append;
  };
}

async function runStream({ makeTrial, reasons, ...subject }: Subject, random: Random): Promise<void> {
  const mayWait = subject.mayWait ?? false;
  const { codec, reference, heldBytes, frames } = makeTrial(random);
  const { bytes, edges } = makeStream(random, frames);
  const expected = reference(bytes);
  const fullness = random.pick([0, 0, 0.1, 0.5, 0.9]);
  const channel = new RecordingChannel(() => !random.chance(fullness));
  const connection = codec.open(channel);
  const feeder = new Feeder(connection, channel, mayWait);
  const splitter = makeSplitter(random, bytes.length, edges);

  mostHeld = 0;
  for (let position = 0; position < bytes.length && !channel.failed; ) {
    const next = Math.min(bytes.length, position + splitter(position));
    feeder.push(bytes.subarray(position, next));
    position = next;
    while (feeder.isBlocked && !feeder.isWaiting && !channel.failed && random.chance(0.7)) feeder.retry();
    if (mayWait && random.chance(0.5)) await feeder.settle();
  }
  if (mayWait) await feeder.settle();
  else feeder.finish();
  if (mostHeld > heldBytes) throw new Error(`The codec held ${mostHeld} bytes, ${heldBytes} are allowed`);

  compare(expected, channel);
  const last = channel.findings.at(-1);
  if (last?.what === 'fail' && !reasons.includes(last.reason)) throw new Error(`It failed with ${last.reason}`);
  if (!channel.failed && (connection.incomplete() !== undefined) !== expected.incomplete) {
    throw new Error(`incomplete() says '${connection.incomplete()}', and it is ${expected.incomplete}`);
  }
  connection.close?.();
  channel.closed = true;
}

function compare(expected: Reference, channel: RecordingChannel): void {
  const { findings } = channel;
  for (let i = 0; i < Math.max(expected.findings.length, findings.length); i++) {
    const wanted = expected.findings[i];
    const got = findings[i];
    if (!isSame(wanted, got)) throw new Error(`Finding ${i}: expected ${describe(wanted)}, got ${describe(got)}`);
  }
  if (channel.failed) return;
  const begun = channel.begun?.body ?? Buffer.alloc(0);
  const wanted = expected.begun ?? Buffer.alloc(0);
  if (!begun.equals(wanted)) {
    throw new Error(`${begun.length} bytes of the last message were passed on, ${wanted.length} came`);
  }
}

function isSame(wanted: Finding | undefined, got: Finding | undefined): boolean {
  if (wanted?.what === 'message') return got?.what === 'message' && wanted.body.equals(got.body);
  if (wanted?.what === 'fail') return got?.what === 'fail' && wanted.reason === got.reason && wanted.code === got.code;
  return wanted?.what === got?.what;
}

function describe(finding: Finding | undefined): string {
  if (finding === undefined) return 'nothing';
  if (finding.what === 'message') return `a message of ${finding.body.length} bytes`;
  return JSON.stringify(finding);
}
