import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import v8 from 'node:v8';
import vm from 'node:vm';
import zlib from 'node:zlib';
import { expect } from 'chai';
import { SimpleReactorCodec } from '../../src/io-worker/simple-reactor-codec.js';
import { heartbeatText } from '../../src/io-worker/simple-reactor-heartbeat.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import type { SimpleReactorSettings } from '../../src/shared/codec-settings.js';
import { expectEverySplit, expectFindings, expectFullAtEach, expectRejection, findingsOf } from './codec-checks.js';
import { payload, Random, referenceSimpleReactor, simpleReactorFrames } from './codec-fuzz.js';
import {
  body,
  Feeder,
  type Finding,
  hex,
  inPieces,
  message,
  RecordingChannel,
  RecordingOutput,
  summary,
} from './codec-recorder.js';

const FIXTURES = new URL('../../../test/fixtures/simple-reactor-wire/', import.meta.url);
const KIB = 1024;
const MIB = 1024 * 1024;

interface Fixture {
  readonly compress: boolean;
  readonly bytes: Buffer;
  readonly messages: readonly { readonly type: number; readonly data: Buffer }[];
}

function fixture(name: string): Fixture {
  const { compress, messages } = JSON.parse(readFileSync(new URL(`${name}.json`, FIXTURES), 'utf8')) as {
    compress: boolean;
    messages: { type: number; body_base64: string }[];
  };
  return {
    compress,
    bytes: readFileSync(new URL(`${name}.bin`, FIXTURES)),
    messages: messages.map(({ type, body_base64 }) => ({ type, data: Buffer.from(body_base64, 'base64') })),
  };
}

function codec(settings: Partial<SimpleReactorSettings> = {}): SimpleReactorCodec {
  return new SimpleReactorCodec(
    { compress: true, heartbeatMs: 60_000, maxFrameBytes: 16 * MIB, ...settings },
    new TimingWheel(),
  );
}

function frame(content: Uint8Array, length = content.length): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(length);
  return Buffer.concat([head, content]);
}

/** A stretch of a zlib stream that stands for itself, ended by a sync flush. */
function deflated(bytes: Uint8Array, first = true): Buffer {
  const stretch = zlib.deflateRawSync(bytes, { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  return first ? Buffer.concat([hex('789c'), stretch]) : stretch;
}

interface Run {
  readonly role?: 'server' | 'client';
  readonly hasRoom?: () => boolean;
}

/** What one read after the other brings to a connection, when all that works for it is done. */
async function decodeAll(
  coded: SimpleReactorCodec,
  reads: Iterable<Uint8Array>,
  run: Run = {},
): Promise<RecordingChannel> {
  const channel = new RecordingChannel(run.hasRoom, run.role);
  const connection = coded.open(channel);
  const feeder = new Feeder(connection, channel, true);
  for (const read of reads) {
    if (channel.failed) break;
    feeder.push(read);
    await feeder.settle();
  }
  if (!channel.failed) expect(connection.incomplete()).to.equal(undefined);
  connection.close?.();
  channel.closed = true;
  return channel;
}

async function encodeAll(coded: SimpleReactorCodec, messages: readonly Uint8Array[]): Promise<Buffer[]> {
  const connection = coded.open(new RecordingChannel());
  const frames: Buffer[] = [];
  for (const each of messages) {
    const output = new RecordingOutput();
    await connection.encode(Buffer.from(each), output, 0);
    frames.push(output.bytes);
  }
  connection.close?.();
  return frames;
}

function bodies(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += 4 + bytes.readUInt32LE(at)) {
    found.push(bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at)));
  }
  return found;
}

function inflateAll(bytes: Buffer): Buffer {
  return zlib.inflateSync(Buffer.concat(bodies(bytes)), { finishFlush: zlib.constants.Z_SYNC_FLUSH });
}

const tooLarge = (length: number, limit: number) => ({
  reason: 'frame-too-large',
  code: 'ERR_REACTOR_FRAME_TOO_LARGE',
  text: `The peer announced a message of ${length} bytes, maxFrameBytes is ${limit}`,
});
const tooShort = (length: number) => ({
  reason: 'protocol-error',
  code: 'ERR_REACTOR_PROTOCOL',
  text: `The peer sent a payload of ${length} bytes, the least is 4`,
});
const corrupt = (text: string) => ({
  reason: 'decompression-failed',
  code: 'ERR_REACTOR_DECOMPRESSION',
  text: `The peer sent a message that cannot be decompressed: ${text}`,
});

describe('SimpleReactorCodec', () => {
  describe('with what the Python original has sent', () => {
    for (const name of ['app-plain', 'app-zlib', 'mixed-zlib']) {
      it(`decodes ${name}.bin to the messages of its .json, at every split`, async () => {
        const { compress, bytes, messages } = fixture(name);
        const expected = messages.filter(({ type }) => type === 1).map(({ data }) => message(data));
        expect(expected.length).to.be.greaterThan(2);
        const wanted = summary(expected);
        for (let at = 0; at <= bytes.length; at++) {
          const channel = await decodeAll(codec({ compress }), [bytes.subarray(0, at), bytes.subarray(at)]);
          expect(summary(channel.findings), `Split at ${at}`).to.deep.equal(wanted);
        }
        expectFindings(await decodeAll(codec({ compress }), inPieces(bytes, 1)), expected);
        const random = new Random(7);
        for (let i = 0; i < 50; i++) {
          const hasRoom = (): boolean => random.chance(0.4);
          const channel = await decodeAll(codec({ compress }), inPieces(bytes, random.integer(2, 50)), { hasRoom });
          expectFindings(channel, expected);
        }
      });
    }

    it('decodes both directions of a live connection', async () => {
      const hello = ['hello world', 'hello again'].map(message);
      const toServer = readFileSync(new URL('live-client-to-server.bin', FIXTURES));
      const toClient = readFileSync(new URL('live-server-to-client.bin', FIXTURES));
      for (const size of [1, 7, 1000]) {
        expectFindings(await decodeAll(codec(), inPieces(toServer, size), { role: 'server' }), hello);
        expectFindings(await decodeAll(codec(), inPieces(toClient, size), { role: 'client' }), hello);
      }
    });

    it('agrees with the reference of the fuzz test on it', () => {
      for (const name of ['app-plain', 'app-zlib', 'mixed-zlib']) {
        const { compress, bytes, messages } = fixture(name);
        const { findings } = referenceSimpleReactor(bytes, compress, MIB);
        const expected = messages.filter(({ type }) => type === 1).map(({ data }) => message(data));
        expect(summary(findings)).to.deep.equal(summary(expected));
      }
    });

    it('encodes the same messages so that one inflate stream reads the same payloads', async () => {
      const { messages } = fixture('app-zlib');
      const data = messages.map((each) => each.data);
      const frames = await encodeAll(codec(), data);
      expect(inflateAll(Buffer.concat(frames))).to.deep.equal(Buffer.concat(data.map((each) => payload(1, each))));
      // Each message is there when its frame is, and not only with the next one.
      for (let count = 1; count <= frames.length; count++) {
        const expected = Buffer.concat(data.slice(0, count).map((each) => payload(1, each)));
        expect(inflateAll(Buffer.concat(frames.slice(0, count)))).to.deep.equal(expected);
      }
      const plain = fixture('app-plain');
      const encoded = await encodeAll(
        codec({ compress: false }),
        plain.messages.map((each) => each.data),
      );
      expect(Buffer.concat(encoded)).to.deep.equal(plain.bytes);
    });

    it("encodes so that Python's zlib reads it", async function () {
      const script = `
import struct, sys, zlib
wire, out, stream = sys.stdin.buffer.read(), [], zlib.decompressobj()
while wire:
    length, = struct.unpack('<I', wire[:4])
    payload = stream.decompress(wire[4:4 + length])
    out.append(struct.pack('<I', len(payload)) + payload)
    wire = wire[4 + length:]
sys.stdout.buffer.write(b''.join(out))`;
      const data = [body(11), Buffer.from('x'), body(100_000), Buffer.alloc(200_000, 'ab'), body(3)];
      const input = Buffer.concat(await encodeAll(codec(), data));
      let output: Buffer;
      try {
        output = execFileSync('python3', ['-c', script], { input, maxBuffer: MIB });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.skip();
        throw error;
      }
      expect(output.equals(Buffer.concat(data.map((each) => frame(payload(1, each)))))).to.equal(true);
    });
  });

  describe('without compression', () => {
    const plain = codec({ compress: false, maxFrameBytes: 200_000 });

    it('takes data, passes over heartbeats, and counts what it does not know', () => {
      const bytes = hex(`06000000 01000000 6869  04000000 02000000  06000000 02000000 6869
                         04000000 03000000  05000000 00000000 61  04000000 01000000  05000000 01000000 61`);
      const expected: Finding[] = [message('hi'), { what: 'ignored' }, { what: 'ignored' }, message(''), message('a')];
      expectEverySplit(plain, bytes, expected);
    });

    it('passes messages of more than 64 KiB on in parts', () => {
      const data = [body(65_530), body(65_531), body(9), body(150_000)];
      const bytes = Buffer.concat([...data.map((each) => frame(payload(1, each))), frame(payload(9, body(100_000)))]);
      expectEverySplit(plain, bytes, [...data.map(message), { what: 'ignored' }]);
      expectFullAtEach(plain, bytes.subarray(0, -100_008), data.map(message));
      expect(findingsOf(plain, [bytes]).streamed).to.equal(2);
    });

    it('refuses lengths when they have come', () => {
      expectRejection(plain, hex('00000000'), 4, tooShort(0));
      expectRejection(plain, hex('05000000 01000000 61 03000000 01'), 13, tooShort(3), [message('a')]);
      expectRejection(plain, hex('410d0300 01'), 4, tooLarge(200_001, 200_000));
      expectRejection(plain, hex('ffffffff 01'), 4, tooLarge(2 ** 32 - 1, 200_000));
      const { text, ...rest } = tooLarge(0x20544547, 200_000);
      expectRejection(plain, Buffer.from('GET /'), 4, {
        ...rest,
        text: text.replace(' bytes,', ' bytes ("GET " as text),'),
      });
      const longest = frame(payload(1, body(200_000 - 4)));
      expectFindings(findingsOf(plain, [longest]), [message(body(200_000 - 4))]);
      expect(plain.maxMessageBytes).to.equal(200_000 - 4);
    });

    it('says what is missing', () => {
      const cases: [string, string | undefined][] = [
        ['', undefined],
        ['040000', 'only 3 bytes of a message came'],
        ['06000000 0100', 'only 6 bytes of a message came'],
        ['06000000 01000000 61', '1 bytes of a message are missing'],
        ['06000000 02000000 61', '1 bytes of a message are missing'],
        ['06000000 01000000 6161', undefined],
      ];
      for (const [bytes, expected] of cases) {
        const connection = plain.open(new RecordingChannel());
        connection.decode(hex(bytes), 0, hex(bytes).length);
        expect(connection.incomplete(), bytes).to.equal(expected);
        connection.close?.();
      }
    });

    it('encodes at once, and for all connections of a server alike', () => {
      const connection = plain.open(new RecordingChannel());
      const output = new RecordingOutput();
      for (const each of ['hi', '', 'x'.repeat(5000)]) {
        expect(connection.encode(Buffer.from(each), output, 0)).to.equal(undefined);
      }
      const expected = [frame(payload(1, 'hi')), frame(payload(1, 'x'.repeat(5000)))];
      expect(output.bytes.equals(Buffer.concat(expected))).to.equal(true);
      expect(connection.sharedEncoding).to.equal('simple-reactor');
      connection.close?.();
    });
  });

  describe('with compression', () => {
    it('decodes what it encodes, from empty to the longest messages', async () => {
      const limited = codec({ maxFrameBytes: 500_000 });
      const longest = noise(limited.maxMessageBytes);
      const data = [
        body(1),
        body(65_530),
        body(65_531),
        Buffer.alloc(300_000),
        longest,
        body(5),
        longest,
        body(70_000),
      ];
      const frames = await encodeAll(limited, [Buffer.alloc(0), ...data]);
      expect(frames[0]?.length).to.equal(0);
      const bytes = Buffer.concat(frames);
      for (const size of [bytes.length, 65_536, 1000]) {
        const channel = await decodeAll(limited, inPieces(bytes, size));
        expectFindings(channel, data.map(message));
        expect(channel.streamed).to.equal(5);
      }
      let calls = 0;
      const hasRoom = (): boolean => ++calls % 3 === 0;
      expectFindings(await decodeAll(limited, inPieces(bytes, 65_536), { hasRoom }), data.map(message));
    });

    it('takes data, passes over heartbeats, and counts what it does not know', async () => {
      const payloads = [payload(1, 'hi'), payload(2, 'x'), payload(3, ''), payload(0, body(99_999)), payload(1, '')];
      const bytes = Buffer.concat(simpleReactorFrames(payloads, true));
      for (const size of [bytes.length, 1]) {
        const channel = await decodeAll(codec(), inPieces(bytes, size));
        expectFindings(channel, [message('hi'), { what: 'ignored' }, { what: 'ignored' }, message('')]);
      }
    });

    it('encodes for each connection by itself', () => {
      const connection = codec().open(new RecordingChannel());
      expect(connection.sharedEncoding).to.equal(undefined);
      connection.close?.();
    });

    it('does not count a message as decoded before it has gone on', async () => {
      const [bytes] = await encodeAll(codec(), [Buffer.from('hello')]);
      const channel = new RecordingChannel();
      const connection = codec().open(channel);
      const length = bytes?.length ?? 0;
      const resumed = new Promise<void>((resolve) => (channel.onResume = resolve));
      expect(connection.decode(bytes ?? hex(''), 0, length)).to.equal(length - 1);
      expect(connection.decode(bytes ?? hex(''), length - 1, length)).to.equal(length - 1);
      await resumed;
      expectFindings(channel, []);
      expect(connection.decode(bytes ?? hex(''), length - 1, length)).to.equal(length);
      expectFindings(channel, [message('hello')]);
      connection.close?.();
    });

    async function expectFailure(
      bytes: Buffer,
      rejection: object,
      before: readonly Finding[] = [],
      maxFrameBytes = MIB,
    ): Promise<void> {
      for (const size of [bytes.length, 1000, 1]) {
        if (bytes.length / size > 5000) continue;
        const channel = await decodeAll(codec({ maxFrameBytes }), inPieces(bytes, size));
        expect(channel.findings.at(-1)).to.deep.equal({ what: 'fail', ...rejection });
        expectFindings(channel, [...before, ...channel.findings.slice(-1)]);
      }
    }

    it('refuses lengths when they have come', () => {
      expectRejection(codec(), hex('00000000'), 4, tooShort(0));
      expectRejection(codec({ maxFrameBytes: 300 }), hex('2d010000 78'), 4, tooLarge(301, 300));
    });

    it('refuses a payload without a type', async () => {
      await expectFailure(frame(deflated(hex('010000'))), tooShort(3));
      await expectFailure(frame(hex('789c 000000ffff')), tooShort(0));
    });

    it('refuses what is no zlib stream, behind messages that are', async () => {
      await expectFailure(frame(hex('1234 0000ffff')), corrupt('incorrect header check'));
      const good = frame(deflated(payload(1, 'good')));
      await expectFailure(Buffer.concat([good, frame(hex('ffff 0000ffff'))]), corrupt('invalid block type'), [
        message('good'),
      ]);
      // A stream that begins anew, a dictionary that nobody has.
      await expectFailure(Buffer.concat([good, good]), corrupt('invalid stored block lengths'), [message('good')]);
      await expectFailure(frame(hex('78bb 12345678 0000ffff')), corrupt('Missing dictionary'));
    });

    it('refuses a message that does not end with a sync flush', async () => {
      const unflushed = corrupt('it does not end with a sync flush');
      const whole = zlib.deflateSync(payload(1, 'hello'));
      await expectFailure(frame(whole), unflushed);
      await expectFailure(frame(deflated(payload(1, 'hello')).subarray(0, -1)), unflushed);
      await expectFailure(frame(hex('ffff')), unflushed);
    });

    it('refuses what is behind the end of the zlib stream', async () => {
      const behind = corrupt('there are bytes behind the end of the zlib stream');
      const ended = zlib.deflateSync(payload(1, 'hello'));
      await expectFailure(frame(Buffer.concat([ended, hex('000000ffff')])), behind);
      // The end lies exactly between two pieces that go to zlib one after the other.
      const stored = zlib.deflateRawSync(body(65_500), { level: 0 });
      const stream = zlib.deflateSync(body(65_536 - (stored.length - 65_500) - 6), { level: 0 });
      expect(stream.length).to.equal(65_536);
      await expectFailure(frame(Buffer.concat([stream, Buffer.alloc(10), hex('000000ffff')])), behind);
    });

    it('refuses a message that inflates to more than the limit, and takes one that just fits', async () => {
      const fits = frame(deflated(payload(1, Buffer.alloc(100_000 - 4))));
      expectFindings(await decodeAll(codec({ maxFrameBytes: 100_000 }), [fits]), [message(Buffer.alloc(100_000 - 4))]);
      const over = frame(deflated(payload(1, Buffer.alloc(100_001 - 4))));
      await expectFailure(over, corrupt('it is longer than 100000 bytes'), [], 100_000);
    });

    it('stops at the limit when one message is a GiB of zeros, and takes no more memory for it', async () => {
      v8.setFlagsFromString('--expose-gc');
      const collect = vm.runInNewContext('gc') as () => void;
      const limit = 2 * MIB;
      // It is still there at the end, or its memory would be counted against what the codec takes.
      const megabyte = Buffer.alloc(MIB);
      const stretch = deflated(megabyte, false);
      const zeros = Buffer.concat([deflated(payload(1, '')), ...Array.from({ length: 1024 }, () => stretch)]);
      expect(zeros.length).to.be.within(MIB, limit);
      const bomb = frame(zeros);
      const channel = new RecordingChannel();
      const connection = codec({ maxFrameBytes: limit }).open(channel);
      const memory = (): number => process.memoryUsage().external;
      // What earlier tests have left is freed bit by bit.
      let before = Number.POSITIVE_INFINITY;
      for (let now = memory(); now < before; now = memory()) {
        before = now;
        collect();
        await new Promise((resolve) => setImmediate(resolve));
        collect();
      }
      let most = 0;
      let position = 0;
      while (!channel.failed) {
        const resumed = new Promise<void>((resolve) => (channel.onResume = resolve));
        const until = Math.min(bomb.length, position + 64 * KIB);
        position = connection.decode(bomb, position, until);
        if (position === until) continue;
        // As long as a piece is at work: how much memory there is.
        let working = !channel.failed;
        void resumed.then(() => (working = false));
        while (working) {
          most = Math.max(most, memory() - before);
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
      expect(channel.findings.at(-1)).to.deep.equal({ what: 'fail', ...corrupt(`it is longer than ${limit} bytes`) });
      // It is looked at between the pieces of work, so the very peak may be missed.
      expect(most).to.be.within(limit / 2, limit + 400 * KIB);
      expect(megabyte.length).to.equal(MIB);
      expect(position).to.be.at.most(128 * KIB + 4);
      connection.close?.();
    });

    it('calls nobody and settles what is being encoded when it is closed at work', async () => {
      const [bytes] = await encodeAll(codec(), [body(100_000)]);
      const channel = new RecordingChannel();
      const connection = codec().open(channel);
      const output = new RecordingOutput();
      connection.decode(bytes ?? hex(''), 0, bytes?.length ?? 0);
      const encoding = connection.encode(body(300_000), output, 0);
      connection.close?.();
      channel.closed = true;
      await encoding;
      await connection.encode(Buffer.from('more'), output, 0);
      // Others who do as much are done by now, and so would this one be.
      expectFindings(await decodeAll(codec(), [bytes ?? hex('')]), [message(body(100_000))]);
      await encodeAll(codec(), [body(300_000)]);
      expectFindings(channel, []);
      expect(output.chunks).to.deep.equal([]);
    });
  });

  describe('heartbeats', () => {
    const addresses = {
      encrypted: false,
      localAddress: '127.0.0.1',
      localPort: 8080,
      remoteAddress: '127.0.0.1',
      remotePort: 50_000,
      remoteFamily: 'IPv4' as const,
    };

    /** When a client that hears nothing gives up. */
    function silence(heartbeatMs: number): Promise<void> {
      const channel = new RecordingChannel(() => true, 'client');
      return new Promise((resolve) => {
        channel.onFail = resolve;
        codec({ heartbeatMs }).open(channel);
      });
    }

    it("say what the original's say", () => {
      const { messages } = fixture('mixed-zlib');
      const original = messages.find(({ type }) => type === 2)?.data.toString();
      expect(heartbeatText(addresses, 1_700_000_000_000)).to.equal(original);
      expect(heartbeatText({ ...addresses, localAddress: '::1' }, 1_700_000_000_123)).to.equal(
        "('::1', 8080)#('127.0.0.1', 50000)#1700000000.123",
      );
    });

    for (const compress of [true, false]) {
      it(`come from a server each interval, ${compress ? 'compressed' : 'plain'}`, async () => {
        const channel = new RecordingChannel();
        const started = Date.now();
        const connection = codec({ compress, heartbeatMs: 10 }).open(channel);
        await new Promise<void>((resolve) => {
          let beats = 0;
          channel.onOwn = () => {
            if (++beats === 3) resolve();
          };
        });
        connection.close?.();
        channel.closed = true;
        const wire = channel.own.bytes;
        const payloads = compress ? inflateAll(wire) : Buffer.concat(bodies(wire));
        const texts = payloads.toString('latin1').split('\x02\0\0\0').slice(1);
        expect(texts.length).to.equal(3);
        for (const text of texts) {
          const [src, dst, time] = text.split('#');
          expect([src, dst]).to.deep.equal(["('127.0.0.1', 8080)", "('127.0.0.1', 50000)"]);
          expect(Number(time) * 1000).to.be.within(started, Date.now());
        }
        // They are life and nothing else to a client.
        expectFindings(await decodeAll(codec({ compress }), [wire], { role: 'client' }), []);
      });
    }

    it('are not missed by a client whose peer has ended its side', async () => {
      const channel = new RecordingChannel(() => true, 'client');
      let failed = false;
      channel.onFail = () => {
        failed = true;
      };
      codec({ heartbeatMs: 5 }).open(channel).peerEnded?.();
      // Another one, made later, has given up.
      await silence(10);
      expect(failed).to.equal(false);
    });

    it('are left out while too much of them waits', async () => {
      const channel = new RecordingChannel();
      channel.refusesOwn = true;
      const connection = codec({ heartbeatMs: 10 }).open(channel);
      await silence(10);
      expect(channel.own.chunks).to.deep.equal([]);
      connection.close?.();
    });

    it('are missed by a client after two intervals', async () => {
      const channel = new RecordingChannel(() => true, 'client');
      const started = performance.now();
      const connection = codec({ heartbeatMs: 20 }).open(channel);
      await new Promise<void>((resolve) => (channel.onFail = resolve));
      expect(performance.now() - started).to.be.at.least(40);
      expect(channel.findings).to.deep.equal([
        {
          what: 'fail',
          reason: 'heartbeat-timeout',
          code: 'ERR_REACTOR_HEARTBEAT_TIMEOUT',
          text: 'Nothing came for 2 intervals of 20 ms',
        },
      ]);
      expect(channel.own.chunks).to.deep.equal([]);
      connection.close?.();
    });

    it('may be any bytes', async () => {
      const channel = new RecordingChannel(() => true, 'client');
      const connection = codec({ heartbeatMs: 500 }).open(channel);
      // A length word of more than a message is never whole: a byte now and then, longer than it would wait for the first.
      const bytes = frame(deflated(payload(1, body(500))));
      const started = performance.now();
      for (let at = 0; performance.now() - started < 1200; at++) {
        connection.decode(bytes, at, at + 1);
        await silence(20);
      }
      expect(channel.failed).to.equal(false);
      const last = performance.now();
      await new Promise<void>((resolve) => (channel.onFail = resolve));
      expect(performance.now() - last).to.be.at.least(900);
      connection.close?.();
    });

    it('are not missed while what has come waits for the application', async () => {
      const bytes = frame(payload(1, 'hi'));
      // What is whole in one read is left where it is; what has come in two is decoded, and waits in the codec.
      for (const first of [bytes.length, 5]) {
        let room = false;
        const channel = new RecordingChannel(() => room, 'client');
        const feeder = new Feeder(codec({ compress: false, heartbeatMs: 20 }).open(channel), channel);
        feeder.push(bytes.subarray(0, first));
        feeder.push(bytes.subarray(first));
        expect(channel.refusals).to.equal(1);
        await silence(30);
        await silence(30);
        expect(channel.failed).to.equal(false);
        room = true;
        feeder.finish();
        await new Promise<void>((resolve) => (channel.onFail = resolve));
        expect(channel.findings.length).to.equal(2);
      }
    });

    it('end with the connection, on both sides', async () => {
      for (const role of ['server', 'client'] as const) {
        const channel = new RecordingChannel(() => true, role);
        const connection = codec({ heartbeatMs: 5 }).open(channel);
        connection.close?.();
        channel.closed = true;
        await silence(20);
        expectFindings(channel, []);
        expect(channel.own.chunks).to.deep.equal([]);
      }
    });
  });
});

function noise(length: number): Buffer {
  const random = new Random(3);
  return Buffer.from(Array.from({ length }, () => random.integer(0, 255)));
}
