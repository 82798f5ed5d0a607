import v8 from 'node:v8';
import vm from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import type { CodecOutput } from '../../src/io-worker/codec.js';
import type { ConnectionChannel } from '../../src/io-worker/codec-channel.js';
import { type FrameChannel, FrameCodec, FrameConnection } from '../../src/io-worker/frame-codec.js';
import { InflationBudget } from '../../src/io-worker/inflation-budget.js';
import { Feeder, type Finding, messageNames, RecordingSink } from './frame-codec-fuzz.js';

const LIMIT = 16 * 1024 * 1024;
const KIB = 1024;

/** Bytes as they stand on the wire: `hex('03000000 00 00 61')`. */
function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

function frame(kind: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(6);
  header.writeUInt32LE(2 + body.length, 0);
  header[4] = kind;
  return Buffer.concat([header, body]);
}

/** A body whose bytes tell where they belong. */
function body(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed) & 0xff;
  return bytes;
}

const message = (bytes: Uint8Array): Finding => ({ what: 'message', body: Buffer.from(bytes) });
const ping = (bytes: Uint8Array): Finding => ({ what: 'ping', body: Buffer.from(bytes) });

/** Findings as short text: bodies of 100 KB would make a failure unreadable, and the comparison slow. */
function summary(findings: readonly Finding[]): string[] {
  return findings.map((finding) => {
    if ('body' in finding) {
      return `${finding.what} of ${finding.body.length}: ${finding.body.toString('hex', 0, 12)} sum ${sum(finding.body)}`;
    }
    return finding.what === 'ignored' ? 'ignored' : `fail ${finding.reason} ${finding.code}`;
  });
}

/** Changes with every byte and with their order. */
function sum(bytes: Uint8Array): number {
  let hash = 0;
  for (const byte of bytes) hash = (Math.imul(hash, 31) + byte + 1) | 0;
  return hash;
}

function expectFindings(sink: RecordingSink, expected: readonly Finding[]): void {
  expect(summary(sink.findings)).to.deep.equal(summary(expected));
}

/** One without compression. */
function makeConnection(channel: FrameChannel, maxFrameBytes = LIMIT): FrameConnection {
  return new FrameConnection(channel, { maxFrameBytes, compression: undefined });
}

function makeDecoder(
  limit = LIMIT,
  hasRoom?: () => boolean,
): { decoder: FrameConnection; sink: RecordingSink; feeder: Feeder } {
  const sink = new RecordingSink(hasRoom);
  const decoder = makeConnection(sink, limit);
  return { decoder, sink, feeder: new Feeder(decoder, sink) };
}

/** What one read after the other brings. */
function findingsOf(reads: Iterable<Uint8Array>, limit = LIMIT): RecordingSink {
  const { sink, feeder } = makeDecoder(limit);
  for (const read of reads) {
    feeder.push(read);
    if (sink.failed) break;
  }
  return sink;
}

function* inPieces(bytes: Buffer, length: number): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** `bytes` in reads that end at `positions`, which are in order. */
function* cutAt(bytes: Buffer, positions: readonly number[]): Iterable<Buffer> {
  let start = 0;
  for (const end of [...positions, bytes.length]) {
    if (end > start) yield bytes.subarray(start, end);
    start = Math.max(start, end);
  }
}

/** Compares in place, without copying: fast enough to try every split of a long stream. */
class ComparingSink implements FrameChannel {
  readonly inflationBudget = new InflationBudget();
  readonly #expected: readonly Finding[];
  #found = 0;
  /** Bytes of the current message that have come in parts. */
  #have = 0;
  #problem: string | undefined;

  constructor(expected: readonly Finding[]) {
    this.#expected = expected;
  }

  /** Feeds a new decoder with `bytes`, cut at `positions`, and expects it to find everything. */
  expectAll(bytes: Buffer, positions: readonly number[]): void {
    this.#found = 0;
    this.#have = 0;
    this.#problem = undefined;
    const decoder = makeConnection(this);
    let start = 0;
    for (const end of [...positions, bytes.length]) {
      const position = decoder.decode(bytes, start, end);
      if (position !== end) this.#problem ??= `decode() of [${start}, ${end}) came to ${position}`;
      start = end;
    }
    if (this.#found !== this.#expected.length)
      this.#problem ??= `${this.#found} of ${this.#expected.length} findings came`;
    if (decoder.incomplete() !== undefined) this.#problem ??= `it says that ${decoder.incomplete()}`;
    if (this.#problem !== undefined) expect.fail(`Split at ${positions.join(' and ')}: ${this.#problem}`);
  }

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    const found = this.#takeRun(bytes, start, end);
    if (found !== count) this.#problem ??= `${found} frames instead of ${count}`;
    return true;
  }

  answers(bytes: Uint8Array, start: number, end: number, lane: number): boolean {
    const first = this.#found;
    this.#takeRun(bytes, start, end);
    for (const finding of this.#expected.slice(first, this.#found)) {
      const wanted = 'body' in finding ? (finding.body[3] as number) >> 3 : -1;
      if (wanted !== lane) this.#problem ??= `an answer to lane ${wanted} went to ${lane}`;
    }
    return true;
  }

  #takeRun(bytes: Uint8Array, start: number, end: number): number {
    const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    let count = 0;
    let position = start;
    for (; position < end; count++) {
      const next = position + 4 + input.readUInt32LE(position);
      this.#expectNext(messageNames.get(input[position + 4] as number), bytes, position + 6, next);
      position = next;
    }
    if (position !== end) this.#problem ??= `${count} frames end at ${position}, the range at ${end}`;
    return count;
  }

  message(): boolean {
    this.#problem ??= 'message() was called, though nothing is compressed';
    return true;
  }

  resume(): void {
    this.#problem ??= 'resume() was called, though nothing is compressed';
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number, kind?: number): boolean {
    const next = this.#expected[this.#found];
    const announced = next !== undefined && 'body' in next ? next.body.length : -1;
    const what = messageNames.get(kind ?? -1);
    if (length !== announced || what !== next?.what || this.#have !== 0) {
      this.#problem ??= `a ${what} of ${length} bytes begins`;
    }
    if (what !== 'message' && what !== 'request' && end - start < 4)
      this.#problem ??= `a ${what} begins without its id`;
    return this.part(bytes, start, end);
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    const next = this.#expected[this.#found];
    if (next === undefined || !('body' in next)) {
      this.#problem ??= 'a part came of what is no message';
      return true;
    }
    const have = this.#have + end - start;
    if (Buffer.compare(bytes.subarray(start, end), next.body.subarray(this.#have, have)) !== 0) {
      this.#problem ??= `the bytes from ${this.#have} to ${have} of a message are wrong`;
    }
    this.#have = have % next.body.length;
    if (have === next.body.length) this.#found++;
    return true;
  }

  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    const pieces: Uint8Array[] = [];
    void write({ write: (bytes) => void pieces.push(bytes) });
    const pong = Buffer.concat(pieces);
    if (pong.readUInt32LE(0) !== pong.length - 4 || pong[4] !== 2 || pong[5] !== 0)
      this.#problem ??= 'it wrote no pong';
    this.#expectNext('ping', pong, 6, pong.length);
    return true;
  }

  readonly answersPings = true;

  pong(): void {}

  busy(): boolean {
    this.ignored();
    return true;
  }

  goodbye(): boolean {
    this.ignored();
    return true;
  }

  ignored(): void {
    const next = this.#expected[this.#found++];
    if (next?.what !== 'ignored') this.#problem ??= 'something was ignored';
  }

  fail(reason: string): void {
    this.#problem ??= `it failed with '${reason}'`;
  }

  #expectNext(what: Finding['what'] | undefined, bytes: Uint8Array, start: number, end: number): void {
    const next = this.#expected[this.#found++];
    const same =
      next !== undefined &&
      'body' in next &&
      next.what === what &&
      Buffer.compare(bytes.subarray(start, end), next.body) === 0;
    if (!same) this.#problem ??= `finding ${this.#found - 1} is a ${what} of ${end - start} bytes`;
  }
}

/** Streams of frames that are allowed, short ones and long ones. */
type FrameSpec = { readonly kind: number; readonly length: number };
const streams: fc.Arbitrary<FrameSpec[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant(0), length: fc.nat(40) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant(0), length: fc.constant(0) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom(1, 2), length: fc.oneof(fc.nat(8), fc.constant(256)) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom(5, 64, 255), length: fc.nat(256) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant(4), length: fc.integer({ min: 4, max: 256 }) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom(6, 7, 7, 8), length: fc.integer({ min: 4, max: 40 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom(6, 7, 8), length: fc.integer({ min: 65_524, max: 100_000 }) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant(200), length: fc.integer({ min: 60_000, max: 80_000 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant(0), length: fc.integer({ min: 65_524, max: 65_540 }) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant(0), length: fc.integer({ min: 65_541, max: 150_000 }) }) },
  ),
  { maxLength: 15 },
);

interface Stream {
  readonly bytes: Buffer;
  /** Where its frames begin. */
  readonly edges: readonly number[];
  readonly findings: readonly Finding[];
}

function buildStream(specs: readonly FrameSpec[]): Stream {
  const pieces: Buffer[] = [];
  const edges: number[] = [];
  const findings: Finding[] = [];
  let position = 0;
  for (const { kind, length } of specs) {
    const content = body(length, pieces.length);
    edges.push(position);
    pieces.push(frame(kind, content));
    position += 6 + length;
    const what = messageNames.get(kind);
    if (what !== undefined) findings.push({ what, body: content });
    else if (kind === 1) findings.push(ping(content));
    else if (kind !== 2) findings.push({ what: 'ignored' });
  }
  return { bytes: Buffer.concat(pieces), edges, findings };
}

/** Where a stream is split: near the beginnings of its frames, and anywhere. */
type Cut = { readonly near: boolean; readonly at: number; readonly offset: number };
const cuts: fc.Arbitrary<Cut[]> = fc.array(
  fc.record({ near: fc.boolean(), at: fc.nat(), offset: fc.integer({ min: -2, max: 8 }) }),
  { maxLength: 40 },
);

function split({ bytes, edges }: Stream, positions: readonly Cut[]): Iterable<Buffer> {
  const places = positions.map(({ near, at, offset }) => {
    const edge = edges[at % edges.length] ?? 0;
    return near ? Math.min(Math.max(edge + offset, 0), bytes.length) : at % (bytes.length + 1);
  });
  return cutAt(
    bytes,
    places.sort((a, b) => a - b),
  );
}

const HELLO = '12000000 03 00  0100 0000 00000001 00000000 00000000';

describe('FrameConnection', () => {
  describe('with frames that are allowed', () => {
    it('hands the body of a data frame on as a message', () => {
      expectFindings(findingsOf([hex('07000000 00 00 68656c6c6f')]), [message(Buffer.from('hello'))]);
    });

    it('hands an empty data frame on as an empty message', () => {
      expectFindings(findingsOf([hex('02000000 00 00')]), [message(hex(''))]);
    });

    it('hands all whole data frames of a read on in one call', () => {
      const calls: string[] = [];
      const sink: FrameChannel = new RecordingSink();
      sink.frames = (_bytes, start, end, count) => {
        calls.push(`${count} frames in [${start}, ${end})`);
        return true;
      };
      // Whether the read ends with a frame or inside one.
      for (const rest of ['', '03000000 00']) {
        calls.length = 0;
        const bytes = hex(`03000000 00 00 61  02000000 00 00  04000000 00 00 6263 ${rest}`);
        expect(makeConnection(sink).decode(bytes, 0, bytes.length)).to.equal(bytes.length);
        expect(calls).to.deep.equal(['3 frames in [0, 21)']);
      }
    });

    it('looks at nothing outside of the given range', () => {
      const sink = new RecordingSink();
      const bytes = hex('ffffffff ff ff   03000000 00 00 61   00000000 00 00');
      expect(makeConnection(sink).decode(bytes, 6, 13)).to.equal(13);
      expectFindings(sink, [message(Buffer.from('a'))]);
    });

    it('hands a ping on with its body, which may be empty or 256 bytes long', () => {
      const bytes = Buffer.concat([hex('0a000000 01 00 0102030405060708'), hex('02000000 01 00'), frame(1, body(256))]);
      expectFindings(findingsOf([bytes]), [ping(hex('0102030405060708')), ping(hex('')), ping(body(256))]);
    });

    it('says nothing about a pong, which answers nothing, and goes on behind it', () => {
      const bytes = Buffer.concat([hex('06000000 02 00 01020304'), frame(2, body(256)), hex('03000000 00 00 61')]);
      expectFindings(findingsOf([bytes]), [message(Buffer.from('a'))]);
    });

    it('says nothing about a hello and goes on behind it', () => {
      expectFindings(findingsOf([hex(`${HELLO} 03000000 00 00 61`)]), [message(Buffer.from('a'))]);
    });

    it('serves a peer that never sends a hello, and one that sends it late', () => {
      const expected = [message(Buffer.from('a')), message(Buffer.from('b'))];
      expectFindings(findingsOf([hex('03000000 00 00 61  03000000 00 00 62')]), expected);
      expectFindings(findingsOf([hex(`03000000 00 00 61 ${HELLO} 03000000 00 00 62`)]), expected);
    });

    it('takes a hello of a later version, which may be longer', () => {
      const bytes = hex('14000000 03 00  ff00 0000 00000001 00000000 00000000 abcd   03000000 00 00 61');
      expectFindings(findingsOf([bytes]), [message(Buffer.from('a'))]);
      const version256 = hex('12000000 03 00  0001 0000 00000001 00000000 00000000   03000000 00 00 61');
      expectFindings(findingsOf([version256]), [message(Buffer.from('a'))]);
    });

    it('accepts a length exactly at the limit, and refuses one more', () => {
      for (const limit of [256, 65_531, 65_532, 65_533, 65_536, 65_537, 100_000]) {
        const longest = frame(0, body(limit - 2));
        expect(longest.readUInt32LE(0)).to.equal(limit);
        for (const reads of [[longest], inPieces(longest, 10_000), inPieces(longest, 1)]) {
          expectFindings(findingsOf(reads, limit), [message(body(limit - 2))]);
        }
        const longer = frame(0, body(limit - 1));
        const refused: Finding = { what: 'fail', reason: 'frame-too-large', code: 'ERR_REACTOR_FRAME_TOO_LARGE' };
        for (const reads of [[longer], inPieces(longer, 3)]) expectFindings(findingsOf(reads, limit), [refused]);
      }
    });

    it('takes the largest limit there is', () => {
      const limit = 1024 * 1024 * KIB;
      const { sink, feeder } = makeDecoder(limit);
      feeder.push(hex('00000040 00 00 61'));
      expect(sink.begun?.length).to.equal(limit - 2);
      expect(sink.begun?.body).to.deep.equal(Buffer.from('a'));
      expect(sink.failed).to.equal(false);
    });

    it('hands frames of up to 64 KiB on whole, and longer ones piece by piece as they arrive', () => {
      const whole = frame(0, body(64 * KIB - 6));
      const assembling = makeDecoder();
      assembling.feeder.push(whole.subarray(0, -1));
      expect(assembling.sink.begun).to.equal(undefined);
      assembling.feeder.push(whole.subarray(-1));
      expectFindings(assembling.sink, [message(body(64 * KIB - 6))]);

      const long = frame(0, body(64 * KIB - 5));
      // Whether the header comes in one piece or not.
      for (const first of [6, 1, 3, 5]) {
        const { sink, feeder } = makeDecoder();
        feeder.push(long.subarray(0, first));
        for (const piece of inPieces(long.subarray(first, -1), 1000)) {
          feeder.push(piece);
          expect(sink.begun?.body.length).to.equal(feeder.consumed - 6);
        }
        feeder.push(long.subarray(-1));
        expectFindings(sink, [message(body(64 * KIB - 5))]);
      }
    });
  });

  describe('with kinds that nobody is interested in', () => {
    const kinds: number[] = [];
    for (let kind = 64; kind <= 255; kind++) kinds.push(kind);
    const expected = kinds.flatMap((kind): Finding[] => [{ what: 'ignored' }, message(Uint8Array.of(kind))]);

    it('ignores 64 to 255, counts each once, and goes on behind it', () => {
      for (const length of [0, 1, 300]) {
        const bytes = Buffer.concat(
          kinds.flatMap((kind) => [frame(kind, body(length)), frame(0, Uint8Array.of(kind))]),
        );
        expectFindings(findingsOf([bytes]), expected);
        expectFindings(findingsOf(inPieces(bytes, 1)), expected);
        expectFindings(findingsOf(inPieces(bytes, 7)), expected);
      }
    });

    it('ignores them, too, when they are longer than a read and than what it would put together', () => {
      // The bodies are full of headers that would be refused.
      const poison = Buffer.alloc(200_000, 0xff);
      const frames = kinds.flatMap((kind) => [frame(kind, poison), frame(0, Uint8Array.of(kind))]);
      expectFindings(findingsOf(inPieces(Buffer.concat(frames), 64 * KIB)), expected);
    });

    it('refuses one that is over the limit all the same', () => {
      const sink = findingsOf([hex('01010000 ff 00')], 256);
      expectFindings(sink, [{ what: 'fail', reason: 'frame-too-large', code: 'ERR_REACTOR_FRAME_TOO_LARGE' }]);
    });
  });

  describe('with what is not allowed', () => {
    interface Rejection {
      readonly name: string;
      /** What comes in front of it, and what is found in that. */
      readonly before?: { readonly bytes: Buffer; readonly findings: readonly Finding[] };
      readonly bad: readonly string[];
      /** How many bytes decide; a hello is judged when it is whole, at the latest. */
      readonly decides: number | 'when whole';
      readonly reason?: 'frame-too-large';
      readonly limit?: number;
    }

    const greeted = { bytes: hex(HELLO), findings: [] };
    const greetedAndBusy = { bytes: hex(`${HELLO} 02000000 00 00`), findings: [message(hex(''))] };

    const rejections: Rejection[] = [
      { name: 'a length of 0', bad: ['00000000 00 00'], decides: 4 },
      { name: 'a length of 1', bad: ['01000000 00 00'], decides: 4 },
      { name: 'a length of 2^32 - 1', bad: ['ffffffff 00 00'], decides: 4, reason: 'frame-too-large' },
      { name: 'a length of 2^31', bad: ['00000080 00 00'], decides: 4, reason: 'frame-too-large' },
      { name: 'a length one over the limit', bad: ['01000001 00 00'], decides: 4, reason: 'frame-too-large' },
      {
        name: 'a length one over a small limit, whatever the kind',
        bad: ['01010000 00 00', '01010000 01 00', '01010000 03 00', '01010000 ff 00'],
        decides: 4,
        reason: 'frame-too-large',
        limit: 256,
      },
      {
        name: 'a ping of 257 bytes, or of as much as the limit allows',
        bad: ['03010000 01 00', '00000001 01 00'],
        decides: 5,
      },
      { name: 'a pong of 257 bytes', bad: ['03010000 02 00'], decides: 5 },
      { name: 'a hello of 257 bytes', bad: ['03010000 03 00'], decides: 5 },
      { name: 'a busy of 257 bytes', bad: ['03010000 04 00'], decides: 5 },
      { name: 'a busy of 3 bytes', bad: ['05000000 04 00 010203'], decides: 9 },
      { name: 'a goodbye of 257 bytes', bad: ['03010000 05 00'], decides: 5 },
      { name: 'the kinds 9 to 63', bad: range(9, 63).map((kind) => `03000000 ${kind} 00 61`), decides: 5 },
      { name: 'flags on a data frame', bad: flags('14000000 00'), decides: 6 },
      { name: 'flags on a data frame longer than 64 KiB', bad: flags('00000100 00'), decides: 6 },
      {
        name: 'flags on a ping, a pong and a hello',
        bad: ['01', '02', '03'].flatMap((kind) => flags(`14000000 ${kind}`)),
        decides: 6,
      },
      {
        name: 'flags on a frame that it would ignore',
        bad: ['04', '05', '40', 'ff'].flatMap((kind) => flags(`14000000 ${kind}`)),
        decides: 6,
      },
      { name: 'a second hello', before: greeted, bad: [HELLO], decides: 'when whole' },
      { name: 'a second hello later on', before: greetedAndBusy, bad: [HELLO], decides: 'when whole' },
      { name: 'a hello of 15 bytes', bad: [`11000000 03 00 ${'01'.repeat(15)}`], decides: 'when whole' },
      { name: 'a hello without a body', bad: ['02000000 03 00'], decides: 'when whole' },
      { name: 'a hello of version 0', bad: [`12000000 03 00 0000 ${'01'.repeat(14)}`], decides: 'when whole' },
    ];

    /** Bytes from `first` to `last`, in hex. */
    function range(first: number, last: number): string[] {
      return Array.from({ length: last - first + 1 }, (_, i) => Buffer.of(first + i).toString('hex'));
    }

    function flags(start: string): string[] {
      return ['01', '02', '04', '80', 'ff'].map((value) => `${start} ${value}`);
    }

    /** Valid frames and what is found in them: all of it must have been delivered when the decoder refuses. */
    const good = hex('03000000 00 00 61  02000000 00 00  03000000 01 00 70  02000000 40 00  04000000 00 00 6263');
    const goodFindings: Finding[] = [
      message(Buffer.from('a')),
      message(hex('')),
      ping(Buffer.from('p')),
      { what: 'ignored' },
      message(Buffer.from('bc')),
    ];
    const after = hex('03000000 00 00 7a  02000000 01 00  02000000 00 00');

    for (const { name, before, bad, decides, reason = 'protocol-error', limit } of rejections) {
      const when = decides === 'when whole' ? 'as soon as it is whole' : `at byte ${decides}`;
      it(`refuses ${name} ${when}, with '${reason}'`, () => {
        const front = before === undefined ? good : Buffer.concat([good, before.bytes]);
        const delivered = before === undefined ? goodFindings : [...goodFindings, ...before.findings];
        const code = reason === 'protocol-error' ? 'ERR_REACTOR_PROTOCOL' : 'ERR_REACTOR_FRAME_TOO_LARGE';
        const expected: Finding[] = [...delivered, { what: 'fail', reason, code }];
        for (const bytes of bad.map(hex)) {
          const deciding = decides === 'when whole' ? bytes.length : decides;

          // A byte at a time: not before the byte that decides, and as soon as it is there.
          const { sink, feeder } = makeDecoder(limit);
          for (const byte of inPieces(front, 1)) feeder.push(byte);
          for (const byte of inPieces(bytes.subarray(0, deciding), 1)) {
            if (decides !== 'when whole') expectFindings(sink, delivered);
            if (!sink.failed) feeder.push(byte);
          }
          expectFindings(sink, expected);

          // However it is split, and with whatever behind it.
          const all = Buffer.concat([front, bytes, after]);
          expectFindings(findingsOf([all], limit), expected);
          expectFindings(findingsOf([all.subarray(0, front.length + deciding)], limit), expected);
          for (let split = 1; split < all.length; split++) {
            expectFindings(findingsOf([all.subarray(0, split), all.subarray(split)], limit), expected);
          }
        }
      });
    }

    it('delivers nothing that comes after it has refused', () => {
      for (const first of ['00000000', '02000000 09', 'ffffffff', '03000000 00 01 61', `${HELLO}${HELLO}`]) {
        const sink = new RecordingSink();
        const decoder = makeConnection(sink);
        decoder.decode(hex(first), 0, hex(first).length);
        const findings = sink.findings.length;
        expect(sink.failed).to.equal(true);
        decoder.decode(after, 0, after.length);
        decoder.decode(after, 0, 0);
        expect(sink.findings.length).to.equal(findings);
      }
    });

    it('says in the error what came and what is allowed', () => {
      const errorOf = (bytes: Buffer, limit = LIMIT): string => {
        let text = '';
        const sink = new RecordingSink();
        sink.fail = (_reason, error) => {
          text = error.message;
        };
        makeConnection(sink, limit).decode(bytes, 0, bytes.length);
        return text;
      };
      expect(errorOf(hex('01000000 00 00'))).to.match(/length of 1\b.*\b2\b/);
      expect(errorOf(hex('ffffffff 00 00'), 1000)).to.match(/4294967295 bytes.*\b1000\b/);
      expect(errorOf(hex('02000000 2a 00'))).to.match(/kind 42\b/);
      expect(errorOf(hex('02000000 00 80'))).to.match(/0x80\b/);
      expect(errorOf(hex('03010000 01 00'))).to.match(/\b257 bytes.*\b256\b/);
      expect(errorOf(hex('03000000 03 00 01'))).to.match(/\b1 bytes.*\b16\b/);
    });
  });

  describe('with a stream that is split', () => {
    const long = body(64 * KIB + 100, 3);
    const front = Buffer.concat([
      hex(HELLO),
      hex('03000000 00 00 61  02000000 00 00  02000000 00 00  0a000000 00 00 6161616161616161'),
      hex('04000000 01 00 7069  02000000 01 00  03000000 02 00 70'),
      frame(70, body(40)),
    ]);
    const frontFindings: Finding[] = [
      message(Buffer.from('a')),
      message(hex('')),
      message(hex('')),
      message(Buffer.from('aaaaaaaa')),
      ping(Buffer.from('pi')),
      ping(hex('')),
      { what: 'ignored' },
    ];
    const back = hex('02000000 00 00  02000000 05 00  03000000 00 00 62');
    const backFindings: Finding[] = [message(hex('')), { what: 'ignored' }, message(Buffer.from('b'))];
    const mixed = Buffer.concat([front, frame(0, long), back]);
    const mixedFindings = [...frontFindings, message(long), ...backFindings];

    it('finds what is in it when it comes whole', () => {
      expectFindings(findingsOf([mixed]), mixedFindings);
    });

    it('finds the same wherever it is split in two', () => {
      const sink = new ComparingSink(mixedFindings);
      for (let split = 0; split <= mixed.length; split++) sink.expectAll(mixed, [split]);
    });

    it('finds the same wherever its short frames are split in three', () => {
      const short = Buffer.concat([front, back]);
      const sink = new ComparingSink([...frontFindings, ...backFindings]);
      for (let first = 0; first <= short.length; first++) {
        for (let second = first; second <= short.length; second++) sink.expectAll(short, [first, second]);
      }
    });

    it('finds the same when it comes a byte at a time', () => {
      expectFindings(findingsOf(inPieces(mixed, 1)), mixedFindings);
    });

    it('finds the same at whatever positions it is split', () => {
      fc.assert(
        fc.property(streams, cuts, (specs, positions) => {
          const stream = buildStream(specs);
          const { sink, feeder, decoder } = makeDecoder();
          for (const read of split(stream, positions)) feeder.push(read);
          expectFindings(sink, stream.findings);
          expect(decoder.incomplete()).to.equal(undefined);
          expect(feeder.consumed).to.equal(stream.bytes.length);
        }),
        { numRuns: 150 },
      );
    });
  });

  describe('with a sink that is full', () => {
    /** A sink that refuses the calls with these numbers. */
    function refusing(...calls: number[]): ReturnType<typeof makeDecoder> {
      let call = 0;
      return makeDecoder(LIMIT, () => !calls.includes(call++));
    }

    it('has taken nothing of a run of whole frames', () => {
      const { sink, feeder } = refusing(0);
      feeder.push(hex('03000000 00 00 61  03000000 00 00 62'));
      expect(feeder.isBlocked).to.equal(true);
      expect(feeder.consumed).to.equal(0);
      expectFindings(sink, []);
      feeder.retry();
      expect(feeder.isBlocked).to.equal(false);
      expectFindings(sink, [message(Buffer.from('a')), message(Buffer.from('b'))]);
    });

    it('delivers a frame that was split when it is called again with nothing more', () => {
      const { sink, feeder, decoder } = refusing(0, 1);
      feeder.push(hex('05000000 00 00 61'));
      feeder.push(hex('6263'));
      expect(feeder.isBlocked).to.equal(true);
      feeder.retry();
      expect(feeder.isBlocked).to.equal(true);
      expectFindings(sink, []);
      feeder.retry();
      expect(feeder.isBlocked).to.equal(false);
      expectFindings(sink, [message(Buffer.from('abc'))]);
      expect(decoder.incomplete()).to.equal(undefined);
    });

    it('does not look behind a frame that it could not deliver', () => {
      const { sink, feeder } = refusing(0);
      feeder.push(hex('03000000 00 00'));
      feeder.push(hex('61  02000000 01 00  00000000'));
      expectFindings(sink, []);
      feeder.retry();
      const refused: Finding = { what: 'fail', reason: 'protocol-error', code: 'ERR_REACTOR_PROTOCOL' };
      expectFindings(sink, [message(Buffer.from('a')), ping(hex('')), refused]);
    });

    it('goes on with a long message where it stopped', () => {
      const long = body(100_000);
      const { sink, feeder } = refusing(0, 2, 3);
      for (const read of inPieces(Buffer.concat([frame(0, long), hex('02000000 00 00')]), 40_000)) {
        feeder.push(read);
        feeder.finish();
      }
      expectFindings(sink, [message(long), message(hex(''))]);
    });

    it('goes on with a long message whose header was split when the sink has room for its beginning', () => {
      const long = body(100_000);
      const bytes = Buffer.concat([frame(0, long), hex('02000000 00 00')]);
      for (let split = 1; split <= 7; split++) {
        for (const second of [6, 7, 1000]) {
          const { sink, feeder } = refusing(0);
          feeder.push(bytes.subarray(0, split));
          feeder.push(bytes.subarray(split, Math.max(split, second)));
          feeder.finish();
          feeder.push(bytes.subarray(Math.max(split, second)));
          feeder.finish();
          expectFindings(sink, [message(long), message(hex(''))]);
        }
      }
    });

    it('loses, repeats and reorders nothing, whenever it is full and however the stream is split', () => {
      const rooms = fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }).filter((pattern) => pattern.includes(true));
      fc.assert(
        fc.property(streams, cuts, rooms, fc.boolean(), (specs, positions, pattern, readsOn) => {
          const stream = buildStream(specs);
          let call = 0;
          const { sink, feeder } = makeDecoder(LIMIT, () => pattern[call++ % pattern.length] as boolean);
          for (const read of split(stream, positions)) {
            feeder.push(read);
            // A socket that is paused may have been read once more.
            if (readsOn) feeder.retry();
            else feeder.finish();
          }
          feeder.finish();
          expectFindings(sink, stream.findings);
          expect(feeder.consumed).to.equal(stream.bytes.length);
        }),
        { numRuns: 200 },
      );
    });
  });

  describe('incomplete()', () => {
    it('is undefined before anything came and between frames', () => {
      const { decoder, feeder } = makeDecoder();
      expect(decoder.incomplete()).to.equal(undefined);
      const short = [
        '03000000 00 00 61',
        HELLO,
        '02000000 00 00',
        '02000000 01 00',
        '03000000 02 00 00',
        '03000000 ff 00 00',
      ];
      for (const bytes of [...short.map(hex), frame(0, body(70_000)), frame(90, body(70_000))]) {
        feeder.push(bytes);
        expect(decoder.incomplete()).to.equal(undefined);
      }
    });

    it('says how many bytes came of a frame that is being put together, and nothing once it is whole', () => {
      for (const bytes of [
        hex('05000000 00 00 616263'),
        hex('05000000 01 00 616263'),
        hex('02000000 02 00'),
        hex(HELLO),
      ]) {
        const { decoder, feeder } = makeDecoder();
        for (let count = 1; count < bytes.length; count++) {
          feeder.push(bytes.subarray(count - 1, count));
          expect(decoder.incomplete()).to.match(new RegExp(`\\b${count} bytes`));
        }
        feeder.push(bytes.subarray(-1));
        expect(decoder.incomplete()).to.equal(undefined);
      }
    });

    it('says how many bytes are missing of a long message', () => {
      const { decoder, feeder } = makeDecoder();
      feeder.push(frame(0, body(100_000)).subarray(0, 40_000));
      expect(decoder.incomplete()).to.match(/\b60006 bytes.*missing/);
      feeder.push(body(60_005));
      expect(decoder.incomplete()).to.match(/\b1 bytes.*missing/);
      feeder.push(body(1));
      expect(decoder.incomplete()).to.equal(undefined);
    });

    it('says how many bytes are missing of an ignored frame', () => {
      const { decoder, feeder } = makeDecoder();
      feeder.push(hex('0c000000 ff 00 61'));
      expect(decoder.incomplete()).to.match(/\b9 bytes.*missing/);
      feeder.push(hex('616161616161616161'));
      expect(decoder.incomplete()).to.equal(undefined);
    });

    it('is undefined while a whole frame waits for a sink that is full: nothing is missing', () => {
      const { decoder, feeder } = makeDecoder(LIMIT, () => false);
      feeder.push(hex('03000000 00 00'));
      expect(decoder.incomplete()).to.match(/\b6 bytes/);
      feeder.push(hex('61'));
      expect(feeder.isBlocked).to.equal(true);
      expect(decoder.incomplete()).to.equal(undefined);
    });
  });

  it('keeps what a ping has brought for an answer that has to wait: the read buffer is read into again', () => {
    const waiting: ((output: CodecOutput) => void | Promise<void>)[] = [];
    const sink = new RecordingSink();
    sink.writeOwn = (write) => waiting.push(write) > 0;
    const connection = makeConnection(sink);
    const read = frame(1, Buffer.from('its own'));
    connection.decode(read, 0, read.length);
    read.fill('secrets of another peer ');
    const pieces: Uint8Array[] = [];
    for (const write of waiting) void write({ write: (bytes) => void pieces.push(bytes) });
    expect(Buffer.concat(pieces)).to.deep.equal(frame(2, Buffer.from('its own')));
  });

  describe('memory', () => {
    v8.setFlagsFromString('--expose-gc');
    const collectGarbage = vm.runInNewContext('gc') as () => void;

    const discard: FrameChannel = {
      inflationBudget: new InflationBudget(),
      frames: () => true,
      answers: () => true,
      message: () => true,
      partFirst: () => true,
      part: () => true,
      writeOwn: () => true,
      resume() {},
      ignored() {},
      goodbye: () => true,
      busy: () => true,
      pong() {},
      answersPings: true,
      fail: (_reason, error) => {
        throw error;
      },
    };

    /** Many decoders that are given the same reads, and what they hold, in bytes per decoder. */
    class Decoders {
      readonly #before = Decoders.#arrayBufferBytes();
      readonly #decoders: FrameConnection[];

      constructor(count: number) {
        this.#decoders = Array.from({ length: count }, () => makeConnection(discard));
      }

      static #arrayBufferBytes(): number {
        collectGarbage();
        // The first collection may leave memory to be freed in the background, the second waits for that.
        collectGarbage();
        return process.memoryUsage().arrayBuffers;
      }

      read(bytes: Uint8Array): void {
        for (const decoder of this.#decoders) decoder.decode(bytes, 0, bytes.length);
      }

      get held(): number {
        return (Decoders.#arrayBufferBytes() - this.#before) / this.#decoders.length;
      }

      get areIncomplete(): boolean {
        return this.#decoders.every((decoder) => decoder.incomplete() !== undefined);
      }
    }

    it('is not allocated because a header announces much', () => {
      // The longest frame that is put together, the longest there is, one that is ignored, a ping, a hello.
      for (const header of ['fcff0000 00 00', '00000001 00 00', '00000001 ff 00', '02010000 01 00', '02010000 03 00']) {
        const bytes = hex(`${header} 01`);
        for (const splits of [[7], [3, 7], [1, 2, 3, 4, 5, 6]]) {
          const decoders = new Decoders(250);
          for (const read of cutAt(bytes.subarray(0, splits.at(-1)), splits)) decoders.read(read);
          expect(decoders.held, `${header} in ${splits.length} reads`).to.be.lessThan(KIB);
          expect(decoders.areIncomplete).to.equal(true);
        }
      }
    });

    it('grows with what arrives, to twice as much at most, and is given back with the frame', () => {
      const whole = frame(0, body(64 * KIB - 6));
      const decoders = new Decoders(200);
      for (let have = 0; have < 60_000; ) {
        for (const read of inPieces(whole.subarray(have, have + 10_000), 500)) decoders.read(read);
        have += 10_000;
        expect(decoders.held).to.be.within(0.95 * have, 2 * have + KIB);
      }
      decoders.read(whole.subarray(60_000));
      expect(decoders.held).to.be.lessThan(KIB);
      expect(decoders.areIncomplete).to.equal(false);
    });

    it('holds nothing of a long message or of an ignored frame', () => {
      for (const kind of [0, 200]) {
        const bytes = frame(kind, body(300_000)).subarray(0, -1);
        const decoders = new Decoders(50);
        for (const read of inPieces(bytes, 50_000)) decoders.read(read);
        expect(decoders.held).to.be.lessThan(KIB);
        expect(decoders.areIncomplete).to.equal(true);
      }
    });
  });
});

/** What a codec writes. */
function written(write: (output: CodecOutput) => void | Promise<void>): Buffer {
  const pieces: Uint8Array[] = [];
  void write({ write: (bytes) => void pieces.push(bytes) });
  return Buffer.concat(pieces);
}

/** What a codec writes when a connection is opened. */
function greeting(codec: FrameCodec): Buffer {
  let bytes = Buffer.alloc(0);
  codec.open({
    writeOwn: (write: (output: CodecOutput) => void | Promise<void>) => {
      bytes = Buffer.concat([bytes, written(write)]);
      return true;
    },
  } as unknown as ConnectionChannel);
  return bytes;
}

describe('encode() of codec frame', () => {
  it('puts length, kind and flags in front of the body', () => {
    const connection = makeConnection(new RecordingSink());
    const encoded = (kind: number, content: Buffer): Buffer =>
      written((output) => connection.encode(content, output, kind));
    expect(encoded(2, hex('010203'))).to.deep.equal(hex('05000000 02 00 010203'));
    expect(encoded(0, hex(''))).to.deep.equal(hex('02000000 00 00'));
    expect(encoded(255, body(70_000))).to.deep.equal(Buffer.concat([hex('72110100 ff 00'), body(70_000)]));
  });

  it('has nothing to do as long as the peer does not compress', () => {
    const connection = makeConnection(new RecordingSink());
    expect([connection.passesThrough, connection.sharedEncoding]).to.deep.equal([true, 'plain']);
  });
});

describe('The hello of codec frame', () => {
  it('is a frame of kind 3 with the version and the largest frame that is accepted, little-endian', () => {
    expect(greeting(new FrameCodec(0x01020304))).to.deep.equal(
      hex('12000000 03 00  0100 0000 04030201 00000000 00000000'),
    );
  });

  it('is accepted by the other side', () => {
    expectFindings(findingsOf([greeting(new FrameCodec(LIMIT)), frame(0, hex('61'))]), [message(Buffer.from('a'))]);
  });
});
