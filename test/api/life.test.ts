import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { Reactor, ReactorError, type TcpConnection } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import { closed, Log, next, nextConnection, nextText, rejection, story, Watched } from '../fixtures/events.js';
import { HOST, props, readModes } from '../fixtures/scene.js';

for (const { name, options } of readModes) {
  describe(`the life of a reactor, ${name}`, () => {
    const own = props();

    it('begins with spawn(), and then it serves', async () => {
      await using reactor = await Reactor.spawn(options);
      const server = await reactor.listen({ host: HOST, port: 0 });
      server.on('message', (connection, data) => void connection.send(data));
      const connection = await reactor.connect({ host: HOST, port: server.address.port });
      connection.send('hello');
      expect(await nextText(connection)).to.equal('hello');
    });

    it('ends with close(), which closes every connection with reactor-close, also those with itself', async () => {
      const reactor = await own.spawn(options);
      const server = await reactor.listen({ host: HOST, port: 0 });
      const client = reactor.client();
      const reasons = new Log<string>();
      server.on('disconnect', (_connection, reason, detail) => reasons.add(`${reason} ${detail.unsentBytes}`));
      client.on('disconnect', (_connection, reason, detail) => reasons.add(`${reason} ${detail.unsentBytes}`));
      const connections: TcpConnection[] = [];
      for (let i = 0; i < 20; i++) {
        const accepted = nextConnection(server);
        connections.push(await client.connect({ host: HOST, port: server.address.port }), await accepted);
      }
      await reactor.close();
      expect(reasons.entries).to.deep.equal(connections.map(() => 'reactor-close 0'));
      expect(connections.map(({ state }) => state)).to.deep.equal(connections.map(() => 'closed'));
      expect(reactor.stats().connections).to.equal(0);
    });

    it('destroy() closes every connection with reactor-close before it returns, and the peers see it', async () => {
      const reactor = await own.spawn(options);
      const server = await reactor.listen({ host: HOST, port: 0 });
      const [far, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      const near = await reactor.connect({ host: HOST, port: server.address.port });
      const log = new Log<string>();
      far.on('close', (reason) => log.add(`far ${reason}`));
      near.on('close', (reason) => log.add(`near ${reason}`));
      server.on('disconnect', (connection, reason) => {
        if (connection === far) log.add(`server ${reason}`);
      });

      reactor.destroy();

      expect(log.entries).to.have.members(['far reactor-close', 'near reactor-close', 'server reactor-close']);
      expect(near.state).to.equal('closed');
      expect(near.send('too late')).to.equal(false);
      expect(server.connectionCount).to.equal(0);
      await peer.read().gone;
    });
  });
}

describe('the life of a reactor', () => {
  const own = props();

  it('close() twice, or while it closes, is the same as once', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [far, near] = await Promise.all([
      nextConnection(server),
      reactor.connect({ host: HOST, port: server.address.port }),
    ]);
    const stories = [story(far), story(near)];
    await Promise.all([reactor.close(), reactor.close({ timeoutMs: 0 })]);
    await reactor.close();
    for (const { entries } of stories) expect(entries.filter((entry) => entry.startsWith('close'))).to.have.length(1);
  });

  it('close() with a wrong option rejects and closes nothing', async () => {
    await using reactor = await Reactor.spawn();
    const error = await rejection(reactor.close({ timeoutMs: -1 }));
    expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
    const server = await reactor.listen({ host: HOST, port: 0 });
    expect(server.address.port).to.be.greaterThan(0);
  });

  it('`await using` closes it at the end of the block', async () => {
    let reactor: Reactor;
    let connection: TcpConnection;
    let reason: Promise<unknown>;
    {
      await using inside = await Reactor.spawn();
      await using server = await inside.listen({ host: HOST, port: 0 });
      connection = await inside.connect({ host: HOST, port: server.address.port });
      reason = closed(connection).then((end) => end.reason);
      reactor = inside;
    }
    expect(connection.state).to.equal('closed');
    // Its server was disposed of first: what the client's side sees is the server's end.
    expect(await reason).to.equal('peer-end');
    expect((await rejection(reactor.listen({ port: 0 }))).code).to.equal('ERR_REACTOR_CLOSED');
  });

  it('close() while a connection is being made rejects the attempt with ERR_REACTOR_CLOSED', async () => {
    const full = await own.fullPort();
    const reactor = await own.spawn();
    const attempts = [
      rejection(reactor.connect({ host: HOST, port: full.port })),
      rejection(reactor.client().connect({ host: HOST, port: full.port })),
    ];
    await reactor.close();
    for (const error of await Promise.all(attempts)) expect(error.code).to.equal('ERR_REACTOR_CLOSED');
  });

  it('close() right after listen() and connect() were called settles both', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const calls = [
      reactor.listen({ host: HOST, port: 0 }),
      reactor.connect({ host: HOST, port: server.address.port }),
    ].map((call) =>
      call.then(
        () => 'resolved',
        (error: ReactorError) => error.code,
      ),
    );
    await reactor.close();
    for (const outcome of await Promise.all(calls)) expect(outcome).to.be.oneOf(['resolved', 'ERR_REACTOR_CLOSED']);
    expect(reactor.stats().connections).to.equal(0);
  });

  it('after close() everything rejects or throws ERR_REACTOR_CLOSED', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const client = reactor.client();
    const connection = await client.connect({ host: HOST, port: server.address.port });
    const { port } = server.address;
    await reactor.close();

    const calls = {
      listen: reactor.listen({ host: HOST, port: 0 }),
      connect: reactor.connect({ host: HOST, port }),
      'client.connect': client.connect({ host: HOST, port }),
    };
    for (const [call, promise] of Object.entries(calls)) {
      const error = await rejection(promise);
      expect(error, call).to.be.instanceOf(ReactorError);
      expect(error.code, call).to.equal('ERR_REACTOR_CLOSED');
    }
    expect(() => reactor.client())
      .to.throw(ReactorError)
      .with.property('code', 'ERR_REACTOR_CLOSED');

    // What has nothing left to do is done.
    await server.close();
    await client.close();
    expect(connection.send('too late')).to.equal(false);
    expect(await connection.ready()).to.equal(false);
    expect((await rejection(connection.flush())).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect(reactor.connection(connection.id).state).to.equal('closed');
    expect(reactor.stats().closed).to.equal(2);
  });

  it('connect() on a client of a reactor that is closing rejects with ERR_REACTOR_CLOSED, and close() does not wait for it', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const other = await own.spawn();
    const elsewhere = await other.listen({ host: HOST, port: 0 });
    // A peer that does not end its side, so that close() takes its time.
    const [connection] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const client = reactor.client();
    const cut = closed(connection);

    const closing = new Watched(reactor.close({ timeoutMs: 300 }));
    const attempt = new Watched(client.connect({ host: HOST, port: elsewhere.address.port }));
    await cut;
    // It would hang here if the attempt had succeeded.
    if (attempt.state === 'resolved') (await attempt.promise).destroy();
    await closing.promise;

    expect(attempt.state).to.equal('rejected');
    expect((await rejection(attempt.promise)).code).to.equal('ERR_REACTOR_CLOSED');
    await other.close();
  });

  it('destroy() settles everything that was pending', async () => {
    const full = await own.fullPort();
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    for (let i = 0; i < 12; i++) connection.send(Buffer.alloc(1024 * 1024));

    const connect = rejection(reactor.connect({ host: HOST, port: full.port }));
    const listen = rejection(reactor.listen({ host: HOST, port: 0 }));
    const flush = rejection(connection.flush());
    const ready = connection.ready();
    const serverClose = server.close();
    const close = reactor.close();
    reactor.destroy();

    expect((await connect).code).to.equal('ERR_REACTOR_CLOSED');
    expect((await listen).code).to.equal('ERR_REACTOR_CLOSED');
    expect((await flush).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect(await ready).to.equal(false);
    await serverClose;
    await close;
  });

  it('destroy() twice, and close() behind it, do nothing more', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [far, near] = await Promise.all([
      nextConnection(server),
      reactor.connect({ host: HOST, port: server.address.port }),
    ]);
    const log = story(far);
    const errors = new Log<Error>();
    reactor.on('error', (error) => errors.add(error));
    near.on('close', () => reactor.destroy());
    reactor.destroy();
    reactor.destroy();
    await reactor.close();
    expect(log.entries).to.deep.equal(['close:reactor-close']);
    expect(errors.entries).to.deep.equal([]);
  });

  it('destroy() in a message handler is the end: no message comes any more', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const log = story(connection);
    const close = closed(connection);
    connection.once('message', () => reactor.destroy());
    peer.send('1', '2', '3');
    await close;
    expect(log.entries).to.deep.equal(['message:1', 'close:reactor-close']);
    await peer.read().gone;
  });

  it('several reactors live in one process, and one that closes does not disturb the others', async () => {
    await using one = await Reactor.spawn();
    const two = await own.spawn();
    await using three = await Reactor.spawn();
    const [server, doomed] = await Promise.all([
      one.listen({ host: HOST, port: 0 }),
      two.listen({ host: HOST, port: 0 }),
    ]);
    for (const echo of [server, doomed]) echo.on('message', (connection, data) => void connection.send(data));
    const stays = await three.connect({ host: HOST, port: server.address.port });
    const goes = await three.connect({ host: HOST, port: doomed.address.port });
    for (const connection of [stays, goes]) {
      connection.send('first');
      expect(await nextText(connection)).to.equal('first');
    }
    const end = closed(goes);
    await two.close();
    expect((await end).reason).to.equal('peer-end');
    stays.send('second');
    expect(await nextText(stays)).to.equal('second');
    expect(three.stats().connections).to.equal(1);
  });
});

describe('a reactor spawned in a Worker', () => {
  const own = props();

  const fixture = new URL('../fixtures/reactor-worker.js', import.meta.url);

  it('serves, and the Worker ends by itself when its server is closed', async () => {
    const worker = new Worker(fixture);
    const exited = next<[number]>(worker, 'exit');
    const [port] = await next<[number]>(worker, 'message');
    const peer = (await own.connectRaw(port)).read();
    peer.send('hello', 'close');
    expect(await peer.texts.reaches(2)).to.deep.equal(['hello', 'close']);
    await peer.ended;
    peer.end();
    expect(await exited).to.deep.equal([0]);
  });

  it('ends when the Worker is terminated', async () => {
    const worker = new Worker(fixture);
    const [port] = await next<[number]>(worker, 'message');
    const peer = (await own.connectRaw(port)).read();
    peer.send('hello');
    await peer.texts.reaches(1);
    await worker.terminate();
    await peer.gone;
  });
});

describe('a process with a reactor', () => {
  const own = props();

  const children: Child[] = [];

  afterEach(async () => {
    for (const child of children.splice(0)) await child.kill();
  });

  function run(scenario: string, ...args: string[]): Child {
    const child = new Child('exit-behaviour', scenario, ...args);
    children.push(child);
    return child;
  }

  async function expectEnd(child: Child, lines: string[]): Promise<void> {
    const end = await child.end();
    expect(end.stderr).to.equal('');
    expect(end.lines).to.deep.equal([...lines, 'nothing to wait for']);
    expect(end.code).to.equal(0);
  }

  it('exits by itself if all it does is Reactor.spawn()', async () => {
    await expectEnd(run('spawn-only'), ['spawned']);
  });

  it('exits by itself if it has made a client that never connected', async () => {
    await expectEnd(run('idle-client'), ['made']);
  });

  it('exits by itself once server and clients are closed, without reactor.close()', async () => {
    await expectEnd(run('closed-server-and-client'), ['hello', 'closed']);
  });

  for (const scenario of ['open-server', 'ref-again']) {
    const what = scenario === 'open-server' ? 'while a server is open' : 'after unref() and ref()';
    it(`stays alive ${what}, and exits by itself once that is closed`, async () => {
      const child = run(scenario);
      const port = Number(await child.said('port'));
      const peer = (await own.connectRaw(port)).read();
      peer.send('close');
      await peer.read().ended;
      peer.end();
      await expectEnd(child, [`port ${port}`, 'closed']);
    });
  }

  it('stays alive while a connection is open, and exits by itself once the peer has ended it', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const child = run('open-connection', String(server.address.port));
    const connection = await nextConnection(server);
    connection.shutdown();
    await expectEnd(child, ['peer-end']);
    await reactor.close();
  });

  it('stays alive while a connection is being made', async () => {
    const full = await own.fullPort();
    await expectEnd(run('pending-connect', String(full.port)), ['ERR_REACTOR_CONNECT_TIMEOUT']);
  });

  for (const scenario of ['unref', 'unref-first']) {
    it(`exits with an open server if it has called unref() ${scenario === 'unref' ? 'after' : 'before'} listen()`, async () => {
      const child = run(scenario);
      const port = await child.said('port');
      await expectEnd(child, [`port ${port}`]);
    });
  }

  it('exits after reactor.close(), which resolves before', async () => {
    await expectEnd(run('close'), ['closed']);
  });

  it('exits after `await using`', async () => {
    await expectEnd(run('dispose'), ['closed']);
  });

  it('exits after reactor.destroy()', async () => {
    await expectEnd(run('destroy'), ['destroyed']);
  });

  it('exits by itself after its io worker has crashed, if it listens for errors', async () => {
    await expectEnd(run('crash'), ['ERR_REACTOR_IO_WORKER_CRASH']);
  });

  it("dies of its io worker's crash if it does not listen for errors", async () => {
    const end = await run('crash-without-listener').end();
    expect(end.code).to.equal(1);
    expect(end.stderr).to.match(/ERR_REACTOR_IO_WORKER_CRASH/);
  });
});
