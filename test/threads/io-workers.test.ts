import { expect } from 'chai';
import { Reactor, type TcpConnection } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import { Log, next, texts, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const sharesPorts =
  process.platform === 'linux' && (major > 23 || (major === 22 && minor >= 12) || (major === 23 && minor >= 1));

/** Which io worker has a connection: the lowest six bits of its id. */
const ioWorkerOf = (id: number): number => id % 64;

/** More than this many in a row on one of two io workers happens once in a billion. */
const ENOUGH = 30;

describe('a reactor with two io workers', () => {
  const stage = scene({ ioWorkers: 2 });
  const own = props();

  it(
    sharesPorts ? 'accepts connections of one server on both' : 'has each server on one of them, in turn',
    async () => {
      const perServer: number[][] = [];
      for (const server of [await stage.listen(), await stage.listen()]) {
        const seen = new Log<TcpConnection>();
        server.on('connection', (connection) => seen.add(connection));
        for (let i = 1; i <= ENOUGH; i++) {
          await stage.connectRaw(server.address.port);
          await seen.reaches(i);
        }
        perServer.push([...new Set(seen.entries.map(({ id }) => ioWorkerOf(id)))].sort());
      }
      if (sharesPorts)
        expect(perServer).to.deep.equal([
          [0, 1],
          [0, 1],
        ]);
      else expect(perServer.sort()).to.deep.equal([[0], [1]]);
    },
  );

  it(sharesPorts ? 'says nothing about it' : 'says once in a process that a server lives on one of them', async () => {
    const child = new Child('thread-single-home');
    own.defer(() => child.kill());
    const { lines, code } = await child.end();
    expect(code).to.equal(0);
    if (sharesPorts) {
      expect(lines).to.deep.equal([]);
      return;
    }
    expect(lines[0]).to.match(/^REACTOR_SINGLE_IO_WORKER .*22\.12/);
    expect(lines).to.have.length(1);
  });

  it('spreads outgoing connections over both, from any thread', async () => {
    const raw = await stage.listenRaw();
    const client = stage.client();
    const made: TcpConnection[] = [];
    for (let i = 0; i < 4; i++) made.push(await client.connect({ host: HOST, port: raw.port }));
    expect(made.map(({ id }) => ioWorkerOf(id)).sort()).to.deep.equal([0, 0, 1, 1]);
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const ids = [];
    for (let i = 0; i < 4; i++) ids.push(await thread.do('connect', raw.port));
    expect(ids.map(ioWorkerOf).sort()).to.deep.equal([0, 0, 1, 1]);
    for (const id of ids) expect(stage.reactor.connection(id).send('from main')).to.equal(true);
    const peers = await raw.peers.reaches(8);
    for (const peer of peers) peer.read();
    await until(() => peers.filter((peer) => peer.texts.entries.includes('from main')).length === 4);
  });

  it('reaches all connections of a server with a broadcast, and closes all of them with it', async () => {
    const server = await stage.listen();
    const reasons = new Log<string>();
    const open = new Log<TcpConnection>();
    server.on('connection', (connection) => open.add(connection));
    server.on('disconnect', (_connection, reason) => reasons.add(reason));
    const peers: RawPeer[] = [];
    for (let i = 1; i <= ENOUGH; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read();
      void peer.ended.then(() => peer.end());
      peers.push(peer);
      await open.reaches(i);
    }
    const excepted = open.entries[3] as TcpConnection;
    server.broadcast('some', { except: excepted });
    server.broadcast('all');
    await until(() => peers.every((peer) => peer.texts.entries.includes('all')));
    expect(peers.filter((peer) => !peer.texts.entries.includes('some'))).to.have.length(1);
    await server.close();
    expect(reasons.entries).to.deep.equal(peers.map(() => 'server-close'));
  });

  it('counts the connections of a thread over both when it balances', async () => {
    const servers = [await stage.listen({ dispatch: 'balance' }), await stage.listen({ dispatch: 'balance' })];
    const threads = await Promise.all([1, 2].map(() => AppThread.attached(own, stage.reactor.handle)));
    const counts = (): number[] => threads.map((thread) => thread.log('connection').entries.length);
    for (const thread of threads) for (const server of servers) await thread.do('subscribe', server.id, { echo: '' });
    for (let i = 0; i < 20; i++) {
      const peer = await stage.connectRaw(servers[i % 2]?.address.port ?? 0);
      await peer.read().send('hello').texts.reaches(1);
    }
    await until(() => counts().reduce((sum, count) => sum + count, 0) === 20);
    expect(counts()).to.deep.equal([10, 10]);
  });

  it('hands connections of both over when a thread unsubscribes or dies', async () => {
    const servers = [await stage.listen({ dispatch: 'balance' }), await stage.listen({ dispatch: 'balance' })];
    const first = await AppThread.attached(own, stage.reactor.handle);
    for (const server of servers) await first.do('subscribe', server.id, { echo: 'first ' });
    const peers: RawPeer[] = [];
    for (let i = 0; i < 8; i++) {
      const peer = (await stage.connectRaw(servers[i % 2]?.address.port ?? 0)).read().send('1');
      await peer.texts.reaches(1);
      peers.push(peer);
    }
    const second = await AppThread.attached(own, stage.reactor.handle);
    for (const server of servers) await second.do('subscribe', server.id, { echo: 'second ' });
    await first.do('unsubscribe', servers[0]?.id ?? 0);
    await first.kill();
    for (const peer of peers) expect((await peer.send('2').texts.reaches(2))[1]).to.equal('second 2');
    expect((await second.log('connection').reaches(8)).every(({ handedOver }) => handedOver)).to.equal(true);
    // One death, whichever number of io workers has seen it.
    await until(() => stage.reactor.stats().threads.every(({ threadId }) => threadId !== first.threadId));
    expect(stage.reactor.stats().threads).to.have.length(2);
  });

  it('closes all connections with the reactor', async () => {
    const reactor = await Reactor.spawn({ ioWorkers: 2 });
    own.defer(() => reactor.destroy());
    const raw = await own.listenRaw((peer) => void peer.read().ended.then(() => peer.end()));
    const client = reactor.client();
    const ends: Promise<unknown[]>[] = [];
    for (let i = 0; i < 4; i++) ends.push(next(await client.connect({ host: HOST, port: raw.port }), 'close'));
    await reactor.close();
    for (const end of ends) expect((await end)[0]).to.equal('reactor-close');
  });

  it('counts a thread that has ended once', async () => {
    const { endedThreads } = stage.reactor.stats();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    await thread.kill();
    await until(() => stage.reactor.stats().threads.every(({ threadId }) => threadId !== thread.threadId));
    // Both have heard of it by now.
    const { connection, peer } = await stage.accepted();
    const received = texts(connection);
    peer.send('1');
    await received.reaches(1);
    expect(stage.reactor.stats().endedThreads).to.equal(endedThreads + 1);
  });
});
