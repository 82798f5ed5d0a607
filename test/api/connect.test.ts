import net from 'node:net';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { ReactorError, type TcpConnection } from '../../src/index.js';
import {
  causeCode,
  closed,
  Log,
  next,
  nextConnection,
  nextText,
  rejection,
  story,
  untilWithoutYielding,
} from '../fixtures/events.js';
import { frame, HELLO } from '../fixtures/raw-peer.js';
import { collectWarnings, HOST, props, readModes, scene } from '../fixtures/scene.js';

/** A port on which nobody listens. */
async function freePort(): Promise<number> {
  const server = net.createServer().listen({ port: 0, host: HOST });
  await next(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await next(server, 'close');
  return port;
}

for (const { name, options } of readModes) {
  describe(`connect(), ${name}`, () => {
    const stage = scene(options);

    it('resolves with an open connection that knows both ends', async () => {
      const raw = await stage.listenRaw();
      const connection = await stage.client().connect({ host: HOST, port: raw.port });
      const peer = await raw.first();
      expect(connection.state).to.equal('open');
      expect([connection.remoteAddress, connection.remotePort, connection.remoteFamily]).to.deep.equal([
        HOST,
        raw.port,
        'IPv4',
      ]);
      expect([connection.localAddress, connection.localPort]).to.deep.equal([HOST, peer.socket.remotePort]);
    });

    it('is told to the client, too, before it resolves', async () => {
      const raw = await stage.listenRaw();
      const client = stage.client();
      const log = new Log<TcpConnection>();
      client.on('connection', (connection) => log.add(connection));
      const connection = await client.connect({ host: HOST, port: raw.port });
      expect(log.entries).to.deep.equal([connection]);
      expect([...client.connections()]).to.deep.equal([connection]);
    });

    it('may be called many times at once; every caller gets a connection of its own', async () => {
      const server = await stage.listen();
      server.on('message', (connection, data) => void connection.send(data));
      const client = stage.client();
      const port = server.address.port;
      const connections = await Promise.all(Array.from({ length: 100 }, () => client.connect({ host: HOST, port })));
      expect(new Set(connections.map((connection) => connection.id)).size).to.equal(100);
      const echoes = connections.map(nextText);
      for (const [index, connection] of connections.entries()) connection.send(`number ${index}`);
      expect(await Promise.all(echoes)).to.deep.equal(connections.map((_, index) => `number ${index}`));
    });

    it('misses nothing of a peer that sends and ends at once, if listeners are added right after it', async () => {
      const raw = await stage.listenRaw((peer) => {
        peer.write(HELLO).send('first', 'second').end();
      });
      const client = stage.client();
      for (let round = 0; round < 20; round++) {
        const connection = await client.connect({ host: HOST, port: raw.port });
        const log = story(connection);
        await closed(connection);
        expect(log.entries, `round ${round}`).to.deep.equal([
          'message:first',
          'message:second',
          'end',
          'close:peer-end',
        ]);
      }
    });

    it('misses nothing through the shorthand reactor.connect() either', async () => {
      const raw = await stage.listenRaw((peer) => {
        peer.send('first', 'second').end();
      });
      for (let round = 0; round < 20; round++) {
        const connection = await stage.reactor.connect({ host: HOST, port: raw.port });
        const log = story(connection);
        await closed(connection);
        expect(log.entries, `round ${round}`).to.deep.equal([
          'message:first',
          'message:second',
          'end',
          'close:peer-end',
        ]);
      }
    });

    it('misses nothing of a peer that sends and resets at once', async () => {
      const raw = await stage.listenRaw((peer) => {
        peer.socket.once('data', () => peer.reset());
        peer.write(frame('only'));
      });
      for (let round = 0; round < 20; round++) {
        const connection = await stage.reactor.connect({ host: HOST, port: raw.port });
        const log = story(connection);
        await closed(connection);
        expect(log.entries[0], `round ${round}`).to.equal('message:only');
        // Which of the two it is, is up to libuv: see RawPeer.reset().
        expect(log.entries.at(-1), `round ${round}`).to.be.oneOf(['close:peer-reset', 'close:peer-end']);
      }
    });

    it('rejects with ERR_REACTOR_CONNECT_FAILED when the port is closed; the cause is ECONNREFUSED', async () => {
      const port = await freePort();
      const error = await rejection(stage.client().connect({ host: HOST, port }));
      expect(error).to.be.instanceOf(ReactorError);
      expect(error.code).to.equal('ERR_REACTOR_CONNECT_FAILED');
      expect(error.message).to.include(`${HOST}:${port}`);
      expect(causeCode(error)).to.equal('ECONNREFUSED');
      expect(error.cause).to.include({ syscall: 'connect', address: HOST, port });
    });

    it('rejects with ERR_REACTOR_TOO_MANY_CONNECTIONS when maxConnections are open', async () => {
      const reactor = await stage.spawn({ ...options, maxConnections: 1 });
      const raw = await stage.listenRaw();
      const first = await reactor.connect({ host: HOST, port: raw.port });
      const error = await rejection(reactor.connect({ host: HOST, port: raw.port }));
      expect(error.code).to.equal('ERR_REACTOR_TOO_MANY_CONNECTIONS');
      expect(reactor.stats().connected).to.equal(1);
      const [, turnedAway] = await raw.peers.reaches(2);
      await turnedAway?.read().gone;

      // The slot is free again once the first is closed.
      const end = closed(first);
      first.destroy();
      await end;
      const second = await reactor.connect({ host: HOST, port: raw.port });
      expect(second.state).to.equal('open');
    });

    it('turns peers away when maxConnections are open, and counts them in stats().refused', async () => {
      const reactor = await stage.spawn({ ...options, maxConnections: 2 });
      const server = await reactor.listen({ host: HOST, port: 0 });
      const log = new Log<TcpConnection>();
      server.on('connection', (connection) => log.add(connection));
      const { port } = server.address;
      const peers = [await stage.connectRaw(port), await stage.connectRaw(port)];
      await log.reaches(2);
      for (let refused = 1; refused <= 3; refused++) {
        const peer = await stage.connectRaw(port);
        await peer.count().gone;
        expect(peer.received).to.equal(0);
        expect(reactor.stats().refused).to.equal(refused);
      }
      expect(reactor.stats().accepted).to.equal(2);
      expect(log.entries).to.have.length(2);

      // One goes, and there is room for another.
      const end = closed(log.entries[0] as TcpConnection);
      peers[0]?.end();
      await end;
      const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(port)]);
      connection.send('welcome');
      expect(await peer.read().texts.reaches(1)).to.deep.equal(['welcome']);
    });
  });
}

describe('connect()', () => {
  const stage = scene();

  it('rejects with ERR_REACTOR_CONNECT_FAILED when there is no such host', async () => {
    const error = await rejection(stage.client().connect({ host: 'no such host', port: 1 }));
    expect(error.code).to.equal('ERR_REACTOR_CONNECT_FAILED');
    expect(causeCode(error)).to.be.oneOf(['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL']);
  });

  it('rejects with ERR_REACTOR_CONNECT_TIMEOUT when nobody answers', async () => {
    const full = await stage.fullPort();
    const error = await rejection(stage.client().connect({ host: HOST, port: full.port, timeoutMs: 50 }));
    expect(error.code).to.equal('ERR_REACTOR_CONNECT_TIMEOUT');
    expect(error.message).to.include('50 ms');
  });

  it('rejects with ERR_REACTOR_CLOSED when its client is closed', async () => {
    const client = stage.client();
    await client.close();
    const error = await rejection(client.connect({ host: HOST, port: 1 }));
    expect(error.code).to.equal('ERR_REACTOR_CLOSED');
  });

  it('rejects with ERR_REACTOR_CLOSED when its client is closed meanwhile', async () => {
    const full = await stage.fullPort();
    const client = stage.client();
    const attempt = rejection(client.connect({ host: HOST, port: full.port }));
    await client.close();
    expect((await attempt).code).to.equal('ERR_REACTOR_CLOSED');
  });

  it('rejects a wrong option and starts nothing', async () => {
    const { connected } = stage.reactor.stats();
    for (const wrong of [{ port: 0 }, { port: 1, host: '' }, { port: 1, timeoutMs: 0 }]) {
      const error = await rejection(stage.client().connect(wrong));
      expect(error.code, JSON.stringify(wrong)).to.equal('ERR_REACTOR_INVALID_OPTION');
    }
    expect(stage.reactor.stats().connected).to.equal(connected);
  });

  for (const [how, connect] of [
    ['reactor.connect()', (port: number) => stage.reactor.connect({ host: HOST, port })],
    ['client.connect()', (port: number) => stage.client().connect({ host: HOST, port })],
  ] as const) {
    it(`fails with the place of the call in the error's stack, whoever awaits it (${how})`, async () => {
      const server = await stage.listen();
      const { port } = server.address;
      await server.close();
      const { message, stack } = await rejection(connect(port));
      const [, place] = (stack ?? '').slice(String(`ReactorError: ${message}`).length).split('\n');
      expect(place).to.contain('connect.test.');
    });
  }

  describe('with a signal', () => {
    const why = new Error('changed my mind');

    it('rejects at once with ERR_REACTOR_ABORTED if it has been aborted before, and nothing is connected', async () => {
      const server = await stage.listen();
      const { port } = server.address;
      const { connected } = stage.reactor.stats();
      const error = await rejection(stage.client().connect({ host: HOST, port, signal: AbortSignal.abort(why) }));
      expect(error.code).to.equal('ERR_REACTOR_ABORTED');
      expect(error.cause).to.equal(why);
      expect(error.message).to.equal('connect(): the operation was aborted');
      await stage.settle();
      expect(server.connectionCount).to.equal(0);
      // settle() may have connected for itself.
      expect(stage.reactor.stats().connected).to.be.at.most(connected + 1);
    });

    it('rejects with ERR_REACTOR_ABORTED if it is aborted meanwhile', async () => {
      const full = await stage.fullPort();
      const controller = new AbortController();
      const attempt = rejection(stage.client().connect({ host: HOST, port: full.port, signal: controller.signal }));
      controller.abort(why);
      const error = await attempt;
      expect(error.code).to.equal('ERR_REACTOR_ABORTED');
      expect(error.cause).to.equal(why);
    });

    it('rejects the right one of several attempts', async () => {
      const server = await stage.listen();
      const full = await stage.fullPort();
      const client = stage.client();
      const controllers = [new AbortController(), new AbortController()];
      const [first, second] = controllers.map((controller) =>
        client.connect({ host: HOST, port: full.port, timeoutMs: 100, signal: controller.signal }),
      );
      const firstError = rejection(first as Promise<TcpConnection>);
      const secondError = rejection(second as Promise<TcpConnection>);
      controllers[0]?.abort();
      expect((await firstError).code).to.equal('ERR_REACTOR_ABORTED');
      const connection = await client.connect({ host: HOST, port: server.address.port });
      expect(connection.state).to.equal('open');
      expect((await secondError).code).to.equal('ERR_REACTOR_CONNECT_TIMEOUT');
    });

    it('rejects with ERR_REACTOR_ABORTED if it is aborted before it has resolved, even if the socket is connected', async () => {
      const raw = await stage.listenRaw();
      const { connected } = stage.reactor.stats();
      const controller = new AbortController();
      const attempt = stage.client().connect({ host: HOST, port: raw.port, signal: controller.signal });
      untilWithoutYielding(() => stage.reactor.stats().connected > connected);
      controller.abort(why);
      const error = await rejection(attempt);
      expect(error.code).to.equal('ERR_REACTOR_ABORTED');
      await (await raw.first()).read().gone;
    });

    it('may be one of many that wait with the same one: Node does not warn of a leak', async () => {
      const warnings = collectWarnings(stage);
      const server = await stage.listen();
      const client = stage.client();
      const { signal } = new AbortController();
      const to = { host: HOST, port: server.address.port, signal };
      await Promise.all(Array.from({ length: 20 }, () => client.connect(to)));
      expect(warnings).to.deep.equal([]);
    });

    it('does nothing any more once it has resolved', async () => {
      const server = await stage.listen();
      server.on('message', (connection, data) => void connection.send(data));
      const controller = new AbortController();
      const connection = await stage.client().connect({
        host: HOST,
        port: server.address.port,
        signal: controller.signal,
      });
      controller.abort();
      connection.send('still here');
      expect(await nextText(connection)).to.equal('still here');
    });
  });
});

describe('listen()', () => {
  const stage = scene();
  const own = props();

  it('resolves with a server that knows its address', async () => {
    const server = await stage.listen();
    expect(server.address).to.include({ address: HOST, family: 'IPv4' });
    expect(server.address.port).to.be.within(1, 65_535);
  });

  it('rejects with ERR_REACTOR_LISTEN_FAILED when the port is in use by this reactor; the cause is EADDRINUSE', async () => {
    const { address } = await stage.listen();
    const error = await rejection(stage.reactor.listen({ host: HOST, port: address.port }));
    expect(error).to.be.instanceOf(ReactorError);
    expect(error.code).to.equal('ERR_REACTOR_LISTEN_FAILED');
    expect(error.message).to.include(`${HOST}:${address.port}`);
    expect(causeCode(error)).to.equal('EADDRINUSE');
  });

  it('rejects with ERR_REACTOR_LISTEN_FAILED when the port is in use by a plain net.Server', async () => {
    const raw = await stage.listenRaw();
    const error = await rejection(stage.reactor.listen({ host: HOST, port: raw.port }));
    expect(error.code).to.equal('ERR_REACTOR_LISTEN_FAILED');
    expect(causeCode(error)).to.equal('EADDRINUSE');
  });

  it('of one port twice at once succeeds once', async () => {
    const port = await freePort();
    const outcomes = await Promise.allSettled([stage.listen({ port }), stage.listen({ port })]);
    expect(outcomes.map((outcome) => outcome.status).sort()).to.deep.equal(['fulfilled', 'rejected']);
  });

  it('tells of a connection that was reset before it resolved, and the server can be closed', async () => {
    const reactor = await own.spawn();
    const port = await freePort();
    const done = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(new URL('../fixtures/hasty-peer.js', import.meta.url), { workerData: { port, done } });
    await next(worker, 'online');
    const exited = next(worker, 'exit');

    const listening = reactor.listen({ host: HOST, port });
    // Until the connection has come and gone this thread handles nothing, so that all of it waits in the ring.
    untilWithoutYielding(() => Atomics.load(done, 0) === 1 && reactor.stats().closed === 1);
    const server = await listening;
    const log = new Log<string>();
    server.on('connection', (connection) => {
      log.add('connection');
      connection.on('close', (reason) => log.add(`close ${reason}`));
    });
    server.on('disconnect', (_connection, reason) => log.add(`disconnect ${reason}`));

    expect((await log.reaches(3)).slice().sort()).to.deep.equal([
      'close peer-reset',
      'connection',
      'disconnect peer-reset',
    ]);
    expect(log.entries[0]).to.equal('connection');
    expect(server.connectionCount).to.equal(0);
    await server.close();
    await exited;
  });
});
