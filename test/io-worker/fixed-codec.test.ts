import { expect } from 'chai';
import { FixedCodec } from '../../src/io-worker/fixed-codec.js';
import { encoded, expectEverySplit, expectFindings, expectFullAtEach, findingsOf } from './codec-checks.js';
import { body, Feeder, hex, message, RecordingChannel } from './codec-recorder.js';

const fixed = (bytes: number): FixedCodec => new FixedCodec({ bytes });

describe('FixedCodec', () => {
  it('cuts the bytes into messages of one length', () => {
    expectFindings(findingsOf(fixed(3), [hex('616263 646566 67')]), [message('abc'), message('def')]);
    expectFindings(findingsOf(fixed(1), [hex('61 62')]), [message('a'), message('b')]);
  });

  it('does not copy what lies whole in the bytes it is given', () => {
    const channel = new RecordingChannel();
    const ranges: string[] = [];
    const bytes = Buffer.from('.abcdefgh');
    channel.message = (given, start, end) => {
      expect(given).to.equal(bytes);
      ranges.push(`${start} to ${end}`);
      return true;
    };
    expect(fixed(3).open(channel).decode(bytes, 1, 9)).to.equal(9);
    expect(ranges).to.deep.equal(['1 to 4', '4 to 7']);
  });

  it('finds the same messages at every split', () => {
    for (const bytes of [1, 2, 7, 100]) {
      const messages = Array.from({ length: 12 }, (_, i) => body(bytes, i));
      expectEverySplit(fixed(bytes), Buffer.concat(messages), messages.map(message));
      expectFullAtEach(fixed(bytes), Buffer.concat(messages), messages.map(message));
    }
  });

  it('passes messages of more than 64 KiB on in parts, as they arrive', () => {
    for (const bytes of [65_530, 65_531, 100_000]) {
      const messages = [body(bytes), body(bytes, 1), body(bytes, 2)];
      expectEverySplit(fixed(bytes), Buffer.concat(messages), messages.map(message));
      const channel = findingsOf(fixed(bytes), [Buffer.concat(messages)]);
      expect(channel.streamed).to.equal(bytes > 65_530 ? 3 : 0);
    }
    const channel = new RecordingChannel();
    const feeder = new Feeder(fixed(100_000).open(channel), channel);
    feeder.push(body(99_999));
    expect(channel.begun?.body.length).to.equal(99_999);
  });

  it('says what is missing', () => {
    for (const bytes of [5, 100_000]) {
      const connection = fixed(bytes).open(new RecordingChannel());
      expect(connection.incomplete()).to.equal(undefined);
      connection.decode(Buffer.from('abcd'), 0, 4);
      expect(connection.incomplete()).to.equal(`only 4 bytes of a message of ${bytes} came`);
    }
  });

  it('keeps a whole message that the channel has no room for', () => {
    let room = false;
    const channel = new RecordingChannel(() => room);
    const connection = fixed(3).open(channel);
    const feeder = new Feeder(connection, channel);
    feeder.push(hex('6162'));
    feeder.push(hex('63'));
    expect(connection.incomplete()).to.equal(undefined);
    expectFindings(channel, []);
    room = true;
    feeder.push(hex('646566'));
    feeder.finish();
    expectFindings(channel, [message('abc'), message('def')]);
  });

  it('writes messages as they are, and refuses those of another length', () => {
    expect(encoded(fixed(3), ['abc', 'def'])).to.deep.equal(Buffer.from('abcdef'));
    expect(() => encoded(fixed(3), ['ab'])).to.throw("A message of 2 bytes, with codec 'fixed' it must have 3");
    expect(() => encoded(fixed(3), ['abcd'])).to.throw("A message of 4 bytes, with codec 'fixed' it must have 3");
    expect(fixed(3).maxMessageBytes).to.equal(3);
    expect(fixed(3).open(new RecordingChannel()).sharedEncoding).to.equal('fixed');
  });
});
