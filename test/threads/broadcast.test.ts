import { expect } from 'chai';
import type { ConnectionOptions, Dispatch, TcpConnection, TcpServer } from '../../src/index.js';
import { Log, rejection, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, pattern, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

describe('broadcast()', () => {
  const stage = scene();
  const own = props();

  /** A server, and so many peers in the order of its connections. */
  async function start(
    count: number,
    options: ConnectionOptions & { dispatch?: Dispatch } = {},
  ): Promise<{ server: TcpServer; peers: RawPeer[]; connections: TcpConnection[] }> {
    const server = await stage.listen(options);
    const open = new Log<TcpConnection>();
    server.on('connection', (connection) => open.add(connection));
    const peers: RawPeer[] = [];
    for (let i = 1; i <= count; i++) {
      peers.push(await stage.connectRaw(server.address.port));
      await open.reaches(i);
    }
    return { server, peers, connections: open.entries };
  }

  it('sends to all connections of the server, and to no others', async () => {
    const { server, peers } = await start(5);
    const other = await stage.accepted();
    expect(server.broadcast('one')).to.equal(true);
    expect(server.broadcast(Buffer.from('two'))).to.equal(true);
    for (const peer of peers) expect(await peer.read().texts.reaches(2)).to.deep.equal(['one', 'two']);
    other.connection.send('only this');
    expect(await other.peer.read().texts.reaches(1)).to.deep.equal(['only this']);
  });

  it('is in order with what the thread sends otherwise', async () => {
    const { server, peers, connections } = await start(2);
    const [connection] = connections as [TcpConnection];
    for (let i = 0; i < 500; i++) {
      connection.send(`s${i}`);
      server.broadcast(`b${i}`);
    }
    const got = await (peers[0] as RawPeer).read().texts.reaches(1000);
    expect(got).to.deep.equal(Array.from({ length: 1000 }, (_, i) => `${i % 2 === 0 ? 's' : 'b'}${i >> 1}`));
  });

  it('leaves out one connection, or several', async () => {
    const { server, peers, connections } = await start(3);
    const [a, b] = connections as [TcpConnection, TcpConnection];
    server.broadcast('1', { except: a.id });
    server.broadcast('2', { except: [a, b] });
    server.broadcast('3', { except: new Set([b]) });
    server.broadcast('4', { except: [] });
    const expected = [
      ['3', '4'],
      ['1', '4'],
      ['1', '2', '3', '4'],
    ];
    for (const [index, peer] of peers.entries()) {
      const texts = expected[index] as string[];
      expect(await peer.read().texts.reaches(texts.length)).to.deep.equal(texts);
    }
  });

  it("carries the bytes as they are with codec 'raw'", async () => {
    const { server, peers } = await start(3, { codec: 'raw' });
    server.broadcast('raw bytes');
    for (const { socket } of peers) {
      const [bytes] = await new Promise<Buffer[]>((resolve) =>
        socket.once('data', (data) => resolve([data as Buffer])),
      );
      expect(bytes?.toString()).to.equal('raw bytes');
    }
  });

  it('carries messages that are longer than a record of the ring, and empty ones', async () => {
    const { server, peers } = await start(3, { highWaterMark: 32 * MIB });
    const sizes = [0, 1, 500_000, 524_288, 1_500_000, 6 * MIB, 3];
    for (const [index, size] of sizes.entries()) server.broadcast(pattern(size, index));
    for (const peer of peers) {
      const got = await peer.read().texts.reaches(sizes.length);
      for (const [index, size] of sizes.entries()) {
        expect(got[index] === pattern(size, index).toString('utf8'), `${size} bytes`).to.equal(true);
      }
    }
  });

  it('from an attached thread, longer than a record, reaches connections whichever thread gets them', async () => {
    const server = await stage.listen({ dispatch: 'balance', highWaterMark: 32 * MIB });
    const threads = await Promise.all([1, 2].map(() => AppThread.subscribed(own, server)));
    const sender = await AppThread.attached(own, stage.reactor.handle);
    const peers: RawPeer[] = [];
    for (let i = 0; i < 4; i++) peers.push((await stage.connectRaw(server.address.port)).read());
    for (const thread of threads) await thread.log('connection').reaches(2);
    const [{ id } = { id: 0 }] = (threads[0] as AppThread).log('connection').entries;
    await sender.do('broadcast', server.id, Buffer.alloc(2 * MIB, 'b'));
    await sender.do('broadcast', server.id, 'not to all', [id]);
    await sender.do('broadcast', server.id, 'last');
    const lengths = (peer: RawPeer): number[] => peer.texts.entries.map((text) => text.length);
    await until(() => peers.every((peer) => peer.texts.entries.at(-1) === 'last'));
    const short = peers.filter((peer) => peer.texts.entries.length === 2);
    expect(short.map(lengths)).to.deep.equal([[2 * MIB, 4]]);
    for (const peer of peers.filter((each) => !short.includes(each)))
      expect(lengths(peer)).to.deep.equal([2 * MIB, 10, 4]);
  });

  it('from a thread that dies in the middle of it reaches nobody in part', async () => {
    const { server, peers } = await start(2, { highWaterMark: 32 * MIB });
    for (let round = 0; round < 3; round++) {
      const { endedThreads } = stage.reactor.stats();
      const thread = await AppThread.attached(own, stage.reactor.handle);
      void thread.do('broadcastAndExit', server.id, Buffer.alloc(12 * MIB, 't'));
      await thread.exited;
      await until(() => stage.reactor.stats().endedThreads === endedThreads + 1);
    }
    server.broadcast('whole');
    for (const peer of peers) {
      const got = await peer.read().texts.reaches(1);
      const whole = got.filter((text) => text.length === 12 * MIB || text === 'whole');
      expect(got.length).to.equal(whole.length);
    }
  });

  it("skips a peer that does not read, with overflow: 'drop', and does not hold up the others", async () => {
    const { server, peers, connections } = await start(3, { overflow: 'drop', highWaterMark: 64 * 1024 });
    const [deaf, ...reading] = peers as [RawPeer, RawPeer, RawPeer];
    const [slow] = connections as [TcpConnection];
    for (const peer of reading) peer.read();
    for (let i = 0; i < 200; i++) {
      server.broadcast(`${i} ${'x'.repeat(100_000)}`);
      for (const peer of reading) await peer.texts.reaches(i + 1);
    }
    await until(() => slow.droppedMessages > 0);
    expect(slow.state).to.equal('open');
    for (const peer of reading) {
      expect(peer.texts.entries.map((text) => Number.parseInt(text, 10))).to.deep.equal(Array.from(Array(200).keys()));
    }
    // What was not dropped comes in order, and whole.
    const dropped = slow.droppedMessages;
    const got = await deaf.read().texts.reaches(200 - dropped);
    const numbers = got.map((text) => Number.parseInt(text, 10));
    expect(numbers).to.deep.equal([...numbers].sort((a, b) => a - b));
    expect(numbers).to.have.length(200 - dropped);
    await until(() => slow.bufferedAmount === 0);
  });

  it("closes a peer that does not read with 'backpressure', with overflow: 'close'", async () => {
    const { server, peers, connections } = await start(2, { highWaterMark: 64 * 1024 });
    const [slow] = connections as [TcpConnection];
    const reading = (peers[1] as RawPeer).read();
    const end = new Promise<string>((resolve) => slow.once('close', resolve));
    for (let i = 0; slow.state === 'open'; i++) {
      server.broadcast('x'.repeat(100_000));
      await reading.texts.reaches(i + 1);
    }
    expect(await end).to.equal('backpressure');
    server.broadcast('goes on');
    await until(() => reading.texts.entries.at(-1) === 'goes on');
  });

  it('answers false on a closed server', async () => {
    const { server } = await start(0);
    await server.close();
    expect(server.broadcast('nobody')).to.equal(false);
  });

  describe('throws', () => {
    const wrong: Record<string, [call: (server: TcpServer) => unknown, code: string]> = {
      'for a number': [(server) => server.broadcast(1 as never), 'ERR_REACTOR_INVALID_ARGUMENT'],
      'for nothing': [(server) => server.broadcast(undefined as never), 'ERR_REACTOR_INVALID_ARGUMENT'],
      'for an unknown option': [(server) => server.broadcast('', { but: [] } as never), 'ERR_REACTOR_INVALID_OPTION'],
      'for options that are none': [(server) => server.broadcast('', 1 as never), 'ERR_REACTOR_INVALID_OPTION'],
      'for an exception that is no connection': [
        (server) => server.broadcast('', { except: {} as never }),
        'ERR_REACTOR_INVALID_OPTION',
      ],
      'for exceptions that are no connections': [
        (server) => server.broadcast('', { except: ['1'] as never }),
        'ERR_REACTOR_INVALID_OPTION',
      ],
      'for a message that is too long': [
        (server) => server.broadcast(Buffer.alloc(999)),
        'ERR_REACTOR_MESSAGE_TOO_LARGE',
      ],
    };
    for (const [what, [call, code]] of Object.entries(wrong)) {
      it(`${code} ${what}`, async () => {
        const { server } = await start(0, { limits: { maxFrameBytes: 1000 } });
        expect((await rejection((async () => call(server))())).code).to.equal(code);
      });
    }

    it('ERR_REACTOR_INVALID_OPTION for an exception that is a connection of another reactor, and sends nothing', async () => {
      const { server, peers, connections } = await start(1);
      const reactor = await own.spawn();
      const stranger = await reactor.connect({ host: HOST, port: (await own.listenRaw()).port });
      for (const except of [stranger, [...connections, stranger]]) {
        const error = await rejection((async () => server.broadcast('to all but a stranger', { except }))());
        expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
        expect(error.message).to.match(/'except' must be connections of this reactor/);
      }
      server.broadcast('behind');
      expect(await (peers[0] as RawPeer).read().texts.reaches(1)).to.deep.equal(['behind']);
    });
  });

  it('of a message that is too long, by a thread that has only the id, is dropped and counted, and harms nobody', async () => {
    const { server, peers } = await start(1, { limits: { maxFrameBytes: 1000 } });
    const thread = await AppThread.attached(own, stage.reactor.handle);
    await thread.do('broadcast', server.id, Buffer.alloc(999));
    const [connection] = [...server.connections()];
    await until(() => connection?.droppedMessages === 1);
    server.broadcast('behind');
    expect((await (peers[0] as RawPeer).read().texts.reaches(1))[0]).to.equal('behind');
  });
});
