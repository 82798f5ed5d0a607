import { expect } from 'chai';
import type { ConnectionOptions, TcpServer } from '../../src/index.js';
import { Log, nextConnection, until, Watched } from '../fixtures/events.js';
import { frame, type RawPeer } from '../fixtures/raw-peer.js';
import { pattern, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';
import { type Manner, summary } from '../fixtures/thread-reports.js';

const MIB = 1024 * 1024;

interface Start {
  readonly server: TcpServer;
  readonly first: AppThread;
  readonly peer: RawPeer;
  readonly id: number;
}

describe('a connection that is handed over because its thread unsubscribes', () => {
  const stage = scene();
  const own = props();

  /** A connection whose events a thread gets. */
  async function start(manner: Manner, options: ConnectionOptions = {}): Promise<Start> {
    const server = await stage.listen({ dispatch: 'balance', ...options });
    const first = await AppThread.subscribed(own, server, manner);
    const peer = await stage.connectRaw(server.address.port);
    const [{ id } = { id: 0 }] = await first.log('connection').reaches(1);
    return { server, first, peer, id };
  }

  /** All messages that have been received are in the thread's ring, and it has looked at them. */
  async function received({ first, id }: Start, messages: number): Promise<void> {
    await until(() => stage.reactor.connection(id).messagesReceived === messages);
    await first.do('flush', id);
  }

  /** The next thread gets `texts`, in order and only these, on the same connection, as if nobody had had them. */
  async function takesOver({ server, first, id }: Start, expected: string[], manner: Manner = {}): Promise<AppThread> {
    const second = await AppThread.subscribed(own, server, manner);
    await first.do('unsubscribe', server.id);
    await second.log('connection').reaches(1);
    const messages = await second.log('message').reaches(expected.length);
    expect(messages).to.deep.equal(expected.map((text) => ({ id, text, redelivered: false })));
    expect(second.log('connection').entries).to.deep.equal([{ id, handedOver: true }]);
    expect(await first.do('connectionCount', server.id)).to.equal(0);
    return second;
  }

  const kinds: Record<string, ConnectionOptions> = {
    "with codec 'frame'": {},
    "with messages: 'borrow'": { messages: 'borrow' },
  };
  for (const [name, options] of Object.entries(kinds)) {
    describe(name, () => {
      it('takes along what waits in a paused connection', async () => {
        const begun = await start({ on: { '2': 'pause' } }, options);
        begun.peer.send('1', '2', '3', '4');
        expect(await begun.first.texts(2)).to.deep.equal(['1', '2']);
        await received(begun, 4);
        const second = await takesOver(begun, ['3', '4']);
        begun.peer.send('5');
        expect(await second.texts(3)).to.deep.equal(['3', '4', '5']);
        expect(begun.first.log('message').entries).to.have.length(2);
      });

      it('takes along what nobody has listened for', async () => {
        const begun = await start({ takes: 'nothing' }, options);
        begun.peer.send('1', '2');
        await received(begun, 2);
        await takesOver(begun, ['1', '2']);
      });

      it('lets an iteration finish with its message first', async () => {
        const begun = await start({ takes: 'iteration', on: { '2': 'hold' } }, options);
        begun.peer.send('1', '2', '3', '4');
        await begun.first.texts(2);
        await received(begun, 4);
        const second = await AppThread.subscribed(own, begun.server);
        const left = begun.first.do('unsubscribe', begun.server.id);
        // The request has been there and the answer has not come: the thread is at work on '2'.
        await begun.first.do('caughtUp', begun.id);
        expect(second.log('connection').entries).to.deep.equal([]);
        begun.first.open();
        await left;
        expect(await second.texts(2)).to.deep.equal(['3', '4']);
        expect(await begun.first.log('end').reaches(1)).to.have.length(1);
        expect(begun.first.log('message').entries.map(({ text }) => text)).to.deep.equal(['1', '2']);
      });

      it('takes along a large message of which a part has come', async () => {
        const begun = await start({}, options);
        const large = pattern(5 * MIB, 3);
        const bytes = frame(large);
        begun.peer.send('1').write(bytes.subarray(0, 2 * MIB));
        await begun.first.texts(1);
        await until(() => stage.reactor.connection(begun.id).bytesReceived > 2 * MIB);
        await begun.first.do('flush', begun.id);
        const second = await AppThread.subscribed(own, begun.server);
        await begun.first.do('unsubscribe', begun.server.id);
        begun.peer.write(bytes.subarray(2 * MIB)).send('2');
        expect(await second.texts(2)).to.deep.equal([summary(large), '2']);
        expect(begun.first.log('message').entries).to.have.length(1);
      });

      it('takes along large messages that wait, and is read on', async () => {
        const begun = await start({ pause: true }, options);
        const bodies = [pattern(3 * MIB, 1), Buffer.from('small'), pattern(2 * MIB, 2), pattern(70_000, 3)];
        begun.peer.send(...bodies);
        await until(() => stage.reactor.stats().readPauses > 0);
        await takesOver(begun, bodies.map(summary));
      });

      it('keeps order, loses nothing and doubles nothing when it is passed on and on under load', async () => {
        const begun = await start({}, options);
        const threads = [begun.first];
        const all = new Log<string>();
        const count = 40_000;
        const sending = (async () => {
          for (let i = 0; i < count; i += 400) {
            begun.peer.send(...Array.from({ length: 400 }, (_, j) => `${i + j}`));
            await until(() => begun.peer.socket.writableLength < 64 * 1024);
          }
        })();
        for (let round = 0; round < 5; round++) {
          const next = await AppThread.subscribed(own, begun.server);
          await threads.at(-1)?.do('unsubscribe', begun.server.id);
          threads.push(next);
        }
        await sending;
        const taken = (): number => threads.reduce((sum, thread) => sum + thread.log('message').entries.length, 0);
        await until(() => taken() >= count);
        for (const thread of threads) for (const { text } of thread.log('message').entries) all.add(text);
        expect(all.entries).to.deep.equal(Array.from({ length: count }, (_, i) => `${i}`));
        const marked = threads.flatMap((thread) => thread.log('message').entries.filter((each) => each.redelivered));
        expect(marked).to.deep.equal([]);
      });
    });
  }

  it("takes along every byte with codec 'raw'", async () => {
    const begun = await start({ on: { 'two ': 'pause' } }, { codec: 'raw' });
    const words = ['one ', 'two ', 'three ', 'four '];
    for (const [index, word] of words.entries()) {
      begun.peer.write(Buffer.from(word));
      await until(() => stage.reactor.connection(begun.id).messagesReceived === index + 1 || index > 1);
    }
    await begun.first.texts(2);
    const second = await AppThread.subscribed(own, begun.server);
    await begun.first.do('unsubscribe', begun.server.id);
    await until(
      () =>
        second
          .log('message')
          .entries.map(({ text }) => text)
          .join('') === 'three four ',
    );
    expect(await begun.first.texts(2)).to.deep.equal(['one ', 'two ']);
  });

  it('from within the handler of a message: what is behind it goes to the next thread', async () => {
    const begun = await start({ on: { '2': 'unsubscribe' }, echo: 'first ' });
    const second = await AppThread.subscribed(own, begun.server, { echo: 'second ' });
    begun.peer.read().send('1', '2');
    await begun.peer.texts.reaches(2);
    await second.log('connection').reaches(1);
    begun.peer.send('3');
    expect(await begun.peer.texts.reaches(3)).to.deep.equal(['first 1', 'first 2', 'second 3']);
  });

  it("takes along the peer's end that has come before", async () => {
    const begun = await start({ on: { '1': 'pause' } });
    begun.peer.read().send('1', '2').end();
    await begun.first.texts(1);
    await received(begun, 2);
    const second = await takesOver(begun, ['2'], {});
    expect(await second.log('end').reaches(1)).to.deep.equal([{ id: begun.id }]);
    expect(await second.log('close').reaches(1)).to.deep.equal([{ id: begun.id, reason: 'peer-end' }]);
    await begun.peer.ended;
    expect(begun.first.log('end').entries).to.deep.equal([]);
    expect(begun.first.log('close').entries).to.deep.equal([]);
  });

  it("takes along the peer's end from an iteration: the next thread can still answer", async () => {
    const { server, first, peer, id } = await start({ takes: 'iteration', on: { '1': 'hold' } });
    const other = await stage.accepted();
    peer.read().send('1', '2').end();
    await first.texts(1);
    await until(() => stage.reactor.connection(id).messagesReceived === 2);
    const left = first.do('unsubscribe', server.id);
    await first.do('caughtUp', other.connection.id);
    first.open();
    await left;
    await first.do('caughtUp', other.connection.id);
    const second = await AppThread.subscribed(own, server, { echo: 're ' });
    expect(await second.log('close').reaches(1)).to.deep.equal([{ id, reason: 'peer-end' }]);
    expect(await second.texts(1)).to.deep.equal(['2']);
    await peer.ended;
    expect(peer.texts.entries).to.deep.equal(['re 2']);
  });

  it("gets the peer's end that comes behind", async () => {
    const begun = await start({ on: { '1': 'pause' } });
    begun.peer.read().send('1', '2');
    await begun.first.texts(1);
    await received(begun, 2);
    const second = await takesOver(begun, ['2']);
    begun.peer.end();
    expect(await second.log('close').reaches(1)).to.deep.equal([{ id: begun.id, reason: 'peer-end' }]);
  });

  it("is told 'close' in the next thread when it closes while it is held, behind its messages", async () => {
    const { server, first, peer, id } = await start({ on: { '1': 'pause' } });
    peer.send('1', '2');
    await first.texts(1);
    await received({ server, first, peer, id }, 2);
    await first.do('unsubscribe', server.id);
    await until(() => stage.reactor.stats().heldConnections === 1);
    stage.reactor.connection(id).destroy();
    await peer.read().gone;
    const second = await AppThread.subscribed(own, server);
    expect(await second.log('close').reaches(1)).to.deep.equal([{ id, reason: 'local-destroy' }]);
    expect(await second.texts(1)).to.deep.equal(['2']);
    expect(stage.reactor.stats().heldConnections).to.equal(0);
    expect(first.log('close').entries).to.deep.equal([]);
  });

  for (const [when, flushes] of [
    ['while it leaves', false],
    ['while it leaves, also if the first thread has waited for something on it', true],
  ] as const) {
    it(`is told 'close' in the next thread only when it closes ${when}`, async () => {
      const begun = await start({ takes: 'iteration', on: { '1': 'hold' } });
      const { server, first, peer, id } = begun;
      const other = await stage.accepted();
      peer.send('1', '2');
      await first.texts(1);
      await until(() => stage.reactor.connection(id).messagesReceived === 2);
      if (flushes) await first.do('flush', id);
      const second = await AppThread.subscribed(own, server);
      const left = first.do('unsubscribe', server.id);
      await first.do('caughtUp', other.connection.id);
      stage.reactor.connection(id).destroy();
      await peer.read().gone;
      await first.do('caughtUp', other.connection.id);
      first.open();
      await left;
      expect(await second.log('close').reaches(1)).to.deep.equal([{ id, reason: 'local-destroy' }]);
      expect(await second.texts(1)).to.deep.equal(['2']);
      expect(first.log('close').entries).to.deep.equal([]);
    });
  }

  it('and back: flush() of each object is for what was sent before it', async () => {
    const server = await stage.listen({ highWaterMark: 32 * MIB });
    const [first, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    const thread = await AppThread.subscribed(own, server);
    await server.unsubscribe();
    await thread.log('connection').reaches(1);
    const back = nextConnection(server);
    await server.subscribe();
    await thread.do('unsubscribe', server.id);
    const second = await back;
    first.send('small');
    const early = first.flush();
    for (let i = 0; i < 30; i++) second.send(Buffer.alloc(MIB));
    const late = new Watched(second.flush());
    await early;
    await stage.settle();
    expect(late.state).to.equal('pending');
    peer.count();
    await late.promise;
    expect(second.bufferedAmount).to.equal(0);
  });

  it("tells a thread that leaves of 'close' when it watches the connection, too", async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const other = await stage.accepted();
    const before = await AppThread.subscribed(own, server);
    const peer = (await stage.connectRaw(server.address.port)).read();
    const [{ id } = { id: 0 }] = await before.log('connection').reaches(1);
    const watcher = await AppThread.attached(own, stage.reactor.handle);
    await watcher.do('watch', id);
    await watcher.do('subscribe', server.id, { takes: 'iteration', on: { '1': 'hold' } });
    await before.do('unsubscribe', server.id);
    peer.send('1');
    await watcher.texts(1);
    const left = watcher.do('unsubscribe', server.id);
    await watcher.do('caughtUp', other.connection.id);
    stage.reactor.connection(id).destroy();
    await peer.gone;
    watcher.open();
    await left;
    expect(await watcher.log('close').reaches(1)).to.deep.equal([{ id, reason: 'local-destroy' }]);
  });

  it('leaves the first thread able to send on it', async () => {
    const begun = await start({ echo: 'first ' });
    begun.peer.read().send('1');
    await begun.peer.texts.reaches(1);
    await takesOver(begun, []);
    await begun.first.do('send', begun.id, 'from the first');
    expect(await begun.peer.texts.reaches(2)).to.deep.equal(['first 1', 'from the first']);
  });

  it("and back: the objects of both times hear 'close', and both can flush()", async () => {
    const { server, connection: first, peer } = await stage.accepted();
    const thread = await AppThread.subscribed(own, server);
    const closes = new Log<string>();
    first.on('close', (reason) => closes.add(`first ${reason}`));
    await server.unsubscribe();
    await thread.log('connection').reaches(1);
    const back = nextConnection(server);
    await server.subscribe();
    await thread.do('unsubscribe', server.id);
    const second = await back;
    expect(second).not.to.equal(first);
    expect(second.id).to.equal(first.id);
    second.on('close', (reason) => closes.add(`second ${reason}`));
    await thread.do('subscribe', server.id);
    await server.unsubscribe();
    await thread.log('connection').reaches(2);
    // This thread has two objects of a connection that another one gets.
    first.send('from the first');
    second.send('from the second');
    await Promise.all([first.flush(), second.flush()]);
    expect(await peer.read().texts.reaches(2)).to.deep.equal(['from the first', 'from the second']);
    peer.end();
    expect([...(await closes.reaches(2))].sort()).to.deep.equal(['first peer-end', 'second peer-end']);
  });

  it('is what unsubscribe() waits for, also when it is called a second time', async () => {
    const { server, connection, peer } = await stage.accepted();
    const thread = await AppThread.subscribed(own, server);
    let letGo = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const taken = new Log<string>();
    const iteration = (async () => {
      for await (const data of connection) {
        taken.add(data.toString());
        await held;
      }
    })();
    peer.send('1', '2');
    await taken.reaches(1);
    const left = [new Watched(server.unsubscribe()), new Watched(server.unsubscribe())];
    await stage.settle();
    expect(left.map(({ state }) => state)).to.deep.equal(['pending', 'pending']);
    letGo();
    await left[1]?.promise;
    expect(server.connectionCount).to.equal(0);
    await left[0]?.promise;
    await iteration;
    expect(await thread.texts(1)).to.deep.equal(['2']);
    expect(taken.entries).to.deep.equal(['1']);
  });
});
