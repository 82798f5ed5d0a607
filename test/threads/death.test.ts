import { expect } from 'chai';
import { closed, nextConnection, texts, until } from '../fixtures/events.js';
import { frame, HELLO, type RawPeer } from '../fixtures/raw-peer.js';
import { footprint } from '../fixtures/scenario-tools.js';
import { pattern, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';
import { type Manner, summary } from '../fixtures/thread-reports.js';

const MIB = 1024 * 1024;

/** How a thread comes to its end. */
const ways: Record<string, (thread: AppThread) => Promise<unknown> | unknown> = {
  'terminate()': (thread) => thread.kill(),
  'process.exit()': (thread) => void thread.do('exit'),
  'an uncaught exception': (thread) => void thread.do('throwLater'),
};

describe('the death of a thread', () => {
  const stage = scene();
  const own = props();

  /** Resolves when the io worker has taken note. */
  async function dies(thread: AppThread, how: (thread: AppThread) => Promise<unknown> | unknown): Promise<void> {
    const { endedThreads } = stage.reactor.stats();
    await how(thread);
    await thread.exited;
    await until(() => stage.reactor.stats().endedThreads > endedThreads);
    expect(stage.reactor.stats().endedThreads).to.equal(endedThreads + 1);
  }

  /** A connection that a thread gets, while another one is ready to take over. */
  async function start(manner: Manner): Promise<{ first: AppThread; second: AppThread; peer: RawPeer; id: number }> {
    const server = await stage.listen({ dispatch: 'balance' });
    const first = await AppThread.subscribed(own, server, manner);
    const peer = await stage.connectRaw(server.address.port);
    const [{ id } = { id: 0 }] = await first.log('connection').reaches(1);
    const second = await AppThread.subscribed(own, server);
    return { first, second, peer, id };
  }

  async function received(id: number, messages: number): Promise<void> {
    await until(() => stage.reactor.connection(id).messagesReceived === messages);
  }

  for (const [way, how] of Object.entries(ways)) {
    describe(`by ${way}`, () => {
      it("closes its clients' connections as 'orphaned', and is counted", async () => {
        const raw = await stage.listenRaw();
        const thread = await AppThread.attached(own, stage.reactor.handle);
        const watcher = await AppThread.attached(own, stage.reactor.handle);
        const id = await thread.do('connect', raw.port);
        await watcher.do('watch', id);
        await dies(thread, how);
        expect(await watcher.log('close').reaches(1)).to.deep.equal([{ id, reason: 'orphaned' }]);
        await (await raw.first()).read().gone;
        expect(stage.reactor.connection(id).state).to.equal('closed');
        const { threads } = stage.reactor.stats();
        expect(threads.map(({ threadId }) => threadId)).not.to.include(thread.threadId);
      });

      it('hands its connections over: what it has finished does not come again', async () => {
        const { first, second, peer, id } = await start({ on: { '2': 'pause' } });
        peer.send('1', '2', '3', '4');
        await first.texts(2);
        await received(id, 4);
        // The two that wait have gone through the thread's queue.
        await first.do('flush', id);
        await dies(first, how);
        const got = await second.log('message').reaches(2);
        expect(got).to.deep.equal(['3', '4'].map((text) => ({ id, text, redelivered: true })));
        expect(second.log('connection').entries).to.deep.equal([{ id, handedOver: true }]);
        peer.send('5');
        expect((await second.log('message').reaches(3))[2]).to.deep.equal({ id, text: '5', redelivered: false });
      });

      it('has what it has paused read again', async () => {
        const { connection, peer } = await stage.accepted();
        const received = texts(connection);
        const thread = await AppThread.attached(own, stage.reactor.handle);
        await thread.do('pause', connection.id);
        await thread.do('flush', connection.id);
        peer.send('waits');
        await dies(thread, how);
        expect(await received.reaches(1)).to.deep.equal(['waits']);
      });

      it('lets what it had sent leave, in order', async () => {
        const { connection, peer } = await stage.accepted();
        const thread = await AppThread.attached(own, stage.reactor.handle);
        await thread.do('sendMany', connection.id, 'n', 2000);
        await dies(thread, how);
        connection.send('behind');
        const got = await peer.read().texts.reaches(2001);
        expect(got).to.deep.equal([...Array.from({ length: 2000 }, (_, i) => `n${i}`), 'behind']);
      });
    });
  }

  for (const deed of ['spin', 'sleep'] as const) {
    it(`inside a handler that does not return (${deed}) has its message redelivered`, async () => {
      const { first, second, peer, id } = await start({ on: { '2': deed } });
      peer.send('1', '2', '3');
      await first.texts(2);
      await received(id, 3);
      // Behind what the thread can have in hand.
      peer.send('4');
      await received(id, 4);
      await dies(first, (thread) => thread.kill());
      const got = await second.log('message').reaches(3);
      expect(got.map(({ text }) => text)).to.deep.equal(['2', '3', '4']);
      expect(got[0]?.redelivered).to.equal(true);
    });
  }

  it('of a handler that throws does not have its message redelivered, but those behind it', async () => {
    const { first, second, peer, id } = await start({ on: { '2': 'throw' } });
    peer.send('1', '2', '3', '4');
    await first.exited;
    await received(id, 4);
    expect(await second.texts(2)).to.deep.equal(['3', '4']);
    peer.send('last');
    expect(await second.texts(3)).to.deep.equal(['3', '4', 'last']);
    expect(first.failure?.message).to.equal('thrown by a handler');
  });

  it('in an iteration has the message at work redelivered', async () => {
    const { first, second, peer, id } = await start({ takes: 'iteration', on: { '2': 'hold' } });
    peer.send('1', '2', '3');
    await first.texts(2);
    await received(id, 3);
    await dies(first, (thread) => thread.kill());
    const got = await second.log('message').reaches(2);
    expect(got).to.deep.equal(['2', '3'].map((text) => ({ id, text, redelivered: true })));
  });

  it('in the middle of a message of several MiB has it delivered whole', async () => {
    const { first, second, peer, id } = await start({});
    const large = pattern(5 * MIB, 5);
    const bytes = frame(large);
    peer.send('1').write(bytes.subarray(0, 2 * MIB));
    await first.texts(1);
    await until(() => stage.reactor.connection(id).bytesReceived > 2 * MIB);
    await first.do('flush', id);
    await dies(first, (thread) => thread.kill());
    peer.write(bytes.subarray(2 * MIB)).send('2');
    const got = await second.log('message').reaches(2);
    expect(got.map(({ text }) => text)).to.deep.equal([summary(large), '2']);
  });

  it('in a paused connection with more than its event ring holds loses nothing', async () => {
    const { first, second, peer, id } = await start({ on: { m0: 'sleep' } });
    const bodies = Array.from({ length: 3000 }, (_, i) =>
      i % 100 === 99 ? pattern(100_000, i) : Buffer.from(`m${i}`),
    );
    peer.send(...bodies);
    await first.texts(1);
    await until(() => stage.reactor.connection(id).messagesReceived > 1000);
    await dies(first, (thread) => thread.kill());
    const got = await second.texts(3000);
    expect(got).to.deep.equal(bodies.map(summary));
  });

  it('leaves neither bytes nor credit of a large message that it had begun to send', async () => {
    const { connection, peer } = await stage.accepted({ highWaterMark: 32 * MIB });
    for (let round = 0; round < 5; round++) {
      const thread = await AppThread.attached(own, stage.reactor.handle);
      // Much more than its ring holds: it dies before the rest has found room.
      await dies(thread, (of) => void of.do('sendAndExit', connection.id, Buffer.alloc(15 * MIB, 'torn')));
    }
    connection.send('whole');
    peer.read();
    await connection.flush();
    await until(() => connection.bufferedAmount === 0);
    expect(connection.send('and on')).to.equal(true);
    const got = await peer.texts.reaches(2);
    expect(got.map((text) => text.slice(0, 100))).to.deep.equal(['whole', 'and on']);
    expect(connection.state).to.equal('open');
  });

  it('does not disturb the traffic of others', async () => {
    const server = await stage.listen();
    server.on('message', (connection, data) => void connection.send(data));
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    peer.read();
    let sent = 0;
    for (const how of [...Object.values(ways), ...Object.values(ways)]) {
      const thread = await AppThread.attached(own, stage.reactor.handle);
      await thread.do('sendMany', connection.id, 'from a thread ', 10);
      const dead = dies(thread, how);
      for (let i = 0; i < 100; i++) peer.send(`${sent++}`);
      await dead;
    }
    await until(() => peer.texts.entries.length === sent + 60);
    const echoes = peer.texts.entries.filter((text) => !text.startsWith('from'));
    expect(echoes).to.deep.equal(Array.from({ length: sent }, (_, i) => `${i}`));
  });

  it('leaves its memory to those that come later', async () => {
    const ringBytes = 8 * MIB;
    const reactor = await own.spawn({ maxConnections: 64, eventRingBytes: ringBytes, commandRingBytes: ringBytes });
    const comeAndGo = async (deaths: number): Promise<void> => {
      while (reactor.stats().endedThreads < deaths) {
        const { endedThreads } = reactor.stats();
        const thread = await AppThread.attached(own, reactor.handle);
        await thread.kill();
        await until(() => reactor.stats().endedThreads > endedThreads);
      }
    };
    await comeAndGo(4);
    const before = await footprint();
    await comeAndGo(12);
    const after = await footprint();
    expect(after.addressSpace - before.addressSpace, 'bytes of address space').to.be.below(6 * ringBytes);
  });

  it('with messages of many connections in hand passes all of them on', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const first = await AppThread.subscribed(own, server, { takes: 'nothing' });
    const peers: RawPeer[] = [];
    for (let i = 0; i < 200; i++) peers.push((await stage.connectRaw(server.address.port)).send(`a${i}`, `b${i}`));
    const ids = (await first.log('connection').reaches(200)).map(({ id }) => id);
    for (const id of ids) await received(id, 2);
    const heirs = await Promise.all([1, 2].map(() => AppThread.subscribed(own, server)));
    await dies(first, (thread) => thread.kill());
    await until(() => heirs.every((heir) => heir.log('message').entries.length === 200));
    const got = heirs.flatMap((heir) => heir.log('message').entries.map(({ text }) => text));
    expect(got.sort()).to.deep.equal(peers.flatMap((_, i) => [`a${i}`, `b${i}`]).sort());
  });

  it('without a successor holds its connections, sockets unread, for the next one', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const first = await AppThread.subscribed(own, server, { on: { '1': 'sleep' } });
    const peer = (await stage.connectRaw(server.address.port)).send('1', '2');
    const [{ id } = { id: 0 }] = await first.log('connection').reaches(1);
    await first.texts(1);
    await received(id, 2);
    await dies(first, (thread) => thread.kill());
    expect(stage.reactor.stats().heldConnections).to.equal(1);
    peer.send('3');
    const second = await AppThread.subscribed(own, server);
    expect(await second.texts(3)).to.deep.equal(['1', '2', '3']);
    expect(second.log('message').entries[0]?.redelivered).to.equal(true);
    expect(second.log('message').entries[2]?.redelivered).to.equal(false);
  });

  it("tells the successor of a 'close' that the dead thread had not heard of", async () => {
    const { first, second, peer, id } = await start({ on: { '1': 'sleep' } });
    peer.send('1', '2');
    await first.texts(1);
    await received(id, 2);
    const end = closed(stage.reactor.connection(id));
    peer.reset();
    await end;
    await dies(first, (thread) => thread.kill());
    expect(await second.log('close').reaches(1)).to.deep.equal([{ id, reason: 'peer-reset' }]);
    expect(await second.texts(2)).to.deep.equal(['1', '2']);
  });

  it('lets what it had sent on its own connections leave first, although the peer is slow', async () => {
    const raw = await stage.listenRaw();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const id = await thread.do('connect', raw.port);
    const peer = await raw.first();
    const end = closed(stage.reactor.connection(id));
    const [messages, bytes] = [120, 100_000];
    for (let i = 0; i < messages; i++) await thread.do('send', id, Buffer.alloc(bytes, i));
    // More than the kernel's buffers take. The io worker has all of it when it has got to what is behind it in the ring.
    await thread.do('flush', (await stage.accepted()).connection.id);
    expect(stage.reactor.connection(id).bufferedAmount).to.be.above(0);
    await dies(thread, (each) => each.kill());
    void peer.ended.then(() => peer.end());
    await peer.count().ended;
    expect(peer.received).to.equal(HELLO.length + messages * frame(Buffer.alloc(bytes)).length);
    expect((await end).reason).to.equal('orphaned');
  });
});
