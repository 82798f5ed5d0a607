import { expect } from 'chai';
import fc from 'fast-check';
import type { Codec } from '../../src/io-worker/codec.js';
import { decodeFrames } from '../../src/io-worker/decode-frames.js';
import { expectEverySplit, expectFindings, expectFullAtEach, findingsOf } from './codec-checks.js';
import { type Finding, inPieces } from './codec-recorder.js';

/** Decimal length, a colon, and the message: "5:hello". */
function frameLength(bytes: Buffer): number | undefined {
  const colon = bytes.indexOf(':');
  if (colon === -1) {
    if (bytes.length > 6) throw new Error('a colon must come within 7 bytes');
    return undefined;
  }
  return colon + 1 + Number(bytes.toString('latin1', 0, colon));
}

function codec(maxBytes = 200_000): Codec {
  return {
    maxMessageBytes: maxBytes,
    open: (channel) => ({
      ...decodeFrames(channel, { maxBytes, frameLength, message: (frame) => frame.subarray(frame.indexOf(':') + 1) }),
      encode: () => undefined,
    }),
  };
}

const message = (body: Buffer): Finding => ({ what: 'message', body });
const TOO_LARGE: Finding = { what: 'fail', reason: 'frame-too-large', code: 'ERR_REACTOR_FRAME_TOO_LARGE' };

/** A line goes on in the next one if that begins with `sign`. */
function foldedLines(sign: string, maxBytes: number): Codec {
  const frameLength = (bytes: Buffer): number | undefined => {
    for (let at = bytes.indexOf(10) + 1; at > 0; at = bytes.indexOf(10, at) + 1) {
      if (bytes.length < at + sign.length) return undefined;
      if (bytes.toString('latin1', at, at + sign.length) !== sign) return at;
    }
    return undefined;
  };
  return {
    maxMessageBytes: maxBytes,
    open: (channel) => ({ ...decodeFrames(channel, { maxBytes, frameLength }), encode: () => undefined }),
  };
}

/** The same in one, two and three pieces, and byte by byte. */
function expectEveryTwoSplits(codec: Codec, bytes: Buffer, expected: readonly Finding[]): void {
  for (let first = 0; first < bytes.length; first++) {
    for (let second = first; second < bytes.length; second++) {
      const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
      expectFindings(findingsOf(codec, pieces), expected);
    }
  }
  expectFindings(findingsOf(codec, inPieces(bytes, 1)), expected);
}

function stream(lengths: readonly number[]): { bytes: Buffer; expected: Finding[] } {
  const bodies = lengths.map((length, i) => Buffer.alloc(length, 97 + (i % 26)));
  return {
    bytes: Buffer.concat(bodies.flatMap((body) => [Buffer.from(`${body.length}:`), body])),
    expected: bodies.map(message),
  };
}

describe('decodeFrames()', () => {
  it('finds the same messages wherever the bytes are split, and however often the channel is full', () => {
    const { bytes, expected } = stream([0, 1, 5, 0, 130, 12, 1]);
    expectEverySplit(codec(), bytes, expected);
    expectFullAtEach(codec(), bytes, expected);
  });

  it('gives no message for a frame that is none of the application, wherever the bytes are split', () => {
    const beating: Codec = {
      maxMessageBytes: 1000,
      open: (channel) => ({
        ...decodeFrames(channel, {
          maxBytes: 1000,
          frameLength,
          message: (frame) => (frame.length === 2 ? undefined : frame.subarray(frame.indexOf(':') + 1)),
        }),
        encode: () => undefined,
      }),
    };
    const { bytes, expected } = stream([0, 1, 0, 0, 5, 130, 0]);
    const messages = expected.filter((finding) => finding.what === 'message' && finding.body.length > 0);
    expectEverySplit(beating, bytes, messages);
    expectFullAtEach(beating, bytes, messages);
  });

  it('does so for long ones', () => {
    const { bytes, expected } = stream([3, 70_000, 1, 150_000, 2]);
    expectEverySplit(codec(), bytes, expected);
  });

  it('does so where frameLength looks beyond the end of a frame, byte by byte as well', () => {
    const folded = foldedLines('..', 1000);
    const expected = ['ab\n', 'cd\n..more\n', 'ef\n', '\n', 'gh\n'].map((text) => message(Buffer.from(text)));
    const bytes = Buffer.from('ab\ncd\n..more\nef\n\ngh\n  ');
    expectEveryTwoSplits(folded, bytes, expected);
  });

  it('takes a frame of `maxBytes` and none that is longer, however the bytes are split, also where the next byte must be seen', () => {
    const line = fc.stringMatching(/^[a-z]{0,6}(\n [a-z]{0,4})?\n$/);
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), fc.integer({ min: -1, max: 1 }), (lines, more) => {
        const maxBytes = Math.max(...lines.map(({ length }) => length)) + more;
        const tooLong = lines.findIndex(({ length }) => length > maxBytes);
        const expected = (tooLong === -1 ? lines : lines.slice(0, tooLong)).map((text) => message(Buffer.from(text)));
        if (tooLong !== -1) expected.push(TOO_LARGE);
        // What comes behind shows that the last one goes no further.
        const bytes = Buffer.from(`${lines.join('')}z`);
        expectEveryTwoSplits(foldedLines(' ', maxBytes), bytes, expected);
      }),
      { numRuns: 50 },
    );
  });

  it('goes by no more than `maxBytes` and one, however much came at once', () => {
    const bytes = Buffer.from('abc\nd\n  ');
    // Only the second byte behind a line tells that it is over.
    expectEveryTwoSplits(foldedLines('..', 4), bytes, [TOO_LARGE]);
    expectEveryTwoSplits(
      foldedLines('..', 5),
      bytes,
      ['abc\n', 'd\n'].map((text) => message(Buffer.from(text))),
    );
  });

  it('refuses a frame that is too long as soon as its length is known, or when too much has come without one', () => {
    const announced = findingsOf(codec(100), [Buffer.from('99:')]);
    expect(announced.findings).to.have.lengthOf(1);
    expectFindings(announced, [TOO_LARGE]);
    const endless = findingsOf(codec(4), [Buffer.from('1'), Buffer.from('2345')]);
    expectFindings(endless, [TOO_LARGE]);
  });

  it('passes on what frameLength throws, and refuses lengths that are none', () => {
    expect(() => findingsOf(codec(), [Buffer.from('abcdefgh')])).to.throw('a colon must come within 7 bytes');
    expect(() => findingsOf(codec(), [Buffer.from('x:')])).to.throw(RangeError, 'frameLength() returned NaN');
    expect(() => findingsOf(codec(), [Buffer.from('-9:')])).to.throw(RangeError, 'frameLength() returned -6');
  });
});
