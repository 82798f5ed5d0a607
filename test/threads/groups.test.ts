import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { ConnectionOptions, GroupSendOptions, Reactor, ReactorError, TcpConnection } from '../../src/index.js';
import { closed, Log, next, nextConnection, texts, until } from '../fixtures/events.js';
import type { GroupDeed } from '../fixtures/group-thread.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, pattern, props, scene } from '../fixtures/scene.js';

const MIB = 1024 * 1024;

for (const ioWorkers of [1, 2]) {
  describe(`group() with ${ioWorkers === 1 ? 'one io worker' : 'two io workers'}`, () => {
    const stage = scene({ ioWorkers });
    const own = props();

    /** So many peers of a server, in the order of its connections. */
    async function start(
      count: number,
      options: ConnectionOptions = {},
    ): Promise<{ peers: RawPeer[]; connections: TcpConnection[] }> {
      const server = await stage.listen(options);
      const open = new Log<TcpConnection>();
      server.on('connection', (connection) => open.add(connection));
      const peers: RawPeer[] = [];
      for (let i = 1; i <= count; i++) {
        peers.push(await stage.connectRaw(server.address.port));
        await open.reaches(i);
      }
      return { peers, connections: open.entries };
    }

    async function thread(): Promise<{ do: (deed: GroupDeed) => Promise<unknown>; exited: Promise<unknown> }> {
      const worker = new Worker(new URL('../fixtures/group-thread.js', import.meta.url), {
        workerData: stage.reactor.handle,
      });
      own.defer(() => worker.terminate());
      await next(worker, 'message');
      return {
        do: (deed) => {
          const done = next(worker, deed.what === 'exit' ? 'exit' : 'message');
          worker.postMessage(deed);
          return done;
        },
        exited: next(worker, 'exit'),
      };
    }

    it('sends to those who have joined, until they leave', async () => {
      const { peers, connections } = await start(4);
      const [a, b, c, d] = connections as [TcpConnection, TcpConnection, TcpConnection, TcpConnection];
      const room = stage.reactor.group('room');
      expect(room.name).to.equal('room');
      room.join(a);
      room.join(b);
      room.join(c.id);
      room.join(c);
      expect(room.send('1')).to.equal(true);
      stage.reactor.group('room').leave(b);
      room.leave(d);
      room.send(Buffer.from('2'));
      room.leave(c.id);
      room.join(d);
      room.send('3');
      stage.reactor.group('other').send('nobody');
      for (const connection of connections) connection.send('end');
      const expected = [
        ['1', '2', '3', 'end'],
        ['1', 'end'],
        ['1', '2', 'end'],
        ['3', 'end'],
      ];
      for (const [index, peer] of peers.entries()) {
        const texts = expected[index] as string[];
        expect(await peer.read().texts.reaches(texts.length)).to.deep.equal(texts);
      }
    });

    it('is in order with what the thread sends otherwise', async () => {
      const { peers, connections } = await start(2);
      const [connection] = connections as [TcpConnection];
      const room = stage.reactor.group('ordered');
      room.join(connection);
      for (let i = 0; i < 500; i++) {
        connection.send(`s${i}`);
        room.send(`g${i}`);
      }
      const got = await (peers[0] as RawPeer).read().texts.reaches(1000);
      expect(got).to.deep.equal(Array.from({ length: 1000 }, (_, i) => `${i % 2 === 0 ? 's' : 'g'}${i >> 1}`));
    });

    it('leaves out connections and ids', async () => {
      const { peers, connections } = await start(3);
      const [a, b] = connections as [TcpConnection, TcpConnection];
      const room = stage.reactor.group('except');
      for (const connection of connections) room.join(connection);
      room.send('1', { except: a });
      room.send('2', { except: [a.id, b] });
      room.send('3', { except: new Set([b.id]) });
      room.send('4', { except: b.id });
      room.send('5', { except: [] });
      const expected = [
        ['3', '4', '5'],
        ['1', '5'],
        ['1', '2', '3', '4', '5'],
      ];
      for (const [index, peer] of peers.entries()) {
        const texts = expected[index] as string[];
        expect(await peer.read().texts.reaches(texts.length)).to.deep.equal(texts);
      }
    });

    it('is the same in all threads, and goes on when one of them ends', async () => {
      const { peers, connections } = await start(2);
      const [a, b] = connections as [TcpConnection, TcpConnection];
      const [one, other] = await Promise.all([thread(), thread()]);
      const many = Array.from({ length: 200 }, (_, i) => `${i}`);
      await one.do({ what: 'join', group: 'shared', connection: a.id });
      await other.do({ what: 'join', group: 'shared', connection: b.id });
      // Two threads are in no order with each other: each of them says that it has joined.
      await one.do({ what: 'send', group: 'shared', texts: ['a'], except: [b.id] });
      await other.do({ what: 'send', group: 'shared', texts: ['b'], except: [a.id] });
      for (const peer of peers) await peer.read().texts.reaches(1);
      await one.do({ what: 'send', group: 'shared', texts: many });
      for (const peer of peers) expect((await peer.texts.reaches(201)).slice(1)).to.deep.equal(many);
      await one.do({ what: 'exit', group: 'any' });
      stage.reactor.group('shared').send('still');
      for (const peer of peers) expect((await peer.texts.reaches(202))[201]).to.equal('still');
      await other.do({ what: 'leave', group: 'shared', connection: a.id });
      await other.do({ what: 'send', group: 'shared', texts: ['only b'] });
      expect((await (peers[1] as RawPeer).texts.reaches(203))[202]).to.equal('only b');
      a.send('end');
      expect((await (peers[0] as RawPeer).texts.reaches(203))[202]).to.equal('end');
    });

    it('encodes a message once on each io worker for all members that encode alike, of several servers and clients', async () => {
      const compression = { compression: { thresholdBytes: 64 } };
      const plain = await start(6);
      const compressed = await Promise.all(Array.from({ length: 4 }, () => stage.pair({ both: compression })));
      const room = stage.reactor.group('once');
      const got: Log<string>[] = [];
      for (const connection of plain.connections) room.join(connection);
      for (const { near, far } of compressed) {
        room.join(near);
        room.join(far);
        got.push(texts(near), texts(far));
        // Compression begins when both sides have said hello.
        near.send('there');
        far.send('back');
      }
      for (const log of got) await log.reaches(1);
      const before = stage.reactor.stats().broadcastEncodings;
      const message = 'all the same '.repeat(100);
      room.send(message);
      for (const peer of plain.peers) expect(await peer.read().texts.reaches(1)).to.deep.equal([message]);
      for (const log of got) expect((await log.reaches(2))[1]).to.equal(message);
      const encodings = stage.reactor.stats().broadcastEncodings - before;
      // Their ids tell the io workers apart: clients' connections are spread over all.
      expect(new Set(compressed.map(({ near }) => near.id % 64)).size).to.equal(ioWorkers);
      // Without and with compression.
      expect(encodings).to.be.within(2, 2 * ioWorkers);
    });

    it('carries messages that are longer than a record', async () => {
      const options: ConnectionOptions = { codec: 'raw', overflow: 'close' };
      const { peers, connections } = await start(3, options);
      const room = stage.reactor.group('long');
      for (const connection of connections) room.join(connection);
      const long = pattern(3 * MIB);
      room.send(long);
      room.send('end');
      for (const peer of peers) {
        const pieces: Buffer[] = [];
        let bytes = 0;
        peer.socket.on('data', (piece: Buffer) => {
          pieces.push(piece);
          bytes += piece.length;
        });
        await until(() => bytes >= long.length + 3);
        expect(Buffer.concat(pieces).equals(Buffer.concat([long, Buffer.from('end')]))).to.equal(true);
      }
    });

    it('answers false when 16 MiB wait in this thread already', async () => {
      const { connections } = await start(1);
      const room = stage.reactor.group('full');
      room.join(connections[0] as TcpConnection);
      const long = pattern(4 * MIB);
      let sent = 0;
      while (room.send(long)) expect(++sent).to.be.below(100);
      expect(sent).to.be.at.least(3);
      (connections[0] as TcpConnection).destroy();
      await until(() => stage.reactor.stats().commandQueueBytes === 0);
      expect(room.send('again')).to.equal(true);
    });

    it('closes or skips members that do not read, and memory holds the message once for the others', async () => {
      const deaf = await start(8, { overflow: 'close', highWaterMark: MIB / 2 });
      const skipped = await start(8, { overflow: 'drop', highWaterMark: MIB / 2 });
      const reading = await start(4, { highWaterMark: 4 * MIB });
      const room = stage.reactor.group('slow');
      for (const { connections } of [deaf, skipped, reading]) for (const one of connections) room.join(one);
      const gone = Promise.all(deaf.connections.map(closed));
      for (const peer of reading.peers) peer.count();
      const chunk = pattern(512 * 1024);
      const before = process.memoryUsage.rss();
      const rounds = 36;
      for (let round = 1; round <= rounds; round++) {
        expect(room.send(chunk)).to.equal(true);
        for (const peer of reading.peers) await until(() => peer.received >= round * (chunk.length + 6));
      }
      // Each of the 16 may have 8 MiB to send: a copy each would be 128 MiB.
      expect((process.memoryUsage.rss() - before) / MIB).to.be.below(90);
      expect((await gone).map(({ reason }) => reason)).to.deep.equal(Array.from({ length: 8 }, () => 'backpressure'));
      for (const connection of skipped.connections) {
        expect(connection.state).to.equal('open');
        expect(connection.droppedMessages).to.be.within(1, rounds);
        connection.destroy();
      }
    });

    it('is left by connections that close, and may be joined in vain by those that have', async () => {
      const { peers, connections } = await start(2);
      const [a, b] = connections as [TcpConnection, TcpConnection];
      const room = stage.reactor.group('closing');
      room.join(a);
      room.join(b);
      const gone = closed(a);
      a.destroy();
      await gone;
      room.join(a);
      // The slot may be another's by now.
      const later = await start(3);
      room.send('1');
      for (const connection of later.connections) connection.send('end');
      for (const peer of later.peers) expect(await peer.read().texts.reaches(1)).to.deep.equal(['end']);
      expect(await (peers[1] as RawPeer).read().texts.reaches(1)).to.deep.equal(['1']);
    });

    it('throws for what is no connection of this reactor, no name and no message', async () => {
      const { connections } = await start(1);
      const reactor = await own.spawn();
      const room = reactor.group('strict');
      const code = (run: () => unknown): string => {
        try {
          run();
          return 'none';
        } catch (error) {
          return (error as ReactorError).code;
        }
      };
      for (const name of ['', 'x'.repeat(256), 'ä'.repeat(128), 5, undefined]) {
        expect(code(() => reactor.group(name as string))).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
      }
      expect(code(() => reactor.group('ä'.repeat(127)))).to.equal('none');
      for (const connection of [connections[0], {}, undefined, -1, 1.5, Number.NaN]) {
        expect(code(() => room.join(connection as TcpConnection))).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
        expect(code(() => room.leave(connection as TcpConnection))).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
      }
      expect(code(() => room.send(5 as unknown as string))).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
      for (const options of [{ except: 'a' }, { except: connections[0] }, { but: 1 }, { except: [{}] }]) {
        expect(code(() => room.send('a', options as GroupSendOptions))).to.equal('ERR_REACTOR_INVALID_OPTION');
      }
      reactor.destroy();
      expect(room.send('a')).to.equal(false);
      expect(code(() => reactor.group('a'))).to.equal('ERR_REACTOR_CLOSED');
    });
  });
}

describe('groups, when an io worker crashes', () => {
  const own = props();

  async function connected(reactor: Reactor, port: number): Promise<{ near: TcpConnection; got: Log<string> }> {
    const near = await reactor.connect({ host: HOST, port });
    return { near, got: texts(near) };
  }

  it('lose the members that close with it, and can be joined again', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    const [ioWorker] = await started;
    const server = await reactor.listen({ host: HOST, port: 0 });
    const room = reactor.group('room');
    const [far, { near, got }] = await Promise.all([nextConnection(server), connected(reactor, server.address.port)]);
    room.join(far);
    room.send('1');
    await got.reaches(1);
    const gone = closed(near);
    const respawned = next(reactor, 'respawn');
    await ioWorker.terminate();
    await Promise.all([gone, respawned]);
    const [farAgain, again] = await Promise.all([nextConnection(server), connected(reactor, server.address.port)]);
    room.join(far);
    room.send('2');
    room.join(farAgain);
    room.send('3');
    expect(await again.got.reaches(1)).to.deep.equal(['3']);
    expect(got.entries).to.deep.equal(['1']);
  });
});
