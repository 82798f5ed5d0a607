import { expect } from 'chai';
import type { ConnectionOptions } from '../../src/index.js';
import { closed, Log, next, nextConnection, rejection, texts, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, type RawPair, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';
import { summary } from '../fixtures/thread-reports.js';

const MIB = 1024 * 1024;

describe('an attached thread', () => {
  const stage = scene();
  const own = props();

  /** A connection whose events the main thread gets, and a thread that knows its id. */
  async function shared(options: ConnectionOptions = {}): Promise<RawPair & { id: number; thread: AppThread }> {
    const pair = await stage.accepted(options);
    const thread = await AppThread.attached(own, stage.reactor.handle);
    return { ...pair, id: pair.connection.id, thread };
  }

  /** Whatever the peer answers to the other side's FIN. */
  function endsBack(peer: RawPeer): void {
    void peer.read().ended.then(() => peer.end());
  }

  it('sends in order with itself, on the connection of another thread, messages of any size', async () => {
    const { id, thread, peer } = await shared({ highWaterMark: 32 * MIB });
    await thread.do('send', id, 'first');
    const large = Buffer.alloc(3 * MIB, 'x');
    await thread.do('send', id, large);
    await thread.do('sendMany', id, 'n', 1000);
    const got = await peer.read().texts.reaches(1002);
    expect(got[0]).to.equal('first');
    expect(Buffer.from(got[1] as string).equals(large)).to.equal(true);
    expect(got.slice(2)).to.deep.equal(Array.from({ length: 1000 }, (_, i) => `n${i}`));
  });

  it('shuts a connection down: what it has sent comes first', async () => {
    const { id, connection, thread, peer } = await shared();
    const end = closed(connection);
    await thread.do('send', id, 'last');
    await thread.do('shutdown', id);
    expect(await thread.do('send', id, 'too late')).to.equal(false);
    endsBack(peer);
    expect((await end).reason).to.equal('local-shutdown');
    expect(peer.texts.entries).to.deep.equal(['last']);
  });

  it('destroys a connection', async () => {
    const { id, connection, thread, peer } = await shared();
    const end = closed(connection);
    await thread.do('destroy', id);
    expect((await end).reason).to.equal('local-destroy');
    expect(await thread.do('state', id)).to.equal('closed');
    await peer.read().gone;
  });

  it("sees the state of a connection, and hears its 'close' if it listens, but no message", async () => {
    const { id, connection, thread, peer } = await shared();
    expect(await thread.do('state', id)).to.equal('open');
    await thread.do('watch', id);
    const received = texts(connection);
    peer.read().send('for main');
    await received.reaches(1);
    connection.shutdown();
    await peer.ended;
    expect(await thread.do('state', id)).to.equal('closing');
    peer.end();
    expect(await thread.log('close').reaches(1)).to.deep.equal([{ id, reason: 'local-shutdown' }]);
    expect(await thread.do('state', id)).to.equal('closed');
    expect(thread.log('message').entries).to.deep.equal([]);
  });

  it("hears 'close' of what it closes itself", async () => {
    const { id, thread } = await shared();
    await thread.do('watch', id);
    await thread.do('destroy', id);
    expect(await thread.log('close').reaches(1)).to.deep.equal([{ id, reason: 'local-destroy' }]);
  });

  it("hears 'close' of what it has destroyed also if it listens only then", async () => {
    const { connection } = await stage.accepted();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    await thread.do('destroyAndWatch', connection.id);
    const [{ reason } = { reason: '' }] = await thread.log('close').reaches(1);
    expect(reason).to.equal('local-destroy');
  });

  it('cannot iterate over a connection of which another thread gets the events', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server);
    await stage.connectRaw(server.address.port);
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    const iteration = stage.reactor.connection(id)[Symbol.asyncIterator]();
    expect((await rejection(iteration.next())).code).to.equal('ERR_REACTOR_UNSUPPORTED');
  });

  it("hears 'close' of several watched connections, each its own", async () => {
    const server = await stage.listen();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const open = new Log<number>();
    server.on('connection', ({ id }) => open.add(id));
    const peers: RawPeer[] = [];
    for (let i = 0; i < 3; i++) {
      peers.push(await stage.connectRaw(server.address.port));
      await open.reaches(i + 1);
    }
    for (const id of open.entries) await thread.do('watch', id);
    for (const [index, peer] of [...peers.entries()].reverse()) {
      peer.read().end();
      const closes = await thread.log('close').reaches(3 - index);
      expect(closes.at(-1)).to.deep.equal({ id: open.entries[index], reason: 'peer-end' });
    }
  });

  it('sees what all threads have buffered', async () => {
    const { id, connection, thread, peer } = await shared({ highWaterMark: 32 * MIB });
    connection.send(Buffer.alloc(8 * MIB));
    await thread.do('send', id, Buffer.alloc(8 * MIB));
    const buffered = await thread.do('bufferedAmount', id);
    expect(buffered).to.be.greaterThan(8 * MIB);
    expect(buffered).to.be.at.most(16 * MIB + 12);
    peer.count();
    await until(() => connection.bufferedAmount === 0);
    expect(await thread.do('bufferedAmount', id)).to.equal(0);
    await until(() => peer.received === 22 + 16 * MIB + 12);
  });

  it('flushes what it has sent, and waits for room', async () => {
    const { id, connection, thread, peer } = await shared();
    expect(await thread.do('send', id, Buffer.alloc(12 * MIB))).to.equal(false);
    const flushed = thread.do('flush', id);
    const ready = thread.do('ready', id);
    peer.count();
    expect(await ready).to.equal(true);
    await flushed;
    expect(connection.bufferedAmount).to.equal(0);
    expect(connection.bytesSent).to.equal(22 + 12 * MIB + 6);
  });

  it('is told by flush() and ready() when the connection closes', async () => {
    const { id, connection, thread } = await shared();
    await thread.do('send', id, Buffer.alloc(14 * MIB));
    const flushed = rejection(thread.do('flush', id));
    const ready = thread.do('ready', id);
    // Both have been called: the thread answers in order.
    await thread.do('state', id);
    connection.destroy();
    expect((await flushed).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect(await ready).to.equal(false);
  });

  it('pauses a connection of another thread; it is read again when both have said so', async () => {
    const { id, connection, thread, peer } = await shared();
    const received = texts(connection);
    await thread.do('pause', id);
    await thread.do('flush', id);
    const before = connection.bytesReceived;
    peer.send('waits');
    connection.pause();
    await thread.do('resume', id);
    await thread.do('flush', id);
    connection.resume();
    expect(await received.reaches(1)).to.deep.equal(['waits']);
    expect(connection.bytesReceived).to.equal(before + 11);
  });

  it('has the socket not read for as long as it has paused it', async () => {
    const { id, connection, thread, peer } = await shared();
    await thread.do('pause', id);
    await thread.do('flush', id);
    const before = stage.reactor.stats();
    // More than the kernel takes on its own: the peer would get rid of it if anybody read.
    peer.write(Buffer.alloc(64 * MIB));
    const other = await stage.accepted();
    const echoed = texts(other.connection);
    other.peer.send('goes on');
    await echoed.reaches(1);
    expect(connection.bytesReceived).to.equal(0);
    expect(peer.socket.writableLength).to.be.greaterThan(0);
    expect(stage.reactor.stats().closed).to.equal(before.closed);
    peer.socket.destroy();
    connection.destroy();
  });

  it('resumes what it has paused, also if it keeps only the id', async () => {
    const { id, connection, thread, peer } = await shared();
    const received = texts(connection);
    await thread.do('pauseById', id);
    await thread.do('flush', id);
    peer.send('waits');
    await thread.do('resumeById', id);
    expect(await received.reaches(1)).to.deep.equal(['waits']);
  });

  it('resumes what it has paused, also if it keeps only the id and garbage has been collected', async () => {
    const { id, connection, thread, peer } = await shared();
    const other = await stage.accepted();
    const received = texts(connection);
    await thread.do('pauseById', id);
    // By way of another connection: who waits for a flush of this one has it in hand.
    await thread.do('caughtUp', other.connection.id);
    await thread.do('collectGarbage');
    peer.send('waits');
    await stage.settle();
    expect(received.entries).to.deep.equal([]);
    await thread.do('resumeById', id);
    expect(await received.reaches(1)).to.deep.equal(['waits']);
  });

  it('asks for both ends of a connection with info()', async () => {
    const { id, connection, thread, server, peer } = await shared();
    const info = await thread.do('info', id);
    expect(info).to.deep.equal(await connection.info());
    expect(info.localPort).to.equal(server.address.port);
    expect(info.remotePort).to.equal(peer.socket.localPort);
  });

  it('is answered by info() before it ends, if it waits for nothing else', async () => {
    const { id, connection, thread } = await shared();
    const answer = await Promise.race([thread.do('lastInfo', id), thread.exited]);
    expect(answer).to.deep.equal(await connection.info());
    expect(await thread.exited).to.equal(0);
  });

  it('is told by info() that a connection is closed, also before its thread has taken note', async () => {
    const { id, connection, thread, peer } = await shared();
    const end = closed(connection);
    const received = texts(connection);
    connection.once('message', () => connection.pause());
    peer.send('1', 'waits');
    await received.reaches(1);
    await until(() => connection.messagesReceived === 2);
    await thread.do('destroy', id);
    await until(() => connection.state === 'closed');
    expect((await rejection(thread.do('info', id))).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    connection.resume();
    expect((await end).reason).to.equal('local-destroy');
    expect(received.entries).to.deep.equal(['1', 'waits']);
  });

  it('listens, and gets the connections of its server', async () => {
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const { port } = await thread.do('listen', {}, { echo: 're: ' });
    const peer = (await stage.connectRaw(port)).read().send('hello');
    expect(await peer.texts.reaches(1)).to.deep.equal(['re: hello']);
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    peer.end();
    expect(await thread.log('close').reaches(1)).to.deep.equal([{ id, reason: 'peer-end' }]);
  });

  it('connects, and gets the messages', async () => {
    const server = await stage.listen();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const [id, far] = await Promise.all([thread.do('connect', server.address.port), nextConnection(server)]);
    far.send('to the thread');
    expect(await thread.texts(1)).to.deep.equal(['to the thread']);
    expect(id).not.to.equal(far.id);
    const end = closed(far);
    await thread.do('shutdown', id);
    expect((await end).reason).to.equal('peer-end');
  });

  it('broadcasts to a server that it has not subscribed to, except to some', async () => {
    const server = await stage.listen();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const [first, left] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    const [, right] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    await thread.do('broadcast', server.id, 'to all');
    await thread.do('broadcast', server.id, 'not to the first', [first.id]);
    await thread.do('broadcast', server.id, 'to all again');
    expect(await right.read().texts.reaches(3)).to.deep.equal(['to all', 'not to the first', 'to all again']);
    expect(await left.read().texts.reaches(2)).to.deep.equal(['to all', 'to all again']);
  });

  it('carries the bytes of a message it gets as they were sent', async () => {
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const { port } = await thread.do('listen', {});
    const bodies = [Buffer.alloc(101, 1), Buffer.alloc(70_000, 2), Buffer.alloc(3 * MIB, 3)];
    const peer = (await stage.connectRaw(port)).send(...bodies);
    expect(await thread.texts(3)).to.deep.equal(bodies.map(summary));
    peer.socket.destroy();
    await thread.log('close').reaches(1);
  });

  it('never reaches a newer connection by a stale id', async () => {
    const reactor = await own.spawn({ maxConnections: 1 });
    const server = await reactor.listen({ host: HOST, port: 0 });
    const thread = await AppThread.attached(own, reactor.handle);
    const [old, first] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const end = closed(old);
    first.read().end();
    await end;
    // The only slot there is.
    await until(() => first.socket.destroyed);
    const [newer, peer] = await Promise.all([next<[typeof old]>(server, 'connection'), reconnect()]);
    const [connection] = newer;
    const stale = old.id;
    expect(connection.id).not.to.equal(stale);
    expect(await thread.do('state', stale)).to.equal('closed');
    expect(await thread.do('send', stale, 'foreign')).to.equal(false);
    expect(await thread.do('bufferedAmount', stale)).to.equal(0);
    await thread.do('pause', stale);
    await thread.do('shutdown', stale);
    await thread.do('destroy', stale);
    expect((await rejection(thread.do('info', stale))).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect((await rejection(thread.do('flush', stale))).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    await thread.do('send', connection.id, 'own');
    const received = texts(connection);
    peer.read().send('still read');
    expect(await received.reaches(1)).to.deep.equal(['still read']);
    expect(await peer.texts.reaches(1)).to.deep.equal(['own']);
    expect(connection.state).to.equal('open');

    /** Turned away until the slot is free. */
    async function reconnect(): Promise<RawPeer> {
      for (;;) {
        const accepted = reactor.stats().accepted;
        const refused = reactor.stats().refused;
        const made = await own.connectRaw(server.address.port);
        await until(() => reactor.stats().accepted > accepted || reactor.stats().refused > refused);
        if (reactor.stats().accepted > accepted) return made;
      }
    }
  });
});
