import { expect } from 'chai';
import { compressSync, uncompressSync } from 'lz4-napi';
import type { ConnectionOptions, TcpConnection } from '../../src/index.js';
import { closed, Log, next, until } from '../fixtures/events.js';
import { type Frame, frame, framesOf } from '../fixtures/raw-peer.js';
import { HOST, type Pair, pattern, readModes, type Scene, scene } from '../fixtures/scene.js';

const KIB = 1024;
const MIB = 1024 * 1024;

/** A hello of version 1 that offers LZ4, with the id of a dictionary. */
function hello(capabilities = 1, dictionaryId = 0): Buffer {
  const body = Buffer.from([1, 0, capabilities, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  body.writeUInt32LE(dictionaryId, 12);
  return frame(body, 3);
}

/** Text that LZ4 makes a tenth of, and that looks like no other. */
function prose(length: number, seed = 0): Buffer {
  return Buffer.alloc(length, pattern(97, seed).toString('hex'));
}

/** Both sides have read the other's hello, which is in front of its first message. */
async function greeted({ near, far }: Pair): Promise<void> {
  const both = Promise.all([next(near, 'message'), next(far, 'message')]);
  near.send('hi');
  far.send('hi');
  await both;
}

/** What it costs on the wire to get a message across. */
async function cost(from: TcpConnection, to: TcpConnection, message: Buffer): Promise<number> {
  const before = from.bytesSent;
  const received = next<[Buffer]>(to, 'message');
  from.send(message);
  const [data] = await received;
  expect(data.equals(message), 'it arrived as it was').to.equal(true);
  return from.bytesSent - before;
}

/** Messages of all sizes, most of them short, some compressible and some not. */
function mixture(count: number): Buffer[] {
  const lengths = [0, 10, 2000, 30, 300_000, 5, 70_000, 1_500_000, 64 * KIB, 64 * KIB + 1, 1, 1024];
  return Array.from({ length: count }, (_, i) => {
    const length = lengths[i % lengths.length] as number;
    return i % 5 === 4 ? pattern(length, i) : prose(length, i);
  });
}

function expectSame(received: readonly Buffer[], sent: readonly Buffer[]): void {
  expect(received.length).to.equal(sent.length);
  for (const [i, message] of sent.entries()) {
    expect(received[i]?.equals(message), `message ${i} of ${message.length} bytes`).to.equal(true);
  }
}

for (const { name, options } of readModes) {
  describe(`compression, ${name}`, () => {
    const stage = scene(options);

    it('is used if both sides offer it, towards both', async () => {
      for (const compression of [true, {}, { thresholdBytes: 10 }] as const) {
        const pair = await stage.pair({ both: { compression } });
        await greeted(pair);
        expect(await cost(pair.near, pair.far, prose(10_000))).to.be.lessThan(2000);
        expect(await cost(pair.far, pair.near, prose(10_000))).to.be.lessThan(2000);
      }
    });

    it('is not used if one side does not', async () => {
      for (const [server, client] of [
        [true, false],
        [false, true],
        [true, undefined],
        [false, false],
      ] as const) {
        const pair = await stage.pair({
          server: { compression: server },
          client: client === undefined ? {} : { compression: client },
        });
        await greeted(pair);
        expect(await cost(pair.near, pair.far, prose(10_000))).to.equal(10_006);
        expect(await cost(pair.far, pair.near, prose(10_000))).to.equal(10_006);
      }
    });

    it('needs the same dictionary on both sides, and makes short messages shorter with it', async () => {
      const words = Buffer.from('{"type":"position","vessel":"Nautilus","latitude":"","longitude":"","speed":""}');
      const same = Uint8Array.from(words);
      const message = Buffer.from('{"type":"position","vessel":"Nautilus","latitude":"1","longitude":"2","speed":"3"}');
      const pair = await stage.pair({
        server: { compression: { dictionary: words, thresholdBytes: 0 } },
        client: { compression: { dictionary: same, thresholdBytes: 0 } },
      });
      await greeted(pair);
      expect(await cost(pair.near, pair.far, message)).to.be.lessThan(70);
      expect(await cost(pair.far, pair.near, message)).to.be.lessThan(70);
      for (const [server, client] of [
        [words, Buffer.from('other words')],
        [words, undefined],
        [undefined, words],
      ] as const) {
        const of = (dictionary: Buffer | undefined): ConnectionOptions => ({
          compression: { thresholdBytes: 0, ...(dictionary !== undefined && { dictionary }) },
        });
        const different = await stage.pair({ server: of(server), client: of(client) });
        await greeted(different);
        expect(await cost(different.near, different.far, prose(10_000))).to.equal(10_006);
        expect(await cost(different.far, different.near, prose(10_000))).to.equal(10_006);
      }
    });

    it('leaves messages below the threshold as they are, which is 1,024 bytes by default', async () => {
      for (const [compression, threshold] of [
        [true, 1024],
        [{ thresholdBytes: 5000 }, 5000],
      ] as const) {
        const pair = await stage.pair({ client: { compression }, server: { compression: true } });
        await greeted(pair);
        expect(await cost(pair.near, pair.far, prose(threshold - 1))).to.equal(threshold + 5);
        expect(await cost(pair.near, pair.far, prose(threshold))).to.be.lessThan(threshold);
      }
    });

    it('leaves what would not become shorter as it is, whatever its length', async () => {
      const pair = await stage.pair({ both: { compression: { thresholdBytes: 0 } } });
      await greeted(pair);
      for (const length of [0, 1, 20, 5000, 64 * KIB, 64 * KIB + 1, 3 * MIB]) {
        expect(await cost(pair.near, pair.far, pattern(length)), `${length}`).to.equal(length + 6);
      }
    });

    it('gets messages of any length across, at the limits of what is done where', async () => {
      const pair = await stage.pair({ both: { compression: { thresholdBytes: 0 } } });
      await greeted(pair);
      for (const around of [0, 1024, 64 * KIB - 10, 64 * KIB - 5, 64 * KIB, 256 * KIB, 16 * MIB - 3]) {
        for (const length of [around, around + 1]) {
          const bytes = await cost(pair.near, pair.far, prose(length, length));
          if (length > 10_000) expect(bytes, `${length}`).to.be.lessThan(length / 5);
          await cost(pair.far, pair.near, prose(length, length));
        }
      }
    });

    it('serves a peer that says no hello, or does not offer it, uncompressed; what it sends compressed is understood', async () => {
      for (const greeting of [Buffer.alloc(0), hello(0), hello(1, 99)]) {
        const { connection, peer } = await stage.accepted({ compression: true });
        const frames = framesOf(peer);
        const message = next<[Buffer]>(connection, 'message');
        peer.write(Buffer.concat([greeting, frame(compressSync(prose(5000)), 0, 1)]));
        const [data] = await message;
        expect(data.equals(prose(5000))).to.equal(true);
        connection.send(prose(100_000));
        const [first, second] = await frames.reaches(2);
        expect(first?.kind).to.equal(3);
        expect(first?.body.readUInt16LE(2)).to.equal(1);
        expect([second?.kind, second?.flags, second?.body.length]).to.deep.equal([0, 0, 100_000]);
      }
    });

    it('sends a peer that offers it frames with the flag, in whose front is the length of the message', async () => {
      const { connection, peer } = await stage.accepted({ compression: true });
      const frames = framesOf(peer);
      peer.write(Buffer.concat([hello(), frame('x')]));
      await next(connection, 'message');
      connection.send('short');
      connection.send(prose(5000));
      connection.send(prose(100_000));
      connection.send(pattern(5000));
      const all = (await frames.reaches(5)).slice(1);
      expect(all.map(({ flags }) => flags)).to.deep.equal([0, 1, 1, 0]);
      expect(all[1]?.body.readUInt32LE()).to.equal(5000);
      expect(uncompressSync(all[1]?.body as Buffer).equals(prose(5000))).to.equal(true);
      expect(uncompressSync(all[2]?.body as Buffer).equals(prose(100_000))).to.equal(true);
    });

    it('compresses requests and answers, and gives them to who they are for', async () => {
      const pair = await stage.pair({ both: { compression: true } });
      await greeted(pair);
      pair.far.on('request', (data, reply) => void reply(Buffer.concat([data, data])));
      const before = pair.far.bytesSent;
      for (const length of [10, 5000, 100_000, MIB]) {
        const answer = await pair.near.request(prose(length));
        expect(answer.equals(Buffer.concat([prose(length), prose(length)])), `${length}`).to.equal(true);
      }
      expect(pair.near.bytesSent).to.be.lessThan(MIB / 4);
      expect(pair.far.bytesSent - before).to.be.lessThan(MIB / 2);
      pair.far.removeAllListeners('request');
      pair.far.on('request', (_data, reply) => void reply.fail('n'.repeat(5000)));
      const failure = await pair.near.request('x').catch((error: Error) => error.message);
      expect(failure).to.include('n'.repeat(5000));
    });

    it('keeps the order of short and huge messages, both ways at once', async () => {
      const pair = await stage.pair({ both: { compression: true, highWaterMark: 32 * MIB } });
      const messages = mixture(60);
      const logs = [pair.near, pair.far].map((connection) => {
        const log = new Log<Buffer>();
        connection.on('message', (data) => log.add(data));
        return log;
      });
      // From before the first hello on.
      for (const message of messages) {
        pair.near.send(message);
        pair.far.send(message);
      }
      for (const log of logs) expectSame(await log.reaches(messages.length), messages);
      await Promise.all([pair.near.flush(), pair.far.flush()]);
      expect([pair.near.bufferedAmount, pair.far.bufferedAmount]).to.deep.equal([0, 0]);
    });

    it('keeps the order also to one that takes its time', async () => {
      const pair = await stage.pair({ both: { compression: true, highWaterMark: 32 * MIB } });
      await greeted(pair);
      const messages = mixture(40);
      for (const message of messages) pair.near.send(message);
      pair.near.shutdown();
      const received: Buffer[] = [];
      for await (const data of pair.far) {
        received.push(Buffer.from(data));
        if (received.length % 4 === 0) await stage.settle();
      }
      expectSame(received, messages);
    });

    for (const [what, end] of [
      ['shutdown()', (pair: Pair) => pair.far.shutdown()],
      ['server.close()', (pair: Pair) => void pair.server.close()],
    ] as const) {
      it(`sends what is still being compressed before ${what}`, async () => {
        const pair = await stage.pair({ both: { compression: true, highWaterMark: 32 * MIB } });
        await greeted(pair);
        const received = new Log<Buffer>();
        pair.near.on('message', (data) => received.add(data));
        const ends = [closed(pair.near), closed(pair.far)];
        const messages = [prose(16 * MIB - 2), Buffer.from('short'), prose(3 * MIB, 1), Buffer.from('last')];
        for (const message of messages) pair.far.send(message);
        end(pair);
        for (const { detail } of await Promise.all(ends)) {
          expect(detail).to.include({ unsentBytes: 0, unreadMessages: 0 });
        }
        expectSame(received.entries, messages);
      });
    }

    it('has flush() wait for what is still being compressed', async () => {
      const { connection, peer } = await stage.accepted({ compression: true, highWaterMark: 32 * MIB });
      peer.write(Buffer.concat([hello(), frame('x')]));
      await next(connection, 'message');
      const frames = framesOf(peer);
      connection.send(prose(16 * MIB - 2));
      await connection.flush();
      expect(connection.bufferedAmount).to.equal(0);
      connection.send('behind');
      const sent = connection.bytesSent;
      expect(sent).to.be.within(10_000, 4 * MIB);
      const all = await frames.reaches(3);
      expect(uncompressSync(all[1]?.body as Buffer).length).to.equal(16 * MIB - 2);
      expect(all[2]?.body.toString()).to.equal('behind');
    });

    it('answers false above the high-water mark, and then drains: what counts is what waits', async () => {
      const pair = await stage.pair({ both: { compression: true, highWaterMark: MIB } });
      await greeted(pair);
      let drains = 0;
      pair.near.on('drain', () => drains++);
      pair.far.resume();
      for (let round = 0; round < 5; round++) {
        let sent = 0;
        const drained = next(pair.near, 'drain');
        while (pair.near.send(prose(300_000))) sent++;
        expect(sent).to.be.at.least(1);
        await drained;
      }
      await pair.near.flush();
      expect([drains, pair.near.bufferedAmount]).to.deep.equal([5, 0]);
    });

    it('tells in unsentBytes what is not compressed yet when destroy() comes, and leaves nothing behind', async () => {
      const { connection, peer } = await stage.accepted({ compression: true, highWaterMark: 32 * MIB });
      peer.write(Buffer.concat([hello(), frame('x')]));
      await next(connection, 'message');
      await connection.flush();
      const before = connection.bytesSent;
      // Nothing of it becomes shorter: what was charged for is what would have been sent.
      const total = 20 * (MIB + 6);
      for (let i = 0; i < 20; i++) connection.send(pattern(MIB, i));
      await until(() => connection.bytesSent > before);
      const end = closed(connection);
      connection.destroy();
      const { detail } = await end;
      await peer.count().gone;
      expect(detail.unsentBytes).to.be.greaterThan(MIB);
      expect(peer.received + detail.unsentBytes).to.equal(total + before);
      expect(connection.bufferedAmount).to.equal(0);
      expect(stage.reactor.stats().commandQueueBytes).to.equal(0);
    });

    it('can be destroyed at any moment while it compresses and decompresses', async () => {
      for (let round = 0; round < 15; round++) {
        const pair = await stage.pair({ both: { compression: true, highWaterMark: 32 * MIB } });
        const ends = [closed(pair.near), closed(pair.far)];
        for (const connection of [pair.near, pair.far]) connection.resume();
        for (let i = 0; i < 10; i++) {
          pair.near.send(prose(500_000, i));
          pair.far.send(prose(500_000, i));
        }
        await until(() => pair.far.messagesReceived >= round % 10);
        pair.near.destroy();
        await Promise.all(ends);
      }
      await stage.settle();
    });

    it('compresses a broadcast for who offers it, and leaves it as it is for who does not', async () => {
      const server = await stage.listen({ compression: true });
      const connections = new Log<TcpConnection>();
      server.on('connection', (connection) => connections.add(connection));
      const heard = new Log<string>();
      server.on('message', (_connection, data) => heard.add(data.toString()));
      const logs: Log<Frame>[] = [];
      for (const greeting of [hello(), Buffer.alloc(0), hello(), hello(0)]) {
        const peer = await stage.connectRaw(server.address.port);
        logs.push(framesOf(peer));
        peer.write(Buffer.concat([greeting, frame('x')]));
      }
      await heard.reaches(4);
      for (const message of [prose(5000), prose(500_000), Buffer.from('short')]) server.broadcast(message);
      const got = await Promise.all(logs.map(async (log) => (await log.reaches(4)).slice(1, 4)));
      for (const [i, flags] of [
        [0, [1, 1, 0]],
        [1, [0, 0, 0]],
        [2, [1, 1, 0]],
        [3, [0, 0, 0]],
      ] as const) {
        expect(got[i]?.map((each) => each.flags)).to.deep.equal(flags);
      }
      for (const [position, length] of [5000, 500_000].entries()) {
        const block = got[0]?.[position]?.body as Buffer;
        expect(uncompressSync(block).equals(prose(length))).to.equal(true);
        expect(got[2]?.[position]?.body.equals(block), 'the same bytes').to.equal(true);
        expect(got[1]?.[position]?.body.equals(prose(length))).to.equal(true);
      }
      for (const connection of connections.entries) await connection.flush();
      expect(connections.entries.map(({ bufferedAmount }) => bufferedAmount)).to.deep.equal([0, 0, 0, 0]);
    });

    it('keeps broadcasts in order with what is sent to one connection', async () => {
      const pair = await stage.pair({ both: { compression: true, highWaterMark: 32 * MIB } });
      await greeted(pair);
      const received = new Log<Buffer>();
      pair.near.on('message', (data) => received.add(data));
      const messages = mixture(40);
      for (const [i, message] of messages.entries()) {
        if (i % 2 === 0) pair.far.send(message);
        else pair.server.broadcast(message);
      }
      expectSame(await received.reaches(messages.length), messages);
      await pair.far.flush();
      expect(pair.far.bufferedAmount).to.equal(0);
    });

    describe('against a peer that means ill', () => {
      const huge = compressSync(Buffer.alloc(16 * MIB));
      const withSize = (block: Buffer, size: number): Buffer => {
        const copy = Buffer.from(block);
        copy.writeUInt32LE(size);
        return copy;
      };
      const bombs: Record<string, Buffer> = {
        'announces 4 GiB': withSize(Buffer.alloc(1000), 2 ** 32 - 1),
        'announces 1,000 bytes for each of its own': withSize(Buffer.alloc(15_000, 0xff), 15_000_000),
        'would become longer than maxFrameBytes': huge,
        'is broken in its middle': withSize(huge.subarray(0, 30_000), 15 * 250 * KIB),
        'is noise': withSize(pattern(100_000), 8 * MIB),
      };

      async function sendBomb(of: Scene, bomb: Buffer): Promise<void> {
        const { connection, peer } = await of.accepted({ compression: true });
        const end = closed(connection);
        peer.write(Buffer.concat([hello(), frame(bomb, 0, 1)]));
        const { reason, detail } = await end;
        expect(reason).to.equal('decompression-failed');
        expect((detail.error as { code?: string } | undefined)?.code).to.equal('ERR_REACTOR_DECOMPRESSION');
        await peer.read().gone;
      }

      for (const [which, bomb] of Object.entries(bombs)) {
        it(`closes its connection with 'decompression-failed' for a block that ${which}`, async () => {
          await sendBomb(stage, bomb);
        });
      }

      it('takes no memory for it', async () => {
        const flat = Object.entries(bombs).filter(([which]) => /announces|longer/.test(which));
        for (const [, bomb] of flat) await sendBomb(stage, bomb);
        const before = process.memoryUsage().rss;
        for (let i = 0; i < 30; i++) for (const [, bomb] of flat) await sendBomb(stage, bomb);
        const grown = process.memoryUsage().rss - before;
        expect(grown, `${Math.round(grown / MIB)} MiB`).to.be.lessThan(60 * MIB);
      });

      it('does not stop serving others meanwhile', async () => {
        const pair = await stage.pair({ both: { compression: true } });
        await greeted(pair);
        const bombed = Promise.all(Object.values(bombs).map((bomb) => sendBomb(stage, bomb)));
        for (let i = 0; i < 20; i++) await cost(pair.near, pair.far, prose(70_000, i));
        await bombed;
      });
    });
  });
}

describe('compression', () => {
  const stage = scene();

  it('is an option of reactor.connect(), too', async () => {
    const server = await stage.listen({ compression: true });
    const far = next<[TcpConnection]>(server, 'connection');
    const near = await stage.reactor.connect({ host: HOST, port: server.address.port, compression: true });
    const [accepted] = await far;
    const heard = next(near, 'message');
    accepted.send('hi');
    await heard;
    expect(await cost(near, accepted, prose(10_000))).to.be.lessThan(2000);
    const end = closed(near);
    near.destroy();
    await end;
  });

  it('works with messages that are borrowed, kept for an iteration, and paused', async () => {
    const pair = await stage.pair({ both: { compression: true, messages: 'borrow', highWaterMark: 32 * MIB } });
    const messages = mixture(30);
    pair.far.pause();
    for (const message of messages) pair.near.send(message);
    await stage.settle();
    pair.far.resume();
    const received: Buffer[] = [];
    pair.near.shutdown();
    for await (const data of pair.far) received.push(data);
    expectSame(received, messages);
  });
});
