import { expect } from 'chai';
import type { Codec } from '../../src/io-worker/codec.js';
import { decodeFrames } from '../../src/io-worker/decode-frames.js';
import { expectEverySplit, expectFindings, expectFullAtEach, findingsOf } from './codec-checks.js';
import type { Finding } from './codec-recorder.js';

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
    /** A line goes on in the next one if that begins with two dots. */
    const folded: Codec = {
      maxMessageBytes: 1000,
      open: (channel) => ({
        ...decodeFrames(channel, {
          maxBytes: 1000,
          frameLength: (bytes) => {
            for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) {
              if (bytes.length < at + 3) return undefined;
              if (bytes.toString('latin1', at + 1, at + 3) !== '..') return at + 1;
            }
            return undefined;
          },
        }),
        encode: () => undefined,
      }),
    };
    const expected = ['ab\n', 'cd\n..more\n', 'ef\n', '\n', 'gh\n'].map((text) => message(Buffer.from(text)));
    const bytes = Buffer.from('ab\ncd\n..more\nef\n\ngh\n  ');
    expectFindings(findingsOf(folded, [bytes]), expected);
    for (let first = 1; first < bytes.length; first++) {
      for (let second = first; second < bytes.length; second++) {
        const pieces = [bytes.subarray(0, first), bytes.subarray(first, second), bytes.subarray(second)];
        expectFindings(findingsOf(folded, pieces), expected);
      }
    }
    expectFindings(
      findingsOf(
        folded,
        [...bytes].map((byte) => Buffer.of(byte)),
      ),
      expected,
    );
  });

  it('refuses a frame that is too long as soon as its length is known, or when too much has come without one', () => {
    const announced = findingsOf(codec(100), [Buffer.from('99:')]);
    expect(announced.findings).to.have.lengthOf(1);
    expectFindings(announced, [{ what: 'fail', reason: 'frame-too-large', code: 'ERR_REACTOR_FRAME_TOO_LARGE' }]);
    const endless = findingsOf(codec(4), [Buffer.from('1'), Buffer.from('234')]);
    expectFindings(endless, [{ what: 'fail', reason: 'frame-too-large', code: 'ERR_REACTOR_FRAME_TOO_LARGE' }]);
  });

  it('passes on what frameLength throws, and refuses lengths that are none', () => {
    expect(() => findingsOf(codec(), [Buffer.from('abcdefgh')])).to.throw('a colon must come within 7 bytes');
    expect(() => findingsOf(codec(), [Buffer.from('x:')])).to.throw(RangeError, 'frameLength() returned NaN');
    expect(() => findingsOf(codec(), [Buffer.from('-9:')])).to.throw(RangeError, 'frameLength() returned -6');
  });
});
