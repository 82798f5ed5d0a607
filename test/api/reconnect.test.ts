import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type {
  ConnectionInfo,
  ConnectOptions,
  ReactorError,
  Reconnecting,
  ReconnectOptions,
  TcpClient,
  TcpConnection,
  TcpServer,
} from '../../src/index.js';
import {
  causeCode,
  closed,
  Log,
  next,
  nextConnection,
  rejection,
  until,
  untilWithoutYielding,
} from '../fixtures/events.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const quick: ReconnectOptions = { minDelayMs: 10, maxDelayMs: 40, jitter: 0 };

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

describe('reconnect', () => {
  const stage = scene();
  const own = props();

  interface Told {
    readonly connections: Log<{ readonly connection: TcpConnection; readonly info: ConnectionInfo }>;
    readonly reconnecting: Log<Reconnecting>;
    readonly failed: Log<Error>;
  }

  function watch(client: TcpClient): Told {
    const told: Told = { connections: new Log(), reconnecting: new Log(), failed: new Log() };
    client.on('connection', (connection, info) => told.connections.add({ connection, info }));
    client.on('reconnecting', (what) => told.reconnecting.add(what));
    client.on('reconnectFailed', (error) => told.failed.add(error));
    return told;
  }

  /** A port that nobody listens on, and that the test may listen on later. */
  async function freePort(): Promise<number> {
    const server = await stage.reactor.listen({ host: HOST, port: 0 });
    const { port } = server.address;
    await server.close({ drainMs: 0 });
    return port;
  }

  it('connects again when the peer is gone, and says so on both events', async () => {
    const raw = await own.listenRaw();
    const client = stage.client({ reconnect: quick });
    const told = watch(client);
    const first = await client.connect({ host: HOST, port: raw.port });
    const end = closed(first);
    (await raw.first()).socket.resetAndDestroy();
    const { detail } = await end;
    expect(detail.reconnecting).to.equal(true);
    const [before, again] = await told.connections.reaches(2);
    expect([before?.info.reconnected, again?.info.reconnected]).to.deep.equal([false, true]);
    expect(again?.connection).to.not.equal(first);
    expect(again?.connection.id).to.not.equal(first.id);
    const [reconnecting] = told.reconnecting.entries;
    expect(reconnecting?.reason).to.be.oneOf(['peer-reset', 'peer-end']);
    expect(reconnecting?.attempt).to.equal(2);
    again?.connection.send('over the new one');
    const [, peer] = await raw.peers.reaches(2);
    expect(await peer?.read().texts.reaches(1)).to.deep.equal(['over the new one']);
    expect(stage.reactor.stats().reconnectAttempts).to.be.at.least(1);
  });

  it('tries until there is a first connection', async () => {
    const port = await freePort();
    const client = stage.client({ reconnect: quick });
    const told = watch(client);
    const connecting = client.connect({ host: HOST, port });
    const [first, second] = await told.reconnecting.reaches(2);
    expect([first?.attempt, second?.attempt]).to.deep.equal([2, 3]);
    expect(codeOf(first?.error)).to.equal('ERR_REACTOR_CONNECT_FAILED');
    await stage.listen({ port });
    const connection = await connecting;
    expect(connection.state).to.equal('open');
    expect(told.connections.entries.map(({ info }) => info.reconnected)).to.deep.equal([false]);
  });

  it('waits longer and longer, and gives up after maxAttempts', async () => {
    const port = await freePort();
    const client = stage.client({ reconnect: { ...quick, maxAttempts: 5 } });
    const told = watch(client);
    const error = await client.connect({ host: HOST, port }).then(
      () => undefined,
      (reason: ReactorError) => reason,
    );
    expect(error?.code).to.equal('ERR_REACTOR_CONNECT_FAILED');
    expect(told.reconnecting.entries.map(({ delayMs }) => delayMs)).to.deep.equal([10, 20, 40, 40]);
    expect(new Set(told.reconnecting.entries.map(({ reason }) => reason))).to.deep.equal(new Set(['connect-failed']));
    expect(told.failed.entries, 'of a first connection the promise tells').to.deep.equal([]);
  });

  it('does not begin anew for a server that accepts and closes at once, and gives up on it', async () => {
    const raw = await own.listenRaw((peer) => peer.socket.destroy());
    const client = stage.client({ reconnect: { ...quick, maxDelayMs: 5000, maxAttempts: 4 } });
    const told = watch(client);
    client.connect({ host: HOST, port: raw.port }).catch(() => undefined);
    await told.failed.reaches(1);
    expect(told.reconnecting.entries.map(({ delayMs }) => delayMs)).to.deep.equal([10, 20, 40]);
    expect(told.connections.entries).to.have.length(4);
    await until(() => client.connectionCount === 0);
  });

  /** Everything that a client tells, and the 'close' of its connections, in order. */
  function storyOf(client: TcpClient): Log<string> {
    const log = new Log<string>();
    client.on('connection', (connection) => {
      log.add('connection');
      connection.on('close', (_reason, { reconnecting }) => log.add(`close ${reconnecting === true}`));
    });
    client.on('disconnect', () => log.add('disconnect'));
    client.on('reconnecting', ({ attempt }) => log.add(`reconnecting ${attempt}`));
    client.on('reconnectFailed', () => log.add('reconnectFailed'));
    return log;
  }

  it('tells of what follows behind the end of the connection that was lost', async () => {
    const raw = await own.listenRaw((peer) => peer.send('answer').end());
    // On a busy machine a connection lasts as long as a short delay, and what follows is a new story.
    const client = stage.client({ reconnect: { ...quick, maxDelayMs: 5000, maxAttempts: 2 } });
    const story = storyOf(client);
    client.on('message', (connection) => connection.send('thanks'));
    client.connect({ host: HOST, port: raw.port }).catch(() => undefined);
    const lost = ['connection', 'disconnect', 'close true'];
    expect(await story.reaches(8)).to.deep.equal([...lost, 'reconnecting 2', ...lost, 'reconnectFailed']);
  });

  it('holds the news while messages wait in front of that end', async () => {
    const raw = await own.listenRaw();
    const client = stage.client({ reconnect: { ...quick, maxAttempts: 3 } });
    const story = storyOf(client);
    const taken = new Log<string>();
    const before = stage.reactor.stats().reconnectAttempts;
    const failed = next(client, 'reconnectFailed');
    const connection = await client.connect({ host: HOST, port: raw.port });
    const peer = await raw.first();
    const paused = next(connection, 'message');
    connection.on('message', (data) => {
      taken.add(data.toString());
      if (taken.entries.length > 1) return;
      // A socket that is not read would not tell of the reset.
      untilWithoutYielding(() => connection.messagesReceived === 2);
      peer.reset();
      // Nobody listens there any more: two further attempts fail.
      void raw.close();
      untilWithoutYielding(() => connection.state === 'closed');
      connection.pause();
    });
    peer.send('taken', 'waits');
    await paused;
    await until(() => stage.reactor.stats().reconnectAttempts > before);
    await stage.settle();
    expect(story.entries).to.deep.equal(['connection']);
    connection.resume();
    await failed;
    expect(story.entries.slice(0, 3)).to.deep.equal(['connection', 'disconnect', 'close true']);
    expect(story.entries.at(-1)).to.equal('reconnectFailed');
    expect(taken.entries).to.deep.equal(['taken', 'waits']);
  });

  it('begins anew when a connection has lasted', async () => {
    const raw = await own.listenRaw();
    // It need not last longer than the longest delay.
    const client = stage.client({ reconnect: { minDelayMs: 10, maxDelayMs: 30, jitter: 0 } });
    const told = watch(client);
    await client.connect({ host: HOST, port: raw.port });
    for (let round = 1; round <= 3; round++) {
      const { connection } = (await told.connections.reaches(round))[round - 1] as { connection: TcpConnection };
      const opened = performance.now();
      await until(() => performance.now() - opened > 60);
      expect(connection.state).to.equal('open');
      (await raw.peers.reaches(round))[round - 1]?.socket.destroy();
      await told.reconnecting.reaches(round);
    }
    expect(told.reconnecting.entries.map(({ attempt, delayMs }) => [attempt, delayMs])).to.deep.equal([
      [1, 10],
      [1, 10],
      [1, 10],
    ]);
    await told.connections.reaches(4);
  });

  it('does not come back from what this side has ended', async () => {
    const raw = await own.listenRaw((peer) => peer.read().ended.then(() => peer.end()));
    for (const end of ['shutdown', 'destroy'] as const) {
      const client = stage.client({ reconnect: quick });
      const told = watch(client);
      const connection = await client.connect({ host: HOST, port: raw.port });
      const ended = closed(connection);
      connection[end]();
      expect((await ended).detail.reconnecting).to.equal(undefined);
      await stage.settle();
      expect(told.reconnecting.entries).to.deep.equal([]);
    }
  });

  it("does not come back from this side's own end either where the peer's has been there before", async () => {
    const other = await stage.pair({ both: { codec: 'raw' } });
    for (const way of ['shutdown', 'destroy'] as const) {
      const server = await stage.listen({ codec: 'raw' });
      const client = stage.client({ codec: 'raw', reconnect: quick });
      const told = watch(client);
      const [far, near] = await Promise.all([
        nextConnection(server),
        client.connect({ host: HOST, port: server.address.port }),
      ]);
      const gone = closed(near);
      near.on('message', () => near[way]());
      far.send('bye');
      far.shutdown();
      // Its end is with the io worker, and this thread has not taken it: what goes another way behind it has come.
      untilWithoutYielding(() => near.bytesReceived === 3);
      const before = other.far.bytesReceived;
      other.near.send('x');
      untilWithoutYielding(() => other.far.bytesReceived > before);
      const { reason, detail } = await gone;
      expect(reason).to.equal(way === 'shutdown' ? 'peer-end' : 'local-destroy');
      expect(detail.reconnecting).to.equal(undefined);
      await stage.settle();
      expect(told.reconnecting.entries).to.deep.equal([]);
    }
  });

  it('stops when the signal is aborted: while it waits, and before there is a first connection', async () => {
    const port = await freePort();
    const slow = { ...quick, minDelayMs: 60_000, maxDelayMs: 60_000 };
    const client = stage.client({ reconnect: slow });
    const told = watch(client);
    const first = new AbortController();
    const connecting = client.connect({ host: HOST, port, signal: first.signal });
    await told.reconnecting.reaches(1);
    first.abort();
    const error = await connecting.then(
      () => undefined,
      (reason: ReactorError) => reason,
    );
    expect(error?.code).to.equal('ERR_REACTOR_ABORTED');

    const raw = await own.listenRaw();
    const second = new AbortController();
    await client.connect({ host: HOST, port: raw.port, signal: second.signal });
    (await raw.first()).socket.destroy();
    await told.reconnecting.reaches(2);
    second.abort();
    await client.close({ drainMs: 0 });
    expect(raw.peers.entries).to.have.length(1);
  });

  it('leaves a connection that is there alone when the signal is aborted, and does not bring it back', async () => {
    const raw = await own.listenRaw();
    const client = stage.client({ reconnect: quick });
    const told = watch(client);
    const abort = new AbortController();
    const connection = await client.connect({ host: HOST, port: raw.port, signal: abort.signal });
    abort.abort();
    await stage.settle();
    expect(connection.state).to.equal('open');
    const end = closed(connection);
    (await raw.first()).socket.destroy();
    expect((await end).detail.reconnecting).to.equal(undefined);
    await stage.settle();
    expect(told.reconnecting.entries).to.deep.equal([]);
  });

  it('stops when the client or the reactor is closed', async () => {
    const port = await freePort();
    const reactor = await own.spawn();
    const clients = [1, 2].map(() => reactor.client({ reconnect: { minDelayMs: 60_000, maxDelayMs: 60_000 } }));
    const told = clients.map(watch);
    const refused = clients.map((client) =>
      client.connect({ host: HOST, port }).then(
        () => 'connected',
        (error: ReactorError) => error.code,
      ),
    );
    for (const each of told) await each.reconnecting.reaches(1);
    await clients[0]?.close();
    await reactor.close();
    expect(await Promise.all(refused)).to.deep.equal(['ERR_REACTOR_CLOSED', 'ERR_REACTOR_CLOSED']);
  });

  it('tries several addresses in turn, each round from the one behind the last that has failed', async () => {
    const dead = await freePort();
    const [one, two] = [await own.listenRaw(), await own.listenRaw()];
    const addresses = [dead, one.port, two.port].map((port) => ({ host: HOST, port }));
    const plain = await stage.client().connect({ addresses });
    expect(plain.remotePort).to.equal(one.port);

    const client = stage.client({ reconnect: { ...quick, maxDelayMs: 60_000 } });
    const told = watch(client);
    await client.connect({ addresses });
    (await one.peers.reaches(2))[1]?.socket.destroy();
    await told.connections.reaches(2);
    expect(told.connections.entries.map(({ connection }) => connection.remotePort)).to.deep.equal([one.port, two.port]);
    // It goes around.
    (await two.first()).socket.destroy();
    await told.connections.reaches(3);
    expect(told.connections.entries[2]?.connection.remotePort).to.equal(one.port);
  });

  it('does not come back from a shutdown that the peer answers with a reset', async () => {
    const raw = await own.listenRaw();
    const client = stage.client({ reconnect: quick });
    const told = watch(client);
    const connection = await client.connect({ host: HOST, port: raw.port });
    const peer = (await raw.first()).read();
    const end = closed(connection);
    connection.shutdown();
    await peer.ended;
    peer.reset();
    expect((await end).detail.reconnecting).to.equal(undefined);
    await stage.settle();
    expect(told.reconnecting.entries).to.deep.equal([]);
  });

  it('counts a connection that ends as it is opened: it tries again, and gives up', async () => {
    const raw = await own.listenRaw();
    const services = [new URL('../fixtures/service-refusing.js', import.meta.url)];
    const client = stage.client({ reconnect: { ...quick, maxDelayMs: 5000, maxAttempts: 3 }, services });
    const told = watch(client);
    client.connect({ host: HOST, port: raw.port }).catch(() => undefined);
    await told.failed.reaches(1);
    expect(told.reconnecting.entries.map(({ reason }) => reason)).to.deep.equal(['service-failed', 'service-failed']);
    await until(() => client.connectionCount === 0);
  });

  it('of several addresses is there for reactor.connect(), too: without coming back', async () => {
    const raw = await own.listenRaw();
    const addresses = [
      { host: HOST, port: await freePort() },
      { host: HOST, port: raw.port },
    ];
    const connection = await stage.reactor.connect({ addresses });
    expect(connection.remotePort).to.equal(raw.port);
    const end = closed(connection);
    connection.destroy();
    await end;
  });

  it('is no matter of what cannot be loaded: that rejects at once, and the io worker lives', async () => {
    const raw = await own.listenRaw();
    const codec = { module: new URL('../fixtures/no-such-codec.js', import.meta.url) };
    const services = [new URL('../fixtures/service-slow-start.js', import.meta.url)];
    const refused = await stage
      .client({ reconnect: quick, codec, services })
      .connect({ host: HOST, port: raw.port })
      .then(
        () => undefined,
        (error: ReactorError) => error.code,
      );
    expect(refused).to.equal('ERR_REACTOR_CODEC_FAILED');
    expect(stage.reactor.stats().ioWorkerStarts).to.deep.equal([1]);
  });

  it('tells of all of several addresses that fail, with the code and the cause of the last', async () => {
    const ports = [await freePort(), await freePort()];
    const error = await rejection(
      stage
        .client()
        .connect({ addresses: [...ports.map((port) => ({ host: HOST, port })), { path: '/no/such/path' }] }),
    );
    expect(error.code).to.equal('ERR_REACTOR_CONNECT_FAILED');
    expect(error.message).to.match(/^None of 3 addresses: Cannot connect to /);
    for (const port of ports)
      expect(error.message).to.contain(`Cannot connect to ${HOST}:${port}: connect ECONNREFUSED`);
    expect(causeCode(error)).to.equal('ENOENT');
  });

  it('counts attempts, not addresses', async () => {
    const raw = await own.listenRaw();
    const addresses = [raw.port, await freePort(), await freePort(), await freePort()];
    const client = stage.client({ reconnect: { ...quick, maxDelayMs: 5000, maxAttempts: 3 } });
    const told = watch(client);
    const before = stage.reactor.stats().reconnectAttempts;
    await client.connect({ addresses: addresses.map((port) => ({ host: HOST, port })) });
    (await raw.first()).reset();
    await raw.close();
    await told.failed.reaches(1);
    // The connection that has not lasted was the first of the three.
    expect(stage.reactor.stats().reconnectAttempts - before).to.equal(2);
  });

  it('names some of many addresses, and the last', async () => {
    const port = await freePort();
    const paths = Array.from({ length: 63 }, (_, number) => ({ path: `/no/such/path/${number}-${'x'.repeat(60)}` }));
    const error = await rejection(stage.reactor.connect({ addresses: [...paths, { host: HOST, port }] }));
    expect(error.message)
      .to.match(/^None of 64 addresses: /)
      .and.to.contain('; 48 more; ');
    expect(error.message).to.contain('/14-xx').and.not.to.contain('/15-xx');
    expect(error.message).to.contain(`Cannot connect to ${HOST}:${port}`).and.to.have.length.below(4096);
    expect(causeCode(error)).to.equal('ECONNREFUSED');
  });

  it('goes on when the io worker has died', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    const [ioWorker] = await started;
    const raw = await own.listenRaw();
    const client = reactor.client({ reconnect: quick });
    const told = watch(client);
    const connection = await client.connect({ host: HOST, port: raw.port });
    const end = closed(connection);
    const respawned = next(reactor, 'respawn');
    await ioWorker.terminate();
    const { reason, detail } = await end;
    expect([reason, detail.reconnecting]).to.deep.equal(['io-worker-crash', true]);
    const again = (await told.connections.reaches(2))[1];
    expect(again?.info.reconnected).to.equal(true);
    await respawned;
    again?.connection.send('alive');
    expect(await (await raw.peers.reaches(2))[1]?.read().texts.reaches(1)).to.deep.equal(['alive']);
  });

  it('gives up when the io worker has died and is not replaced', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false });
    const [ioWorker] = await started;
    const died = next(reactor, 'error');
    const raw = await own.listenRaw();
    const client = reactor.client({ reconnect: quick });
    const told = watch(client);
    await client.connect({ host: HOST, port: raw.port });
    await ioWorker.terminate();
    await died;
    const [error] = await told.failed.reaches(1);
    expect(codeOf(error)).to.be.oneOf(['ERR_REACTOR_IO_WORKER_CRASH', 'ERR_REACTOR_CLOSED']);
    const refused = await client.connect({ host: HOST, port: raw.port }).then(
      () => undefined,
      (reason: ReactorError) => reason.code,
    );
    expect(refused).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
  });

  it('is done by the io worker while the thread that wants it stands still', async () => {
    const raw = await own.listenRaw();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    await thread.do('connectClient', raw.port, { reconnect: { minDelayMs: 10, jitter: 0 } });
    void thread.do('block');
    await thread.log('blocking').reaches(1);
    // A peer that ends in order is waited for: the thread may have something to say to what it sent.
    (await raw.first()).socket.resetAndDestroy();
    const [, again] = await raw.peers.reaches(2);
    expect(again?.socket.destroyed).to.equal(false);
    thread.open();
    await thread.log('close').reaches(1);
  });

  it('ends with the thread that wants it', async () => {
    const port = await freePort();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const { endedThreads } = stage.reactor.stats();
    const before = stage.reactor.stats().reconnectAttempts;
    const server: TcpServer = await stage.listen({ port });
    await thread.do('connectClient', port, { reconnect: { minDelayMs: 5, maxDelayMs: 5 } });
    await server.close({ drainMs: 0 });
    await until(() => stage.reactor.stats().reconnectAttempts > before);
    await thread.kill();
    await until(() => stage.reactor.stats().endedThreads > endedThreads);
    const after = stage.reactor.stats().reconnectAttempts;
    const waited = performance.now();
    await until(() => performance.now() - waited > 30);
    expect(stage.reactor.stats().reconnectAttempts).to.equal(after);
  });

  it('is refused where nobody could tell of the next connection, and with what cannot be', async () => {
    const codes: (string | undefined)[] = [];
    const messages: string[] = [];
    for (const call of [
      () => stage.reactor.connect({ host: HOST, port: 1, reconnect: true } as ConnectOptions),
      async () => stage.reactor.client({ reconnect: { minDelayMs: 100, maxDelayMs: 50 } }),
      async () => stage.reactor.client({ reconnect: { retries: 3 } as ReconnectOptions }),
      () => stage.client().connect({ addresses: [] }),
      () => stage.client().connect({ addresses: [{ host: HOST }] }),
      () => stage.client().connect({ addresses: [{ port: 1 }], port: 2 }),
    ]) {
      await call().then(
        () => codes.push(undefined),
        (error: ReactorError) => {
          codes.push(error.code);
          messages.push(error.message);
        },
      );
    }
    expect(codes).to.deep.equal(codes.map(() => 'ERR_REACTOR_INVALID_OPTION'));
    expect(messages[0]).to.contain('reactor.client({ reconnect })');
    expect(messages[4]).to.contain("'addresses[0].port' is missing");
  });
});
