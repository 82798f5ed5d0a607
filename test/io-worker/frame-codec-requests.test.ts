import { expect } from 'chai';
import { FrameConnection } from '../../src/io-worker/frame-codec.js';
import { Feeder, RecordingSink } from './frame-codec-fuzz.js';

const LIMIT = 16 * 1024 * 1024;
const KIB = 1024;
const REQUEST = 6;
const RESPONSE = 7;
const FAILED = 8;

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

function frame(kind: number, body: Uint8Array): Buffer {
  const header = Buffer.alloc(6);
  header.writeUInt32LE(2 + body.length, 0);
  header[4] = kind;
  return Buffer.concat([header, body]);
}

/** An id with the lane in its upper 5 bits, and text behind it. */
function withId(lane: number, number: number, text: Uint8Array | string = ''): Buffer {
  const id = Buffer.alloc(4);
  id.writeUInt32LE(lane * 2 ** 27 + number);
  return Buffer.concat([id, Buffer.from(text)]);
}

/** Each call of the channel as text. */
class CallLog extends RecordingSink {
  readonly calls: string[] = [];

  override frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    this.calls.push(`${count} frames in [${start}, ${end})`);
    return super.frames(bytes, start, end, count);
  }

  override answers(bytes: Uint8Array, start: number, end: number, lane: number): boolean {
    this.calls.push(`answers to ${lane} in [${start}, ${end})`);
    return super.answers(bytes, start, end, lane);
  }

  override partFirst(length: number, bytes: Uint8Array, start: number, end: number, kind?: number): boolean {
    this.calls.push(`first ${end - start} of ${length}, kind ${kind}`);
    return super.partFirst(length, bytes, start, end, kind);
  }
}

function make(
  hasRoom?: () => boolean,
  maxFrameBytes = LIMIT,
): { sink: CallLog; codec: FrameConnection; feeder: Feeder } {
  const sink = new CallLog(hasRoom);
  const codec = new FrameConnection(sink, { maxFrameBytes, compression: undefined });
  return { sink, codec, feeder: new Feeder(codec, sink) };
}

/** What came, with bodies as text or their length. */
function found(sink: RecordingSink): string[] {
  return sink.findings.map((finding) => {
    if (!('body' in finding)) return finding.what === 'fail' ? `${finding.reason} ${finding.code}` : finding.what;
    const { what, body } = finding;
    return body.length > 40
      ? `${what} ${body.length}`
      : `${what} ${body.toString('latin1', what === 'message' ? 0 : 4)}`;
  });
}

describe('FrameConnection with requests and answers', () => {
  it('hands requests on in the same run as messages: they go to the same thread', () => {
    const { sink, codec } = make();
    const bytes = Buffer.concat([
      frame(0, Buffer.from('a')),
      frame(REQUEST, withId(3, 1, 'r')),
      frame(REQUEST, withId(31, 2)),
      frame(0, hex('')),
    ]);
    expect(codec.decode(bytes, 0, bytes.length)).to.equal(bytes.length);
    expect(sink.calls).to.deep.equal([`4 frames in [0, ${bytes.length})`]);
    expect(found(sink)).to.deep.equal(['message a', 'request r', 'request ', 'message ']);
  });

  it('hands answers on in runs, each to the lane that is in the ids', () => {
    const { sink, codec } = make();
    const parts = [
      [frame(RESPONSE, withId(0, 1, 'a')), frame(FAILED, withId(0, 2 ** 27 - 1, 'b')), frame(RESPONSE, withId(0, 3))],
      [frame(RESPONSE, withId(1, 0, 'c'))],
      [frame(0, Buffer.from('m')), frame(REQUEST, withId(1, 9, 'q'))],
      [frame(FAILED, withId(31, 2 ** 27 - 1, 'd')), frame(RESPONSE, withId(31, 4, 'e'))],
      [frame(RESPONSE, withId(0, 5, 'f'))],
    ].map((frames) => Buffer.concat(frames));
    const bytes = Buffer.concat(parts);
    const edges = parts.map((_, i) => Buffer.concat(parts.slice(0, i)).length);
    expect(codec.decode(bytes, 0, bytes.length)).to.equal(bytes.length);
    expect(sink.calls).to.deep.equal([
      `answers to 0 in [0, ${edges[1]})`,
      `answers to 1 in [${edges[1]}, ${edges[2]})`,
      `2 frames in [${edges[2]}, ${edges[3]})`,
      `answers to 31 in [${edges[3]}, ${edges[4]})`,
      `answers to 0 in [${edges[4]}, ${bytes.length})`,
    ]);
    expect(found(sink)).to.deep.equal([
      'response a',
      'request-failed b',
      'response ',
      'response c',
      'message m',
      'request q',
      'request-failed d',
      'response e',
      'response f',
    ]);
  });

  it('finds an answer that is split at any byte, or at every one', () => {
    for (const kind of [REQUEST, RESPONSE, FAILED]) {
      const name = kind === REQUEST ? 'request' : kind === RESPONSE ? 'response' : 'request-failed';
      const bytes = Buffer.concat([
        frame(kind, withId(17, 5, 'body')),
        frame(kind, withId(18, 6)),
        frame(0, hex('61')),
      ]);
      const expected = [`${name} body`, `${name} `, 'message a'];
      for (let split = 0; split <= bytes.length; split++) {
        const { sink, feeder } = make();
        feeder.push(bytes.subarray(0, split));
        feeder.push(bytes.subarray(split));
        expect(found(sink), `split at ${split}`).to.deep.equal(expected);
      }
      const { sink, feeder } = make();
      for (const byte of bytes) feeder.push(Uint8Array.of(byte));
      expect(found(sink)).to.deep.equal(expected);
    }
  });

  it('has taken nothing of answers when the channel is full, and delivers those of each lane once', () => {
    const bytes = Buffer.concat([frame(RESPONSE, withId(1, 1, 'a')), frame(RESPONSE, withId(2, 2, 'b'))]);
    for (const refused of [[0], [1], [0, 1, 2], [1, 2]]) {
      let call = 0;
      const { sink, feeder } = make(() => !refused.includes(call++));
      feeder.push(bytes);
      expect(feeder.isBlocked).to.equal(true);
      feeder.finish();
      expect(found(sink)).to.deep.equal(['response a', 'response b']);
    }
  });

  it('has a long answer go on in pieces, of which the first has the whole id', () => {
    const long = withId(9, 1, Buffer.alloc(100_000, 'x'));
    for (const kind of [RESPONSE, FAILED]) {
      const bytes = Buffer.concat([frame(kind, long), frame(0, hex('61'))]);
      for (let split = 0; split <= 14; split++) {
        const { sink, feeder } = make();
        feeder.push(bytes.subarray(0, split));
        expect(sink.begun?.body.length, `split at ${split}`).to.equal(split < 10 ? undefined : split - 6);
        feeder.push(bytes.subarray(split));
        expect(sink.calls[0], `split at ${split}`).to.match(new RegExp(`^first \\d+ of ${long.length}, kind ${kind}$`));
        const [finding, behind] = sink.findings;
        expect(finding !== undefined && 'body' in finding && finding.body.equals(long)).to.equal(true);
        expect(behind?.what).to.equal('message');
      }
      const { sink, feeder } = make();
      for (let at = 0; at < bytes.length; at += at < 20 ? 1 : 7000) {
        feeder.push(bytes.subarray(at, at + (at < 20 ? 1 : 7000)));
      }
      expect(sink.calls[0]).to.equal(`first 4 of ${long.length}, kind ${kind}`);
      expect(sink.findings[0]?.what).to.equal(kind === RESPONSE ? 'response' : 'request-failed');
    }
  });

  it('has a long request go on in pieces from its first byte on', () => {
    const long = withId(9, 1, Buffer.alloc(70_000, 'x'));
    const { sink, feeder } = make();
    const bytes = frame(REQUEST, long);
    feeder.push(bytes.subarray(0, 6));
    feeder.push(bytes.subarray(6, 7));
    expect(sink.begun?.body.length).to.equal(1);
    feeder.push(bytes.subarray(7));
    expect(sink.calls[0]).to.equal(`first 0 of ${long.length}, kind ${REQUEST}`);
    expect(found(sink)).to.deep.equal([`request ${long.length}`]);
  });

  it('goes on with a long answer where a full channel stopped it, wherever its header was split', () => {
    const bytes = Buffer.concat([frame(RESPONSE, withId(4, 1, Buffer.alloc(100_000, 'y'))), frame(0, hex('61'))]);
    for (let split = 0; split <= 12; split++) {
      for (const refused of [[0], [1], [0, 1, 3]]) {
        let call = 0;
        const { sink, feeder } = make(() => !refused.includes(call++));
        for (const [start, end] of [
          [0, split],
          [split, 60_000],
          [60_000, bytes.length],
        ] as const) {
          feeder.push(bytes.subarray(start, end));
          feeder.finish();
        }
        expect(found(sink)).to.deep.equal(['response 100004', 'message a']);
      }
    }
  });

  it('hands on what a long one begins with when it is called again with nothing more', () => {
    for (const [first, second, call] of [
      ['00000200 07 00 0100', '0020', 'first 4 of 131070, kind 7'],
      ['00000200 06', '00', 'first 0 of 131070, kind 6'],
      ['00000200 00', '00', 'first 0 of 131070, kind 0'],
    ] as const) {
      const refused = [0, 1];
      let calls = 0;
      const { sink, codec, feeder } = make(() => !refused.includes(calls++));
      feeder.push(hex(first));
      feeder.push(hex(second));
      expect(sink.calls).to.deep.equal([call]);
      feeder.retry();
      expect(sink.begun).to.equal(undefined);
      expect(codec.incomplete()).to.equal(`only ${hex(first + second).length} bytes of a frame came`);
      feeder.retry();
      expect(feeder.isBlocked).to.equal(false);
      expect(sink.calls).to.deep.equal([call, call, call]);
      expect(sink.begun?.body).to.deep.equal(hex(first + second).subarray(6));
      expect(codec.incomplete()).to.equal(`${131_076 - hex(first + second).length} bytes of a frame are missing`);
    }
  });

  it('puts answers of up to 64 KiB together, and has longer ones go on', () => {
    for (const [length, streams] of [
      [64 * KIB - 6, false],
      [64 * KIB - 5, true],
    ] as const) {
      const { sink, feeder } = make();
      const bytes = frame(RESPONSE, withId(2, 1, Buffer.alloc(length - 4)));
      feeder.push(bytes.subarray(0, 30_000));
      feeder.push(bytes.subarray(30_000));
      expect(sink.calls.some((call) => call.startsWith('first'))).to.equal(streams);
      expect(found(sink)).to.deep.equal([`response ${length}`]);
    }
  });

  it("refuses one that is too short for its id, with 'protocol-error', at the byte that tells", () => {
    for (const kind of [REQUEST, RESPONSE, FAILED]) {
      for (const length of [0, 1, 3]) {
        const bytes = Buffer.concat([frame(0, hex('61')), frame(kind, Buffer.alloc(length)), frame(0, hex('62'))]);
        const expected = ['message a', 'protocol-error ERR_REACTOR_PROTOCOL'];
        for (let split = 0; split <= bytes.length; split++) {
          const { sink, feeder } = make();
          feeder.push(bytes.subarray(0, split));
          if (!sink.failed) feeder.push(bytes.subarray(split));
          expect(found(sink)).to.deep.equal(expected);
        }
        const { sink, feeder } = make();
        feeder.push(bytes.subarray(0, 7 + 5));
        expect(sink.failed).to.equal(false);
        feeder.push(bytes.subarray(12, 13));
        expect(sink.failed).to.equal(true);
      }
      const { sink, feeder } = make();
      feeder.push(frame(kind, Buffer.alloc(4)));
      expect(sink.failed).to.equal(false);
      expect(sink.findings.length).to.equal(1);
    }
  });

  it('refuses one that is over the limit, and takes one that is just at it', () => {
    for (const kind of [REQUEST, RESPONSE, FAILED]) {
      const { sink, feeder } = make(undefined, 256);
      feeder.push(frame(kind, Buffer.alloc(254)));
      expect(sink.findings.length).to.equal(1);
      feeder.push(frame(kind, Buffer.alloc(255)).subarray(0, 4));
      expect(found(sink).at(-1)).to.equal('frame-too-large ERR_REACTOR_FRAME_TOO_LARGE');
    }
  });

  it('says how much is missing of an answer', () => {
    const { codec, feeder } = make();
    const bytes = frame(RESPONSE, withId(4, 1, Buffer.alloc(100_000)));
    feeder.push(bytes.subarray(0, 9));
    expect(codec.incomplete()).to.match(/\b9 bytes/);
    feeder.push(bytes.subarray(9, 10));
    expect(codec.incomplete()).to.match(/\b100000 bytes.*missing/);
    feeder.push(bytes.subarray(10));
    expect(codec.incomplete()).to.equal(undefined);
  });

  it('refuses flags on requests and answers without compression', () => {
    for (const kind of [REQUEST, RESPONSE, FAILED]) {
      for (const flags of [1, 2, 128]) {
        const bytes = frame(kind, withId(1, 1, 'x'));
        bytes[5] = flags;
        const { sink, feeder } = make();
        feeder.push(bytes);
        expect(found(sink)).to.deep.equal(['protocol-error ERR_REACTOR_PROTOCOL']);
      }
    }
  });
});
