import { expect } from 'chai';
import { closed, nextConnection, rejection, texts, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

describe('an attached thread ends', () => {
  const stage = scene();
  const own = props();

  it('by itself, if it has nothing open', async () => {
    const thread = await AppThread.attached(own, stage.reactor.handle);
    await thread.do('unref');
    expect(await thread.exited).to.equal(0);
    expect(thread.failure).to.equal(undefined);
  });

  it('not while it is subscribed, but when the server is closed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    await thread.do('unref');
    const peer = (await stage.connectRaw(server.address.port)).read().send('there?');
    expect(await peer.texts.reaches(1)).to.deep.equal(['there?']);
    peer.end();
    await peer.ended;
    const another = (await stage.connectRaw(server.address.port)).read().send('still there?');
    expect(await another.texts.reaches(1)).to.deep.equal(['still there?']);
    another.end();
    await server.close();
    expect(await thread.exited).to.equal(0);
    expect(thread.log('closed').entries).to.deep.equal([{ server: server.id }]);
  });

  it('by itself when it has unsubscribed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server);
    await thread.do('unsubscribe', server.id);
    await thread.do('unref');
    expect(await thread.exited).to.equal(0);
  });

  it('by itself when the reactor has been closed, whatever it had open', async () => {
    const reactor = await own.spawn();
    const thread = await AppThread.attached(own, reactor.handle);
    const { port } = await thread.do('listen', {});
    (await own.connectRaw(port)).read();
    await thread.log('connection').reaches(1);
    await thread.do('unref');
    await reactor.close({ timeoutMs: 0 });
    expect(await thread.exited).to.equal(0);
    expect(thread.log('close').entries.map(({ reason }) => reason)).to.deep.equal(['reactor-close']);
  });

  describe('its part with close()', () => {
    it('having sent what it had to send', async () => {
      const { connection, peer } = await stage.accepted({ highWaterMark: 32 * MIB });
      const thread = await AppThread.attached(own, stage.reactor.handle);
      await thread.do('send', connection.id, Buffer.alloc(8 * MIB));
      await thread.do('sendMany', connection.id, 'n', 10);
      const left = thread.do('closeReactor');
      const got = await peer.read().texts.reaches(11);
      await left;
      expect(got[0]).to.have.length(8 * MIB);
      expect(got.slice(1)).to.deep.equal(Array.from({ length: 10 }, (_, i) => `n${i}`));
    });

    it("with its clients' connections closed", async () => {
      const server = await stage.listen();
      const thread = await AppThread.attached(own, stage.reactor.handle);
      const [id, far] = await Promise.all([thread.do('connect', server.address.port), nextConnection(server)]);
      const end = closed(far);
      await thread.do('closeReactor');
      expect((await end).reason).to.equal('peer-end');
      const [close] = await thread.log('close').reaches(1);
      expect(close?.id).to.equal(id);
    });

    it('while the connections of other threads stay open', async () => {
      for (const way of ['closeReactor', 'destroyReactor'] as const) {
        const { connection, peer } = await stage.accepted();
        const thread = await AppThread.attached(own, stage.reactor.handle);
        const { endedThreads } = stage.reactor.stats();
        await thread.do(way);
        await until(() => stage.reactor.stats().endedThreads === endedThreads + 1);
        expect(connection.state, way).to.equal('open');
        expect(connection.send('still here'), way).to.equal(true);
        const received = texts(connection);
        peer.read().send('and here');
        expect(await received.reaches(1)).to.deep.equal(['and here']);
        expect(await peer.texts.reaches(1)).to.deep.equal(['still here']);
      }
    });

    it('and other threads have its server, connections included, if they have subscribed', async () => {
      const listener = await AppThread.attached(own, stage.reactor.handle);
      const { id: server, port } = await listener.do('listen', {}, { echo: 'a' });
      const other = await AppThread.attached(own, stage.reactor.handle);
      await other.do('subscribe', server, { echo: 'b' });
      const peer = (await stage.connectRaw(port)).read().send('1');
      await peer.texts.reaches(1);
      await listener.do('closeReactor');
      peer.send('2');
      expect(await peer.texts.reaches(2)).to.deep.equal(['a1', 'b2']);
      const newcomer = (await stage.connectRaw(port)).read().send('3');
      expect(await newcomer.texts.reaches(1)).to.deep.equal(['b3']);
      expect(other.log('connection').entries.map(({ handedOver }) => handedOver)).to.deep.equal([true, false]);
      await other.do('closeServer', server, 0);
    });

    it('and its server is closed if there is none', async () => {
      const thread = await AppThread.attached(own, stage.reactor.handle);
      const { port } = await thread.do('listen', {});
      const peer = (await stage.connectRaw(port)).read();
      await thread.log('connection').reaches(1);
      void peer.ended.then(() => peer.end());
      await thread.do('closeReactor');
      await peer.ended;
      expect(thread.log('close').entries.map(({ reason }) => reason)).to.deep.equal(['server-close']);
      expect(thread.log('closed').entries).to.have.length(1);
      expect(await rejection(stage.connectRaw(port))).to.have.property('code', 'ECONNREFUSED');
    });

    it('and its subscription passes on what it has not handled', async () => {
      const server = await stage.listen({ dispatch: 'balance' });
      const thread = await AppThread.subscribed(own, server, { on: { 1: 'pause' } });
      const peer = (await stage.connectRaw(server.address.port)).send('1', '2', '3');
      await thread.texts(1);
      const heir = await AppThread.subscribed(own, server);
      await thread.do('closeReactor');
      expect(await heir.texts(2)).to.deep.equal(['2', '3']);
      expect(thread.log('message').entries).to.have.length(1);
      peer.socket.destroy();
    });

    it('and a connection that it has only by its id is closed for it, so that nothing is sent into the void', async () => {
      const { connection, peer } = await stage.accepted();
      const thread = await AppThread.attached(own, stage.reactor.handle);
      expect(await thread.do('state', connection.id)).to.equal('open');
      await thread.do('closeReactor');
      expect(await thread.do('state', connection.id)).to.equal('closed');
      expect(await thread.do('send', connection.id, 'too late')).to.equal(false);
      expect(await thread.do('ready', connection.id)).to.equal(false);
      expect((await rejection(thread.do('flush', connection.id))).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
      expect(connection.state).to.equal('open');
      peer.read();
      connection.send('on time');
      expect(await peer.texts.reaches(1)).to.deep.equal(['on time']);
    });

    it('and can attach again', async () => {
      const { connection, peer } = await stage.accepted();
      const thread = await AppThread.attached(own, stage.reactor.handle);
      await thread.do('closeReactor');
      expect(await thread.do('attach', stage.reactor.handle)).to.equal(false);
      expect(await thread.do('send', connection.id, 'back')).to.equal(true);
      expect(await peer.read().texts.reaches(1)).to.deep.equal(['back']);
    });
  });

  it("its part with destroy(): its connections close with 'reactor-close' there, its client's end", async () => {
    const server = await stage.listen();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const [id, far] = await Promise.all([thread.do('connect', server.address.port), nextConnection(server)]);
    const end = closed(far);
    await thread.do('destroyReactor');
    expect(await thread.log('close').reaches(1)).to.deep.equal([{ id, reason: 'reactor-close' }]);
    await end;
    expect(await rejection(thread.do('listen', {}))).to.have.property('code', 'ERR_REACTOR_CLOSED');
  });
});

describe('the end of a server or a reactor, in all threads', () => {
  const stage = scene();
  const own = props();

  /** Follows the other side's end with its own. */
  async function politePeer(port: number): Promise<RawPeer> {
    const peer = (await own.connectRaw(port)).read();
    void peer.ended.then(() => peer.end());
    return peer;
  }

  for (const way of ['close', 'destroy'] as const) {
    it(`is 'reactor-close' for connections and 'close' for servers when the spawner calls ${way}()`, async () => {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
      const threads = [await AppThread.subscribed(own, server), await AppThread.subscribed(own, server)];
      await politePeer(server.address.port);
      await politePeer(server.address.port);
      const ids: number[] = [];
      for (const thread of threads) {
        const [connection] = await thread.log('connection').reaches(1);
        ids.push(connection?.id ?? 0);
      }
      if (way === 'close') await reactor.close();
      else reactor.destroy();
      for (const [index, thread] of threads.entries()) {
        const closes = await thread.log('close').reaches(1);
        expect(closes).to.deep.equal([{ id: ids[index], reason: 'reactor-close' }]);
        expect(await thread.log('closed').reaches(1)).to.deep.equal([{ server: server.id }]);
        expect(await thread.do('state', ids[index] as number)).to.equal('closed');
      }
    });
  }

  it('comes with server.close() from a thread that is not subscribed', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const subscriber = await AppThread.subscribed(own, server);
    const closer = await AppThread.attached(own, stage.reactor.handle);
    await politePeer(server.address.port);
    await subscriber.log('connection').reaches(1);
    const told = new Promise<void>((resolve) => server.once('close', () => resolve()));
    await closer.do('closeServer', server.id, 5000);
    expect((await subscriber.log('close').reaches(1))[0]?.reason).to.equal('server-close');
    expect(await subscriber.log('closed').reaches(1)).to.deep.equal([{ server: server.id }]);
    await told;
    expect(await rejection(own.connectRaw(server.address.port))).to.have.property('code', 'ECONNREFUSED');
    const error = await rejection(closer.do('subscribe', server.id));
    expect(error.code).to.equal('ERR_REACTOR_NO_SUCH_SERVER');
  });

  for (const way of ['server', 'reactor'] as const) {
    it(`cuts what a thread has paused when the time of ${way}.close() is up, and tells it what it had not taken`, async () => {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
      const thread = await AppThread.subscribed(own, server, { on: { pause: 'pause' } });
      (await own.connectRaw(server.address.port)).read().send('pause', '1', '2', '3');
      await thread.texts(1);
      const report = way === 'server' ? await server.close({ drainMs: 50 }) : await reactor.close({ timeoutMs: 50 });
      expect(report).to.deep.include({ connections: 1, cut: 1 });
      const [close] = await thread.log('close').reaches(1);
      expect(close).to.deep.include({ reason: `${way}-close`, unread: 3 });
      expect(await thread.texts(1)).to.deep.equal(['pause']);
    });
  }

  it('leaves to a thread what had closed before; it hears of that when it ends its own part', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { pause: 'pause' } });
    const peer = (await own.connectRaw(server.address.port)).read().send('pause', '1', '2', '3');
    await thread.texts(1);
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    peer.reset();
    // A connection that is not read notices it when something is sent.
    await until(() => {
      reactor.connection(id).send('are you there?');
      return reactor.stats().openConnections === 0;
    });
    await server.close();
    await thread.log('closed').reaches(1);
    expect(thread.log('close').entries).to.deep.equal([]);
    await thread.do('closeReactor');
    const [close] = await thread.log('close').reaches(1);
    expect(close).to.deep.include({ reason: 'peer-reset', unread: 3 });
  });

  it('waits for what the subscribers have still to handle and to answer', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { 1: 'sleep' }, echo: 're ' });
    const peer = await politePeer(server.address.port);
    peer.send('1', '2', '3');
    await thread.texts(1);
    const closing = server.close();
    thread.open();
    await closing;
    expect(peer.texts.entries).to.deep.equal(['re 1', 're 2', 're 3']);
    expect((await thread.log('close').reaches(1))[0]?.reason).to.equal('server-close');
  });
});
