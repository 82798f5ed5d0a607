import { expect } from 'chai';
import { LineCodec } from '../../src/io-worker/line-codec.js';
import {
  encoded,
  expectEverySplit,
  expectFindings,
  expectFullAtEach,
  expectRejection,
  findingsOf,
} from './codec-checks.js';
import { body, Feeder, hex, inPieces, message, RecordingChannel } from './codec-recorder.js';

function lines(delimiter: string | Uint8Array = '\n', maxBytes = 65_536): LineCodec {
  return new LineCodec({ delimiter: Buffer.from(delimiter), maxBytes });
}

const TOO_LARGE = {
  reason: 'frame-too-large',
  code: 'ERR_REACTOR_FRAME_TOO_LARGE',
  text: "The peer sent a message of more than 3 bytes, which is the codec's maxBytes",
};

describe('LineCodec', () => {
  describe('decoding', () => {
    it('hands on what lies in front of each delimiter', () => {
      expectFindings(findingsOf(lines(), [hex('68656c6c6f 0a 79 6f 0a')]), [message('hello'), message('yo')]);
    });

    it('hands empty messages on, at the front and between delimiters', () => {
      expectFindings(findingsOf(lines(), [hex('0a 0a 61 0a 0a')]), ['', '', 'a', ''].map(message));
    });

    it('does not copy what lies whole in the bytes it is given', () => {
      const channel = new RecordingChannel();
      const ranges: string[] = [];
      const bytes = Buffer.from('xone\ntwo\n\nrest');
      channel.message = (given, start, end) => {
        expect(given).to.equal(bytes);
        ranges.push(`${start} to ${end}`);
        return true;
      };
      const connection = lines().open(channel);
      expect(connection.decode(bytes, 1, bytes.length)).to.equal(bytes.length);
      expect(ranges).to.deep.equal(['1 to 4', '5 to 8', '9 to 9']);
    });

    it('looks at nothing outside of the given range', () => {
      const channel = new RecordingChannel();
      const connection = lines('\r\n').open(channel);
      expect(connection.decode(Buffer.from('\r\nabc\r\n'), 2, 6)).to.equal(6);
      expectFindings(channel, []);
      expect(connection.incomplete()).to.equal('4 bytes came without the delimiter behind them');
    });

    it('takes the first delimiter, also if it overlaps with itself', () => {
      expectFindings(findingsOf(lines('aab'), [Buffer.from('aaab-aabaab')]), ['a', '-', ''].map(message));
      expectFindings(findingsOf(lines('aa'), [Buffer.from('aaaaa')]), ['', ''].map(message));
      expectFindings(findingsOf(lines('aaaaaaaaaaaaaaab'), [Buffer.from(`${'a'.repeat(20)}b`)]), [message('aaaaa')]);
      expectFindings(findingsOf(lines('\r\n\r\n'), [Buffer.from('x\r\n\r\r\n\r\ny\r\n\r\n')]), [
        message('x\r\n\r'),
        message('y'),
      ]);
    });

    it('finds the same messages at every split, whatever the delimiter', () => {
      const cases: [string, string, string[]][] = [
        ['\n', 'hello\n\nworld\nx\n', ['hello', '', 'world', 'x']],
        ['\r\n\r\n', 'a\r\nb\r\n\r\n\r\n\r\n\r\r\n\r\n', ['a\r\nb', '', '\r']],
        ['aab', 'aaabaabbaabaaaaaabab-aab', ['a', '', 'b', 'aaaa', 'ab-']],
        ['abab', 'aababbababab-abab', ['a', 'b', 'ab-']],
        ['aaaaaaaaaaaaaaab', `${'a'.repeat(31)}b${'ab'.repeat(9)}${'a'.repeat(15)}b`, ['a'.repeat(16), 'ab'.repeat(9)]],
        ['\0', `${'long '.repeat(40)}\0\0`, ['long '.repeat(40), '']],
      ];
      for (const [delimiter, text, expected] of cases) {
        expectEverySplit(lines(delimiter), Buffer.from(text), expected.map(message));
        expectFullAtEach(lines(delimiter), Buffer.from(text), expected.map(message));
      }
    });

    it('finds messages of more than 64 KiB, in memory of their own', () => {
      const long = body(65_531).map((byte) => (byte === 10 ? 11 : byte));
      const longer = body(150_000, 5).map((byte) => (byte === 10 ? 11 : byte));
      const bytes = Buffer.concat([long, hex('0a 61 0a'), longer, hex('0a')]);
      const expected = [message(long), message('a'), message(longer)];
      expectEverySplit(lines('\n', 200_000), bytes, expected);
      expectFullAtEach(lines('\n', 200_000), bytes, expected);
    });

    it('takes a time that grows with the bytes when a long message comes byte by byte', () => {
      const looked = (length: number): number => {
        let bytesLooked = 0;
        const channel = new RecordingChannel();
        const connection = lines('aab', length).open(channel);
        const { indexOf } = Buffer.prototype;
        const given = Uint8Array.of(97);
        Buffer.prototype.indexOf = function (this: Buffer, ...args: Parameters<typeof indexOf>) {
          bytesLooked += this.length;
          return indexOf.apply(this, args);
        } as typeof indexOf;
        try {
          for (let i = 0; i < length; i++) connection.decode(given, 0, 1);
        } finally {
          Buffer.prototype.indexOf = indexOf;
        }
        return bytesLooked;
      };
      expect(looked(20_000)).to.be.at.most(20_000 * 6);
    });
  });

  describe('with its limit', () => {
    it('takes messages of maxBytes, and none that is longer', () => {
      expectFindings(findingsOf(lines('\r\n', 3), [Buffer.from('abc\r\n')]), [message('abc')]);
      expectFindings(findingsOf(lines('\r\n', 3), inPieces(Buffer.from('abc\r\n'), 1)), [message('abc')]);
      expectRejection(lines('\n', 3), Buffer.from('ab\nabcd\n'), 7, TOO_LARGE, [message('ab')]);
    });

    it('waits while the bytes beyond it may be a delimiter, and no longer', () => {
      expectRejection(lines('\r\n', 3), Buffer.from('abcd\r\n'), 4, TOO_LARGE);
      expectRejection(lines('\r\n', 3), Buffer.from('abc\rx\r\n'), 5, TOO_LARGE);
      expectRejection(lines('aab', 3), Buffer.from('xxxaaab'), 6, TOO_LARGE);
      expectFindings(findingsOf(lines('aab', 3), inPieces(Buffer.from('xxaaab'), 1)), [message('xxa')]);
      expectRejection(lines('aab', 3), Buffer.from('xxxac'), 5, TOO_LARGE);
    });

    it('fails behind messages that the channel has not taken, and not before', () => {
      let room = false;
      const channel = new RecordingChannel(() => room);
      const feeder = new Feeder(lines('\n', 3).open(channel), channel);
      feeder.push(Buffer.from('ab\nabcdefg'));
      expect(channel.failed).to.equal(false);
      room = true;
      feeder.finish();
      expectFindings(channel, [message('ab'), { what: 'fail', reason: 'frame-too-large', code: TOO_LARGE.code }]);
    });

    it('says how many bytes lack a delimiter', () => {
      const channel = new RecordingChannel();
      const connection = lines('\r\n').open(channel);
      expect(connection.incomplete()).to.equal(undefined);
      connection.decode(Buffer.from('abc\r'), 0, 4);
      expect(connection.incomplete()).to.equal('4 bytes came without the delimiter behind them');
      connection.decode(Buffer.from('\n'), 0, 1);
      expect(connection.incomplete()).to.equal(undefined);
    });
  });

  describe('encoding', () => {
    it('puts the delimiter behind each message', () => {
      expect(encoded(lines(), ['hello', '', 'yo'])).to.deep.equal(hex('68656c6c6f 0a 0a 79 6f 0a'));
      expect(encoded(lines('\r\n'), ['x'])).to.deep.equal(hex('78 0d0a'));
      expect(lines('\n', 77).maxMessageBytes).to.equal(77);
    });

    it('encodes what it decodes, also long messages', () => {
      const messages = ['', 'a', 'b'.repeat(4095), 'c'.repeat(4096), 'd'.repeat(4097), 'e'.repeat(100_000)];
      const codec = lines('\r\n', 200_000);
      expectFindings(findingsOf(codec, [encoded(codec, messages)]), messages.map(message));
    });

    it('encodes for all connections of a server alike', () => {
      expect(lines().open(new RecordingChannel()).sharedEncoding).to.equal('line');
    });
  });
});
