import { expect } from 'chai';
import type { Codec, ConnectionCodec } from '../../src/io-worker/codec.js';
import { Random } from './codec-fuzz.js';
import { Feeder, type Finding, RecordingChannel, RecordingOutput, summary } from './codec-recorder.js';

/** What one read after the other brings. */
export function findingsOf(codec: Codec, reads: Iterable<Uint8Array>): RecordingChannel {
  const channel = new RecordingChannel();
  const connection = codec.open(channel);
  const feeder = new Feeder(connection, channel);
  for (const read of reads) {
    feeder.push(read);
    if (channel.failed) break;
  }
  connection.close?.();
  return channel;
}

export function expectFindings(channel: RecordingChannel, expected: readonly Finding[]): void {
  expect(summary(channel.findings)).to.deep.equal(summary(expected));
}

/** The same messages wherever the bytes are split, and however often the channel is full. */
export function expectEverySplit(codec: Codec, bytes: Buffer, expected: readonly Finding[], seed = 1): void {
  const wanted = summary(expected);
  const expectAll = (cuts: readonly number[], hasRoom?: () => boolean): void => {
    const channel = new RecordingChannel(hasRoom);
    const connection = codec.open(channel);
    const feeder = new Feeder(connection, channel);
    let start = 0;
    for (const end of [...cuts, bytes.length]) {
      if (!channel.failed) feeder.push(bytes.subarray(start, end));
      start = end;
    }
    feeder.finish();
    const where = `Split at ${cuts.slice(0, 20).join(', ')}`;
    expect(summary(channel.findings), where).to.deep.equal(wanted);
    if (!channel.failed) expect(connection.incomplete(), where).to.equal(undefined);
    connection.close?.();
  };
  const refuseEveryOther = (): (() => boolean) => {
    let calls = 0;
    return () => ++calls % 2 === 0;
  };

  const step = bytes.length < 3000 ? 1 : Math.ceil(bytes.length / 60);
  for (let at = 0; at <= bytes.length; at += step) {
    expectAll([at]);
    expectAll([at], refuseEveryOther());
  }
  const random = new Random(seed);
  for (let i = bytes.length < 3000 ? 0 : 80; i < 100; i++) {
    const cuts = random.times(random.integer(1, 40), () => random.integer(0, bytes.length)).sort((a, b) => a - b);
    expectAll(cuts);
    expectAll(cuts, () => random.chance(0.3));
  }
  if (bytes.length < 3000) expectAll(Array.from(bytes.keys()));
}

/** The channel is full at the first, the second, ... message, once. */
export function expectFullAtEach(codec: Codec, bytes: Buffer, expected: readonly Finding[]): void {
  for (let full = 0; full < expected.length; full++) {
    let calls = 0;
    const channel = new RecordingChannel(() => calls++ !== full);
    const connection = codec.open(channel);
    const feeder = new Feeder(connection, channel);
    feeder.push(bytes);
    expect(channel.refusals, `full at message ${full}`).to.equal(1);
    expect(channel.findings.length).to.equal(full);
    feeder.finish();
    expectFindings(channel, expected);
    connection.close?.();
  }
}

/** It is refused when exactly `decides` bytes are there, with these words, whether they come at once or one by one. */
export function expectRejection(
  codec: Codec,
  bytes: Buffer,
  decides: number,
  rejection: { reason: string; code: string; text: string },
  before: readonly Finding[] = [],
): void {
  for (const one of [false, true]) {
    const channel = new RecordingChannel();
    const connection = codec.open(channel);
    const feeder = new Feeder(connection, channel);
    const early = bytes.subarray(0, decides - 1);
    for (const read of one ? Array.from(early, (byte) => Uint8Array.of(byte)) : [early]) feeder.push(read);
    expectFindings(channel, before);
    feeder.push(bytes.subarray(decides - 1, one ? decides : bytes.length));
    const last = channel.findings.at(-1);
    expect(last).to.deep.equal({ what: 'fail', ...rejection });
    expect(channel.findings.length).to.equal(before.length + 1);
    connection.close?.();
  }
}

/** What the codec puts on the wire for these messages. */
export function encoded(codec: Codec, messages: readonly (Uint8Array | string)[]): Buffer {
  const output = new RecordingOutput();
  const connection: ConnectionCodec = codec.open(new RecordingChannel());
  for (const message of messages) expect(connection.encode(Buffer.from(message), output, 0)).to.equal(undefined);
  connection.close?.();
  return output.bytes;
}
