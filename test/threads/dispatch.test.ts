import { expect } from 'chai';
import { closed, nextConnection, texts, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

/** How many connections each thread has got. */
function shares(threads: readonly AppThread[]): number[] {
  return threads.map((thread) => thread.log('connection').entries.length);
}

/** How many connections all threads together have got. */
function sum(threads: readonly AppThread[]): number {
  return shares(threads).reduce((total, share) => total + share, 0);
}

describe("dispatch: 'owner'", () => {
  const stage = scene();
  const own = props();

  it('gives all connections to the thread that listens; who subscribes stands by', async () => {
    const server = await stage.listen();
    const standBy = await AppThread.subscribed(own, server);
    for (let i = 0; i < 4; i++) {
      const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
      const received = texts(connection);
      peer.send(`${i}`);
      expect(await received.reaches(1)).to.deep.equal([`${i}`]);
    }
    // The thread has looked at its ring.
    await standBy.do('flush', [...server.connections()][0]?.id ?? 0);
    expect(standBy.log('connection').entries).to.deep.equal([]);
  });

  it('lets the first that stands by take over when the listener unsubscribes', async () => {
    const { server, connection, peer } = await stage.accepted();
    const first = await AppThread.subscribed(own, server, { echo: 'first ' });
    const second = await AppThread.subscribed(own, server, { echo: 'second ' });
    await server.unsubscribe();
    expect(server.connectionCount).to.equal(0);
    peer.read().send('1');
    expect(await peer.texts.reaches(1)).to.deep.equal(['first 1']);
    expect(first.log('connection').entries).to.deep.equal([{ id: connection.id, handedOver: true }]);
    const newcomer = (await stage.connectRaw(server.address.port)).read().send('2');
    expect(await newcomer.texts.reaches(1)).to.deep.equal(['first 2']);
    await first.kill();
    peer.send('3');
    expect(await peer.texts.reaches(2)).to.deep.equal(['first 1', 'second 3']);
    expect((await second.log('connection').reaches(2)).map(({ handedOver }) => handedOver)).to.deep.equal([true, true]);
  });

  it('gives them back to a listener that subscribes again when the others have gone', async () => {
    const { server, connection, peer } = await stage.accepted();
    await server.unsubscribe();
    peer.send('waits');
    await until(() => stage.reactor.stats().heldConnections === 1);
    const subscribed = server.subscribe();
    const again = await nextConnection(server);
    const received = texts(again);
    await subscribed;
    expect(again.id).to.equal(connection.id);
    expect(await received.reaches(1)).to.deep.equal(['waits']);
  });
});

describe("dispatch: 'balance'", () => {
  const stage = scene();
  const own = props();

  it('spreads connections evenly over the threads that have subscribed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const threads = await Promise.all([1, 2, 3].map(() => AppThread.subscribed(own, server, { echo: '' })));
    for (let i = 0; i < 12; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read().send('hello');
      await peer.texts.reaches(1);
    }
    await until(() => sum(threads) === 12);
    expect(shares(threads)).to.deep.equal([4, 4, 4]);
    expect(server.connectionCount, 'those of the thread that only listens').to.equal(0);
  });

  it('gives a new connection to the thread that has the fewest', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const threads = await Promise.all([1, 2].map(() => AppThread.subscribed(own, server, { echo: '' })));
    const peers: RawPeer[] = [];
    for (let i = 0; i < 6; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read().send(`${i}`);
      await peer.texts.reaches(1);
      peers.push(peer);
    }
    const [first] = threads as [AppThread];
    // Two of the first thread's three connections end.
    const leaving = (await first.texts(3)).slice(0, 2).map(Number);
    for (const [done, index] of leaving.entries()) {
      peers[index]?.end();
      await first.log('close').reaches(done + 1);
    }
    for (let i = 0; i < 2; i++) await (await stage.connectRaw(server.address.port)).read().send('new').texts.reaches(1);
    await until(() => sum(threads) === 8);
    expect(shares(threads)).to.deep.equal([5, 3]);
  });

  it('leaves open connections where they are when another thread subscribes', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const first = await AppThread.subscribed(own, server, { echo: 'first' });
    const peers: RawPeer[] = [];
    for (let i = 0; i < 3; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read().send('');
      await peer.texts.reaches(1);
      peers.push(peer);
    }
    const second = await AppThread.subscribed(own, server, { echo: 'second' });
    for (const peer of peers) expect((await peer.send('').texts.reaches(2))[1]).to.equal('first');
    for (let i = 0; i < 3; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read().send('');
      expect(await peer.texts.reaches(1)).to.deep.equal(['second']);
    }
    await until(() => sum([first, second]) === 6);
    expect(shares([first, second])).to.deep.equal([3, 3]);
  });

  it('is left by a thread that unsubscribes before it has heard that it has subscribed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    await server.unsubscribe();
    const joining = Promise.all([server.subscribe(), server.subscribe()]);
    await server.unsubscribe();
    await joining;
    expect(server.isSubscribed).to.equal(false);
    await server.subscribe();
    expect(server.isSubscribed).to.equal(true);
  });

  it('spreads the connections of a thread that leaves, or dies, over the others', async () => {
    for (const way of ['unsubscribe', 'die'] as const) {
      const server = await stage.listen({ dispatch: 'balance' });
      const threads = await Promise.all([1, 2, 3].map(() => AppThread.subscribed(own, server, { echo: '' })));
      const peers: RawPeer[] = [];
      for (let i = 0; i < 12; i++) {
        const peer = (await stage.connectRaw(server.address.port)).read().send('hello');
        await peer.texts.reaches(1);
        peers.push(peer);
      }
      const [leaver, ...others] = threads as [AppThread, AppThread, AppThread];
      if (way === 'unsubscribe') await leaver.do('unsubscribe', server.id);
      else await leaver.kill();
      for (const peer of peers) await peer.send('still there?').texts.reaches(2);
      // Four that they had, each, and the leaver's.
      await until(() => sum(others) === 12);
      expect(shares(others), way).to.deep.equal([6, 6]);
      for (const peer of peers) peer.socket.destroy();
      await server.close();
    }
  });

  it('gives the listener its share if it subscribes', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    server.on('message', (connection, data) => void connection.send(data));
    await server.subscribe();
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    for (let i = 0; i < 4; i++)
      await (await stage.connectRaw(server.address.port)).read().send('hello').texts.reaches(1);
    expect(server.connectionCount).to.equal(2);
    expect(await thread.log('connection').reaches(2)).to.have.length(2);
  });
});

describe("dispatch: 'all'", () => {
  const stage = scene();
  const own = props();

  it('gives every thread every event', async () => {
    const server = await stage.listen({ dispatch: 'all' });
    const threads = await Promise.all([1, 2, 3].map(() => AppThread.subscribed(own, server)));
    const large = Buffer.alloc(2 * MIB, 'l').toString();
    const peer = (await stage.connectRaw(server.address.port)).read().send('1', '2', large, '3').end();
    for (const thread of threads) {
      const got = await thread.texts(4);
      expect([got[0], got[1], got[3]]).to.deep.equal(['1', '2', '3']);
      expect(got[2]).to.match(/^2097152 bytes/);
      expect(await thread.log('end').reaches(1)).to.have.length(1);
      expect((await thread.log('close').reaches(1))[0]?.reason).to.equal('peer-end');
    }
    await peer.ended;
  });

  it("ends this side only when every thread has handled the peer's end", async () => {
    const server = await stage.listen({ dispatch: 'all' });
    const quick = await AppThread.subscribed(own, server, { echo: 'quick ' });
    const slow = await AppThread.subscribed(own, server, { on: { '2': 'sleep' }, echo: 'slow ' });
    const peer = (await stage.connectRaw(server.address.port)).read().send('1', '2').end();
    await quick.log('end').reaches(1);
    await slow.texts(2);
    const [{ id } = { id: 0 }] = await quick.log('connection').reaches(1);
    // What the quick thread has sent, its part in the end included, is with the io worker.
    await quick.do('flush', id);
    expect(await quick.do('state', id)).not.to.equal('closed');
    slow.open();
    await peer.ended;
    expect([...peer.texts.entries].sort()).to.deep.equal(['quick 1', 'quick 2', 'slow 1', 'slow 2']);
    for (const thread of [quick, slow]) {
      expect(await thread.log('close').reaches(1)).to.deep.equal([{ id, reason: 'peer-end' }]);
    }
  });

  for (const way of ['dies', 'unsubscribes'] as const) {
    it(`ends this side when the only thread that had not handled the peer's end ${way}`, async () => {
      const server = await stage.listen({ dispatch: 'all' });
      const quick = await AppThread.subscribed(own, server);
      const slow = await AppThread.subscribed(own, server, { takes: 'iteration', on: { '1': 'hold' } });
      const peer = (await stage.connectRaw(server.address.port)).read().send('1').end();
      await slow.texts(1);
      const [{ id } = { id: 0 }] = await quick.log('end').reaches(1);
      if (way === 'dies') await slow.kill();
      else {
        const left = slow.do('unsubscribe', server.id);
        await slow.do('caughtUp', (await stage.accepted()).connection.id);
        slow.open();
        await left;
      }
      await peer.ended;
      expect(await quick.log('close').reaches(1)).to.deep.equal([{ id, reason: 'peer-end' }]);
    });
  }

  it('announces open connections to a thread that joins later, which gets what comes from then on', async () => {
    const server = await stage.listen({ dispatch: 'all' });
    const first = await AppThread.subscribed(own, server);
    const peer = (await stage.connectRaw(server.address.port)).send('before');
    await first.texts(1);
    const second = await AppThread.subscribed(own, server);
    peer.send('after');
    expect(await second.texts(1)).to.deep.equal(['after']);
    expect(await first.texts(2)).to.deep.equal(['before', 'after']);
    const { id } = first.log('connection').entries[0] ?? { id: 0 };
    expect(first.log('connection').entries).to.deep.equal([{ id, handedOver: false }]);
    expect(second.log('connection').entries).to.deep.equal([{ id, handedOver: true }]);
  });

  it('goes on with the others when one of them leaves or dies', async () => {
    const server = await stage.listen({ dispatch: 'all' });
    const [stays, leaves, dies] = (await Promise.all([1, 2, 3].map(() => AppThread.subscribed(own, server)))) as [
      AppThread,
      AppThread,
      AppThread,
    ];
    const peer = (await stage.connectRaw(server.address.port)).send('1');
    for (const thread of [stays, leaves, dies]) await thread.texts(1);
    await leaves.do('unsubscribe', server.id);
    peer.send('2');
    await stays.texts(2);
    await dies.texts(2);
    await dies.kill();
    peer.send('3');
    expect(await stays.texts(3)).to.deep.equal(['1', '2', '3']);
    expect(leaves.log('message').entries).to.have.length(1);
  });
});

describe('a server without a subscriber', () => {
  const stage = scene();
  const own = props();
  /** Held when the test begins: none, if those before have left nothing behind. */
  let before = 0;

  beforeEach(() => {
    before = stage.reactor.stats().heldConnections;
  });

  /** The peer of a connection that nobody gets. */
  async function held(dispatch: 'balance' | 'all'): Promise<RawPeer> {
    const server = await stage.listen({ dispatch });
    const peer = await stage.connectRaw(server.address.port);
    await until(() => stage.reactor.stats().heldConnections === before + 1);
    return peer;
  }

  for (const dispatch of ['balance', 'all'] as const) {
    it(`holds its connections, and gives everything to the first that comes (dispatch '${dispatch}')`, async () => {
      const server = await stage.listen({ dispatch });
      const peer = (await stage.connectRaw(server.address.port)).send('1', '2');
      await until(() => stage.reactor.stats().heldConnections === before + 1);
      const thread = await AppThread.subscribed(own, server);
      peer.send('3');
      expect(await thread.texts(3)).to.deep.equal(['1', '2', '3']);
      expect(thread.log('connection').entries.map(({ handedOver }) => handedOver)).to.deep.equal([false]);
      expect(stage.reactor.stats().heldConnections).to.equal(before);
    });

    it(`does not read their sockets (dispatch '${dispatch}')`, async () => {
      const peer = await held(dispatch);
      peer.write(Buffer.alloc(64 * MIB));
      const other = await stage.accepted();
      const received = texts(other.connection);
      other.peer.send('goes on');
      await received.reaches(1);
      expect(peer.socket.writableLength).to.be.greaterThan(32 * MIB);
    });

    it(`closes them behind orphanTimeoutMs (dispatch '${dispatch}')`, async () => {
      const orphanTimeoutMs = 50;
      const { closed: closedBefore } = stage.reactor.stats();
      const server = await stage.listen({ dispatch, orphanTimeoutMs });
      const start = performance.now();
      const peer = await stage.connectRaw(server.address.port);
      await peer.read().gone;
      // A timer may fire a millisecond early, by another clock.
      expect(performance.now() - start).to.be.at.least(orphanTimeoutMs - 2);
      await until(() => stage.reactor.stats().closed === closedBefore + 1);
      expect(stage.reactor.stats().heldConnections).to.equal(before);
    });
  }

  it("tells a thread that watches one of them 'orphaned'", async () => {
    const server = await stage.listen({ dispatch: 'balance', orphanTimeoutMs: 20 });
    const watcher = await AppThread.attached(own, stage.reactor.handle);
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    const peer = (await stage.connectRaw(server.address.port)).read().send('1');
    await peer.texts.reaches(1);
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    await watcher.do('watch', id);
    const end = closed(stage.reactor.connection(id));
    await thread.kill();
    expect(await watcher.log('close').reaches(1)).to.deep.equal([{ id, reason: 'orphaned' }]);
    expect((await end).reason).to.equal('orphaned');
    await peer.gone;
  });

  it('is closed as soon as its peers have followed', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const peer = (await own.connectRaw(server.address.port)).read();
    await until(() => reactor.stats().heldConnections === 1);
    void peer.ended.then(() => peer.end());
    await server.close({ drainMs: 60_000 });
    await peer.gone;
  });

  it('leaves nothing behind when it is closed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const peer = await stage.connectRaw(server.address.port);
    await until(() => stage.reactor.stats().heldConnections === before + 1);
    await server.close({ drainMs: 0 });
    await peer.read().gone;
    expect(stage.reactor.stats().openConnections).to.equal(0);
    expect(stage.reactor.stats().heldConnections).to.equal(before);
  });

  it('lets another thread send on a connection that is held', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server);
    const peer = (await stage.connectRaw(server.address.port)).read();
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    await thread.do('unsubscribe', server.id);
    expect(stage.reactor.connection(id).send('from afar')).to.equal(true);
    expect(await peer.texts.reaches(1)).to.deep.equal(['from afar']);
  });
});
