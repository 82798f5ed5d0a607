import { expect } from 'chai';
import { LengthFieldCodec } from '../../src/io-worker/length-field-codec.js';
import { type LengthFieldSettings, lengthFieldFault } from '../../src/shared/codec-settings.js';
import {
  encoded,
  expectEverySplit,
  expectFindings,
  expectFullAtEach,
  expectRejection,
  findingsOf,
} from './codec-checks.js';
import { body, Feeder, hex, inPieces, message, RecordingChannel } from './codec-recorder.js';

function settings(given: Partial<LengthFieldSettings>): LengthFieldSettings {
  const all = { offset: 0, bytes: 2, endian: 'big' as const, adjustment: 0, maxFrameBytes: 1024 * 1024, ...given };
  return { strip: all.offset + all.bytes, ...all };
}

function codec(given: Partial<LengthFieldSettings>): LengthFieldCodec {
  expect(lengthFieldFault(settings(given))).to.equal(undefined);
  return new LengthFieldCodec(settings(given));
}

/** The examples of Netty's LengthFieldBasedFrameDecoder: 'HELLO, WORLD' with and without its header. */
const HELLO = '48454c4c4f2c20574f524c44';
const examples: [string, Partial<LengthFieldSettings>, string, string][] = [
  ['a field in front, not stripped', { strip: 0 }, `000c ${HELLO}`, `000c ${HELLO}`],
  ['a field in front, stripped', { strip: 2 }, `000c ${HELLO}`, HELLO],
  ['a field that counts itself', { adjustment: -2, strip: 0 }, `000e ${HELLO}`, `000e ${HELLO}`],
  ['3 bytes behind a header', { offset: 2, bytes: 3, strip: 0 }, `cafe 00000c ${HELLO}`, `cafe 00000c ${HELLO}`],
  [
    '3 bytes in front of a header',
    { bytes: 3, adjustment: 2, strip: 0 },
    `00000c cafe ${HELLO}`,
    `00000c cafe ${HELLO}`,
  ],
  [
    '2 bytes in a header, cut behind the field',
    { offset: 1, adjustment: 1, strip: 3 },
    `ca 000c fe ${HELLO}`,
    `fe ${HELLO}`,
  ],
  ['a field that counts all', { offset: 1, adjustment: -3, strip: 3 }, `ca 0010 fe ${HELLO}`, `fe ${HELLO}`],
  [
    'a header cut off with what is behind the field',
    { offset: 1, adjustment: 1, strip: 4 },
    `ca 000c fe ${HELLO}`,
    HELLO,
  ],
  ['a header cut in front of the field', { offset: 2, strip: 1 }, `cafe 000c ${HELLO}`, `fe 000c ${HELLO}`],
  ['one byte', { bytes: 1 }, `0c ${HELLO}`, HELLO],
  ['8 bytes, little-endian', { bytes: 8, endian: 'little' }, `0c00000000000000 ${HELLO}`, HELLO],
  ['5 bytes, little-endian', { bytes: 5, endian: 'little' }, `0c00000000 ${HELLO}`, HELLO],
];

describe('LengthFieldCodec', () => {
  describe('decoding', () => {
    for (const [name, given, frame, expected] of examples) {
      it(`takes ${name}, at every split`, () => {
        const bytes = Buffer.concat([hex(frame), hex(frame), hex(frame)]);
        const messages = [hex(expected), hex(expected), hex(expected)].map(message);
        expectFindings(findingsOf(codec(given), [bytes]), messages);
        expectEverySplit(codec(given), bytes, messages);
        expectFullAtEach(codec(given), bytes, messages);
      });
    }

    it('hands empty messages on', () => {
      expectEverySplit(codec({}), hex('0000 0001 61 0000'), ['', 'a', ''].map(message));
      // Nothing is left of a frame that is stripped whole.
      expectEverySplit(codec({ strip: 4 }), hex('0002 ffff 0003 ffff 61'), ['', 'a'].map(message));
      expectEverySplit(codec({ strip: 0 }), hex('0000 0000'), [message(hex('0000')), message(hex('0000'))]);
    });

    it('does not copy what lies whole in the bytes it is given', () => {
      const channel = new RecordingChannel();
      const ranges: string[] = [];
      const bytes = hex('ff 0002 6162 0000 0001 63 0009 ffff');
      channel.message = (given, start, end) => {
        expect(given).to.equal(bytes);
        ranges.push(`${start} to ${end}`);
        return true;
      };
      expect(codec({}).open(channel).decode(bytes, 1, bytes.length)).to.equal(bytes.length);
      expect(ranges).to.deep.equal(['3 to 5', '7 to 7', '9 to 10']);
    });

    it('passes messages of more than 64 KiB on in parts, as they arrive', () => {
      for (const strip of [0, 1, 2, 6, 20]) {
        for (const length of [65_530, 65_531, 100_000]) {
          const given = { offset: 2, bytes: 4, strip };
          const one = Buffer.concat([hex('cafe 00000000'), body(length + strip - 6)]);
          one.writeUInt32BE(length + strip - 6, 2);
          const expected = message(one.subarray(strip));
          const short = hex('cafe 00000020 0000000000000000000000000000000000000000000000000000000000000000');
          const bytes = Buffer.concat([one, short, one]);
          const messages = [expected, message(short.subarray(strip)), expected];
          expectEverySplit(codec(given), bytes, messages);
          expectFullAtEach(codec(given), bytes, messages);
          expect(findingsOf(codec(given), [bytes]).streamed).to.equal(length > 65_530 ? 2 : 0);
          expect(findingsOf(codec(given), inPieces(bytes, 5)).streamed).to.equal(length > 65_530 ? 2 : 0);
        }
      }
      const channel = new RecordingChannel();
      const feeder = new Feeder(codec({ bytes: 4 }).open(channel), channel);
      feeder.push(hex('00080000 616263'));
      expect(channel.begun).to.deep.equal({ length: 0x80000, body: Buffer.from('abc') });
    });

    it('says what is missing', () => {
      const cases: [string, Partial<LengthFieldSettings>, string | undefined][] = [
        ['', {}, undefined],
        ['00', {}, 'only 1 bytes of a frame came, its header has 2'],
        ['0003', {}, '3 bytes of a frame are missing'],
        ['0003 61', {}, '2 bytes of a frame are missing'],
        ['0003 61', { strip: 4 }, '2 bytes of a frame are missing'],
        ['0003 61', { strip: 0 }, '2 bytes of a frame are missing'],
        ['00080000 61', { bytes: 4 }, '524287 bytes of a frame are missing'],
        ['0001 61', {}, undefined],
      ];
      for (const [bytes, given, expected] of cases) {
        for (const size of [100, 1]) {
          const channel = new RecordingChannel();
          const connection = codec(given).open(channel);
          for (const piece of inPieces(hex(bytes), size)) connection.decode(piece, 0, piece.length);
          expect(connection.incomplete(), bytes).to.equal(expected);
        }
      }
    });
  });

  describe('with what is not allowed', () => {
    const tooLarge = (length: string, limit: number) => ({
      reason: 'frame-too-large',
      code: 'ERR_REACTOR_FRAME_TOO_LARGE',
      text: `The peer announced a frame of ${length} bytes, maxFrameBytes is ${limit}`,
    });
    const protocol = (text: string) => ({ reason: 'protocol-error', code: 'ERR_REACTOR_PROTOCOL', text });

    it('refuses a frame over the limit when its length has come', () => {
      const limit = codec({ maxFrameBytes: 300 });
      expectFindings(findingsOf(limit, [Buffer.concat([hex('012a'), body(298)])]), [message(body(298))]);
      expectRejection(limit, hex('0001 61 012b 00'), 5, tooLarge('301', 300), [message('a')]);
      const inHeader = codec({ offset: 4, adjustment: 10, maxFrameBytes: 300 });
      expectRejection(inHeader, hex('00000000 011d 00'), 6, tooLarge('301', 300));
    });

    it('refuses every length of 8 bytes that is over the limit, beyond 2^53, too', () => {
      const limit = codec({ bytes: 8, maxFrameBytes: 300 });
      expectRejection(limit, hex('0020000000000000'), 8, tooLarge('9007199254741000', 300));
      expectRejection(limit, hex('ffffffffffffffff'), 8, tooLarge('18446744073709552000', 300));
      expectRejection(limit, hex('0000000100000000'), 8, tooLarge('4294967304', 300));
      const little = codec({ bytes: 8, endian: 'little', adjustment: -8, maxFrameBytes: 300 });
      expectRejection(little, hex('0000000000000080'), 8, tooLarge('9223372036854776000', 300));
    });

    it('refuses a frame that ends inside its header', () => {
      const all = codec({ adjustment: -2 });
      expectRejection(
        all,
        hex('0002 0001 00'),
        4,
        protocol('The peer announced a frame of 1 bytes, its header alone has 2'),
        [message('')],
      );
      expectRejection(all, hex('0000'), 2, protocol('The peer announced a frame of 0 bytes, its header alone has 2'));
      const far = codec({ adjustment: -10 });
      expectRejection(far, hex('0007'), 2, protocol('The peer announced a frame of -1 bytes, its header alone has 2'));
    });

    it('refuses a frame that is shorter than what is stripped', () => {
      expectRejection(
        codec({ strip: 5 }),
        hex('0002 61'),
        2,
        protocol('The peer announced a frame of 4 bytes, 5 are to be stripped'),
      );
    });
  });

  describe('encoding', () => {
    it('puts the header in front if it is stripped', () => {
      expect(encoded(codec({}), ['abc', ''])).to.deep.equal(hex('0003 616263 0000'));
      expect(encoded(codec({ adjustment: -2 }), ['abc'])).to.deep.equal(hex('0005 616263'));
      expect(encoded(codec({ offset: 1, adjustment: 1, strip: 4 }), ['abc'])).to.deep.equal(hex('00 0003 00 616263'));
      expect(encoded(codec({ offset: 1, adjustment: 1, strip: 3 }), ['abc'])).to.deep.equal(hex('00 0002 616263'));
    });

    it('fills the length field in if it is in the message', () => {
      expect(encoded(codec({ strip: 0 }), ['..abc'])).to.deep.equal(hex('0003 616263'));
      expect(encoded(codec({ offset: 2, strip: 1 }), ['x..abc'])).to.deep.equal(hex('00 78 0003 616263'));
      expect(encoded(codec({ offset: 1, strip: 1 }), ['..abc'])).to.deep.equal(hex('00 0003 616263'));
    });

    it('writes fields of 1 to 8 bytes exactly, big-endian and little-endian', () => {
      for (let bytes = 1; bytes <= 8; bytes++) {
        const length = bytes === 1 ? 0xfe : 0x0102;
        const value = bytes === 1 ? 'fe' : '0102'.padStart(2 * bytes, '0');
        expect(encoded(codec({ bytes }), [body(length)]).toString('hex', 0, bytes)).to.equal(value);
        const reversed = Buffer.from(value, 'hex').reverse().toString('hex');
        expect(encoded(codec({ bytes, endian: 'little' }), [body(length)]).toString('hex', 0, bytes)).to.equal(
          reversed,
        );
      }
      // The adjustment makes the value larger than 32 bits, without as many bytes.
      const large = codec({ bytes: 8, adjustment: -0x1f_ffff_ffff_fff0 });
      expect(encoded(large, ['abc']).toString('hex')).to.equal('001ffffffffffff3616263');
      const little = codec({ bytes: 7, endian: 'little', adjustment: -0x12_3456_789a_bc00 });
      expect(encoded(little, ['abc']).toString('hex')).to.equal('03bc9a78563412616263');
      expectFindings(findingsOf(little, [hex('03bc9a78563412616263')]), [message('abc')]);
    });

    it('decodes what it encodes', () => {
      for (const [, given, , expected] of examples) {
        const coded = codec(given);
        const bytes = encoded(coded, [hex(expected), hex(expected)]);
        expectFindings(
          findingsOf(coded, [bytes]),
          [hex(expected), hex(expected)].map((each) => {
            // The front of the frame, when it is not stripped, is the message's own.
            return message(each);
          }),
        );
      }
      const four = codec({ bytes: 4 });
      for (const length of [4091, 4092, 4093, 100_000]) {
        expectFindings(findingsOf(four, [encoded(four, [body(length)])]), [message(body(length))]);
      }
    });

    it('knows the longest message that fits the limit and the field', () => {
      expect(codec({ bytes: 4, maxFrameBytes: 300 }).maxMessageBytes).to.equal(296);
      expect(codec({ bytes: 4, strip: 0, maxFrameBytes: 300 }).maxMessageBytes).to.equal(300);
      expect(codec({ bytes: 1 }).maxMessageBytes).to.equal(255);
      expect(codec({ bytes: 1, adjustment: -1 }).maxMessageBytes).to.equal(254);
      expect(codec({ bytes: 1, adjustment: 10 }).maxMessageBytes).to.equal(265);
      expect(codec({ bytes: 2, strip: 0 }).maxMessageBytes).to.equal(65_537);
      expect(codec({ bytes: 8, maxFrameBytes: 2 ** 29 }).maxMessageBytes).to.equal(2 ** 29 - 8);
      for (const given of [{ bytes: 1 }, { bytes: 1, adjustment: -1 }, { bytes: 1, adjustment: 10 }, { strip: 0 }]) {
        const coded = codec(given);
        const longest = body(coded.maxMessageBytes);
        const bytes = encoded(coded, [longest]);
        expect(findingsOf(coded, [bytes]).findings.length).to.equal(1);
        expect(() => encoded(coded, [body(coded.maxMessageBytes + 1)])).to.throw(RangeError, 'at most');
      }
    });

    it('refuses a message that no frame can be made of', () => {
      const words = "A message of 1 bytes, with these settings of 'length-field' it has";
      expect(() => encoded(codec({ strip: 0 }), ['a'])).to.throw(RangeError, `${words} 2 at least`);
      expect(() => encoded(codec({ offset: 2, strip: 1 }), ['a'])).to.throw(RangeError, `${words} 3 at least`);
      expect(() => encoded(codec({ adjustment: 5 }), ['a'])).to.throw(RangeError, `${words} 5 at least`);
      expect(encoded(codec({ adjustment: 5 }), ['abcde'])).to.deep.equal(hex('0000 6162636465'));
    });

    it('encodes for all connections of a server alike', () => {
      expect(codec({}).open(new RecordingChannel()).sharedEncoding).to.equal('length-field');
    });
  });

  describe('lengthFieldFault', () => {
    it('finds nothing wrong with settings that work', () => {
      for (const [, given] of examples) expect(lengthFieldFault(settings(given))).to.equal(undefined);
      for (let bytes = 1; bytes <= 8; bytes++) expect(lengthFieldFault(settings({ bytes }))).to.equal(undefined);
    });

    it('says what is wrong with the others', () => {
      const faults: [Partial<LengthFieldSettings>, string][] = [
        [
          { offset: 2, bytes: 4, strip: 3 },
          'strip is 3, inside the length field (bytes 2 to 5); allowed are 0 to 2, and 6 and more',
        ],
        [
          { bytes: 2, strip: 1 },
          'strip is 1, inside the length field (bytes 0 to 1); allowed are 0 to 0, and 2 and more',
        ],
        [{ offset: 300, maxFrameBytes: 256 }, 'offset + bytes is 302, more than limits.maxFrameBytes (256)'],
        [
          { bytes: 1, adjustment: -256 },
          'adjustment is -256: with a field of 1 bytes every frame would end inside its header',
        ],
        [{ bytes: 1, strip: 300 }, 'strip is 300, and no frame can be longer than 256 bytes'],
        [{ strip: 300, maxFrameBytes: 256 }, 'strip is 300, and no frame can be longer than 256 bytes'],
        [
          { adjustment: 300, maxFrameBytes: 256 },
          'adjustment is 300: every frame would be longer than limits.maxFrameBytes (256)',
        ],
      ];
      for (const [given, fault] of faults) expect(lengthFieldFault(settings(given))).to.equal(fault);
      expect(lengthFieldFault(settings({ bytes: 1, adjustment: -255 }))).to.equal(undefined);
      expect(lengthFieldFault(settings({ adjustment: 254, maxFrameBytes: 256 }))).to.equal(undefined);
    });
  });
});
