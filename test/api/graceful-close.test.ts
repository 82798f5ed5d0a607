import { expect } from 'chai';
import type { Reactor, TcpConnection, TcpServer } from '../../src/index.js';
import {
  type Closed,
  closed,
  Log,
  next,
  nextConnection,
  texts,
  until,
  untilWithoutYielding,
  Watched,
} from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, readModes } from '../fixtures/scene.js';

const MIB = 1024 * 1024;

interface Stage {
  readonly reactor: Reactor;
  readonly server: TcpServer;
  readonly connection: TcpConnection;
  readonly peer: RawPeer;
}

/** The two that end connections of a server gracefully, and the reason that each gives. */
const closers = [
  {
    call: 'server.close()',
    reason: 'server-close',
    close: ({ server }: Stage, ms?: number) => server.close(ms === undefined ? {} : { drainMs: ms }),
  },
  {
    call: 'reactor.close()',
    reason: 'reactor-close',
    close: ({ reactor }: Stage, ms?: number) => reactor.close(ms === undefined ? {} : { timeoutMs: ms }),
  },
] as const;

/** Ends its side when the other side has ended. */
function polite(peer: RawPeer): RawPeer {
  void peer.ended.then(() => peer.end());
  return peer.read();
}

for (const { name, options } of readModes) {
  for (const { call, reason, close } of closers) {
    describe(`${call}, ${name}`, () => {
      const own = props();

      async function accepted(settings = {}): Promise<Stage> {
        const reactor = await own.spawn(options);
        const server = await reactor.listen({ host: HOST, port: 0, ...settings });
        const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
        return { reactor, server, connection, peer };
      }

      it(`lets the handlers have what was received before, and their answers arrive before the FIN`, async () => {
        const stage = await accepted();
        const { server, connection, peer } = stage;
        const handled: string[] = [];
        server.on('message', (_connection, data) => {
          handled.push(data.toString());
          connection.send(`answer ${data.toString()}`);
        });
        const end = closed(connection);
        polite(peer).send('1', '2', '3');
        // All of it has been received, none of it has been handled, when close() is called.
        untilWithoutYielding(() => connection.messagesReceived === 3);
        expect(handled).to.deep.equal([]);
        await close(stage);
        expect(handled).to.deep.equal(['1', '2', '3']);
        await peer.closed;
        expect(peer.texts.entries).to.deep.equal(['answer 1', 'answer 2', 'answer 3']);
        expect(await end).to.deep.equal({ reason, detail: { unsentBytes: 0, unreadMessages: 0 } });
      });

      it('sends everything that was sent before it, however much', async () => {
        const stage = await accepted({ highWaterMark: 32 * MIB });
        const { connection, peer } = stage;
        for (let i = 0; i < 24; i++) connection.send(Buffer.alloc(MIB));
        const end = closed(connection);
        void peer.count().ended.then(() => peer.end());
        await close(stage);
        await peer.closed;
        expect(peer.received).to.equal(22 + 24 * (MIB + 6));
        expect(await end).to.deep.equal({ reason, detail: { unsentBytes: 0, unreadMessages: 0 } });
      });

      it('cuts a peer that never reads after the given time, and tells how much it did not get', async () => {
        const stage = await accepted({ highWaterMark: 32 * MIB });
        const { connection } = stage;
        for (let i = 0; i < 24; i++) connection.send(Buffer.alloc(MIB));
        const end = closed(connection);
        await close(stage, 50);
        const { reason: why, detail } = await end;
        expect(why).to.equal(reason);
        expect(detail.unsentBytes).to.be.within(8 * MIB, 24 * (MIB + 6));
      });

      it('cuts a peer that never ends its side after the given time', async () => {
        const stage = await accepted();
        const { connection, peer } = stage;
        connection.send('all there is');
        const end = closed(connection);
        await close(stage, 50);
        expect(await end).to.deep.equal({ reason, detail: { unsentBytes: 0, unreadMessages: 0 } });
        await peer.read().ended;
        expect(peer.texts.entries).to.deep.equal(['all there is']);
      });

      it('cuts everything at once with 0 ms', async () => {
        const stage = await accepted();
        const end = closed(stage.connection);
        await close(stage, 0);
        expect((await end).reason).to.equal(reason);
        await stage.peer.read().gone;
      });

      it('refuses new connections from the moment on that it has begun', async () => {
        const stage = await accepted();
        const { server, peer } = stage;
        const begun = peer.read().ended;
        const closing = close(stage);
        await begun;
        const late = await own.connectRaw(server.address.port).then(
          () => 'connected',
          (error: NodeJS.ErrnoException) => error.code,
        );
        expect(late).to.equal('ECONNREFUSED');
        peer.end();
        await closing;
      });

      it('leaves a port that can be listened on again right after', async () => {
        const stage = await accepted();
        const { port } = stage.server.address;
        polite(stage.peer);
        await close(stage);
        const reactor = await own.spawn(options);
        for (let round = 0; round < 5; round++) {
          const again = await reactor.listen({ host: HOST, port });
          const [, peer] = await Promise.all([nextConnection(again), own.connectRaw(port)]);
          polite(peer);
          await again.close();
        }
      });
    });
  }
}

for (const { call, reason, close } of closers) {
  describe(call, () => {
    const own = props();

    async function accepted(settings = {}): Promise<Stage> {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0, ...settings });
      const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      return { reactor, server, connection, peer };
    }

    it('refuses to send once the connection has been told to end', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      peer.read();
      const closing = close(stage);
      await peer.ended;
      expect(connection.state).to.equal('closing');
      expect(connection.send('too late')).to.equal(false);
      peer.end();
      await closing;
    });

    it('ends every connection, and each tells of it once', async () => {
      const stage = await accepted();
      const { reactor, server } = stage;
      const others = [];
      for (let i = 0; i < 20; i++) {
        others.push((await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]))[1]);
      }
      for (const peer of [stage.peer, ...others]) polite(peer);
      const reasons = new Log<string>();
      server.on('disconnect', (_connection, why) => reasons.add(why));
      expect(server.connectionCount).to.equal(21);
      await close(stage);
      expect(reasons.entries).to.deep.equal(Array.from({ length: 21 }, () => reason));
      expect(server.connectionCount).to.equal(0);
      expect(reactor.stats().connections).to.equal(0);
    });

    it('lets a peer finish what it is saying before it ends its side', async () => {
      const stage = await accepted();
      const { server, connection, peer } = stage;
      const heard = new Log<string>();
      server.on('message', (_connection, data) => heard.add(data.toString()));
      peer.read();
      const end = closed(connection);
      const closing = close(stage);
      await peer.ended;
      peer.send('one more thing').end();
      await closing;
      expect(heard.entries).to.deep.equal(['one more thing']);
      expect((await end).reason).to.equal(reason);
    });

    it('lets an iterating consumer finish with a message before its connection is shut down', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      const other = await own.spawn();
      const elsewhere = await other.listen({ host: HOST, port: 0 });
      elsewhere.on('message', (from, data) => void from.send(data));
      polite(peer).send('request');
      let closing: Promise<unknown> | undefined;
      let sent: boolean | undefined;
      for await (const data of connection) {
        closing = close(stage);
        // It takes its time: there and back again.
        const helper = await other.connect({ host: HOST, port: elsewhere.address.port });
        for (let round = 0; round < 5; round++) {
          const back = next(helper, 'message');
          helper.send('?');
          await back;
        }
        sent = connection.send(`answer to ${data.toString()}`);
      }
      await closing;
      await peer.closed;
      expect(sent).to.equal(true);
      expect(peer.texts.entries).to.deep.equal(['answer to request']);
    });

    it('cuts a paused connection after the given time, and tells how many messages had not been taken', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      const log = new Log<Closed>();
      connection.on('message', () => expect.fail('it has been paused'));
      connection.on('close', (why, detail) => log.add({ reason: why, detail }));
      polite(peer).send('never', 'handled');
      untilWithoutYielding(() => connection.messagesReceived === 2);
      connection.pause();
      await close(stage, 50);
      expect(log.entries).to.deep.equal([{ reason, detail: { unsentBytes: 0, unreadMessages: 2 } }]);
      expect(connection.state).to.equal('closed');
      expect(stage.server.connectionCount).to.equal(0);
    });

    it('gives a paused connection that is resumed in time what it has received', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      const log = texts(connection);
      const end = closed(connection);
      polite(peer).send('1', '2');
      untilWithoutYielding(() => connection.messagesReceived === 2);
      connection.pause();
      const closing = close(stage, 60_000);
      connection.resume();
      await closing;
      expect(log.entries).to.deep.equal(['1', '2']);
      expect(await end).to.deep.equal({ reason, detail: { unsentBytes: 0, unreadMessages: 0 } });
    });

    it('cuts a connection whose messages nobody takes only if it does not end by itself', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      const end = closed(connection);
      polite(peer).send('nobody listens');
      await until(() => connection.messagesReceived === 1);
      await close(stage);
      expect((await end).reason).to.equal(reason);
    });

    it('twice is the same as once, and waits for the first', async () => {
      const stage = await accepted();
      const first = new Watched(close(stage, 60_000));
      const second = new Watched(close(stage, 0));
      await stage.peer.read().ended;
      expect([first.state, second.state]).to.deep.equal(['pending', 'pending']);
      stage.peer.end();
      await Promise.all([first.promise, second.promise]);
      await close(stage);
    });

    it('may be called in a message handler, whose answer still arrives', async () => {
      const stage = await accepted();
      const { connection, peer } = stage;
      let closing: Promise<unknown> | undefined;
      connection.on('message', (data) => {
        closing = close(stage);
        connection.send(`bye, ${data.toString()}`);
      });
      polite(peer).send('peer');
      await peer.closed;
      await closing;
      expect(peer.texts.entries).to.deep.equal(['bye, peer']);
    });
  });
}

describe('server.close()', () => {
  const own = props();

  it('with no connections resolves at once, and with a wrong option rejects', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const error = await server.close({ drainMs: -1 }).catch((wrong: { code: string }) => wrong.code);
    expect(error).to.equal('ERR_REACTOR_INVALID_OPTION');
    // Not the 60 seconds that connections would have had.
    await server.close({ drainMs: 60_000 });
  });

  it('leaves other servers and clients of the reactor alone', async () => {
    const reactor = await own.spawn();
    const [doomed, stays] = await Promise.all([
      reactor.listen({ host: HOST, port: 0 }),
      reactor.listen({ host: HOST, port: 0 }),
    ]);
    stays.on('message', (connection, data) => void connection.send(data));
    const connection = await reactor.connect({ host: HOST, port: stays.address.port });
    const other = await reactor.connect({ host: HOST, port: doomed.address.port });
    const end = closed(other);
    await doomed.close();
    expect((await end).reason).to.equal('peer-end');
    const back = next<[Buffer]>(connection, 'message');
    connection.send('still here');
    expect((await back)[0].toString()).to.equal('still here');
  });

  it('`await using` closes it', async () => {
    const reactor = await own.spawn();
    let port: number;
    {
      await using server = await reactor.listen({ host: HOST, port: 0 });
      port = server.address.port;
    }
    const again = await reactor.listen({ host: HOST, port });
    expect(again.address.port).to.equal(port);
  });

  it('under way is cut short by a reactor.close() with less time', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const end = closed(connection);
    const closing = server.close({ drainMs: 60_000 });
    await reactor.close({ timeoutMs: 20 });
    await closing;
    expect((await end).reason).to.be.oneOf(['server-close', 'reactor-close']);
  });
});

describe('client.close()', () => {
  const own = props();

  it('lets its connections handle and send what they have, sends FIN, and leaves those of others alone', async () => {
    const reactor = await own.spawn();
    const raw = await own.listenRaw();
    const client = reactor.client();
    const connection = await client.connect({ host: HOST, port: raw.port });
    const other = await reactor.connect({ host: HOST, port: raw.port });
    const [peer] = (await raw.peers.reaches(2)) as [RawPeer, RawPeer];
    const handled: string[] = [];
    connection.on('message', (data) => {
      handled.push(data.toString());
      connection.send(`answer ${data.toString()}`);
    });
    // The connection has started when it has handled something.
    polite(peer).send('0');
    await peer.texts.reaches(1);
    peer.send('1', '2');
    untilWithoutYielding(() => connection.messagesReceived === 3);
    await client.close();
    await peer.closed;
    expect(handled).to.deep.equal(['0', '1', '2']);
    expect(peer.texts.entries).to.deep.equal(['answer 0', 'answer 1', 'answer 2']);
    expect(client.connectionCount).to.equal(0);
    expect(other.state).to.equal('open');
  });

  it('cuts a peer that never ends its side after drainMs', async () => {
    const reactor = await own.spawn();
    const raw = await own.listenRaw();
    const client = reactor.client({ highWaterMark: 32 * MIB });
    const connection = await client.connect({ host: HOST, port: raw.port });
    for (let i = 0; i < 24; i++) connection.send(Buffer.alloc(MIB));
    const end = closed(connection);
    await client.close({ drainMs: 50 });
    const { detail } = await end;
    expect(detail.unsentBytes).to.be.greaterThan(8 * MIB);
  });
});
