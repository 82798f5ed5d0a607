import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Reactor, ReactorError, Respawn, SpawnOptions } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import {
  closed,
  Log,
  next,
  nextConnection,
  rejection,
  story,
  until,
  untilWithoutYielding,
  Watched,
} from '../fixtures/events.js';
import { HOST, props, readModes } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

/** A module with a service, as text. */
function inline(definition: string): string {
  return `data:text/javascript,export default ${encodeURIComponent(definition)}`;
}

describe('the io worker crashes', () => {
  const own = props();

  /** A reactor, and the thread that a test may terminate. */
  async function spawn(options: SpawnOptions = {}): Promise<{ reactor: Reactor; ioWorker: Worker }> {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false, ...options });
    const [ioWorker] = await started;
    return { reactor, ioWorker };
  }

  /** The 'error' of a reactor; from then on it has ended. */
  async function crashed(reactor: Reactor): Promise<ReactorError> {
    const [error] = await next<[ReactorError]>(reactor, 'error');
    return error;
  }

  for (const { name, options } of readModes) {
    it(`and every connection closes with io-worker-crash, then the reactor emits 'error' once (${name})`, async () => {
      const { reactor, ioWorker } = await spawn(options);
      const server = await reactor.listen({ host: HOST, port: 0 });
      const client = reactor.client();
      const [far, near] = await Promise.all([
        nextConnection(server),
        client.connect({ host: HOST, port: server.address.port }),
      ]);
      const log = new Log<string>();
      far.on('close', (reason) => log.add(`far ${reason}`));
      near.on('close', (reason) => log.add(`near ${reason}`));
      server.on('disconnect', (_connection, reason) => log.add(`server ${reason}`));
      client.on('disconnect', (_connection, reason) => log.add(`client ${reason}`));
      reactor.on('error', () => log.add('error'));
      const failed = crashed(reactor);

      await ioWorker.terminate();
      const error = await failed;

      expect(log.entries.slice(0, -1)).to.have.members(
        ['far', 'near', 'server', 'client'].map((who) => `${who} io-worker-crash`),
      );
      expect(log.entries.at(-1)).to.equal('error');
      expect(error.name).to.equal('ReactorError');
      expect(reactor.stats().connections).to.equal(0);
      expect([server.connectionCount, client.connectionCount]).to.deep.equal([0, 0]);
    });
  }

  it('and the error has the code ERR_REACTOR_IO_WORKER_CRASH', async () => {
    const { reactor, ioWorker } = await spawn();
    const failed = crashed(reactor);
    void ioWorker.terminate();
    expect((await failed).code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
  });

  it('and a peer that is a plain socket sees its connection end', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const failed = crashed(reactor);
    void ioWorker.terminate();
    await peer.read().gone;
    await failed;
  });

  it('and a pending connect() rejects with ERR_REACTOR_IO_WORKER_CRASH', async () => {
    const { reactor, ioWorker } = await spawn();
    const full = await own.fullPort();
    const failed = crashed(reactor);
    const attempts = [
      rejection(reactor.connect({ host: HOST, port: full.port })),
      rejection(reactor.connect({ host: HOST, port: full.port, signal: new AbortController().signal })),
    ];
    void ioWorker.terminate();
    for (const error of await Promise.all(attempts)) expect(error.code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
    await failed;
  });

  for (const respawn of [true, false]) {
    it(`and calls that are pending reject with their names and what it died of, respawn: ${respawn}`, async () => {
      const { reactor } = await spawn({ respawn });
      const full = await own.fullPort();
      const ended = respawn ? next<[Respawn]>(reactor, 'respawn') : crashed(reactor);
      const attempt = rejection(reactor.connect({ host: HOST, port: full.port }));
      const slow = inline(`{ name: 'slow', start: () => new Promise(() => {}) }`);
      const listening = rejection(reactor.listen({ host: HOST, port: 0, services: [slow] }));
      const fatal = inline(`{ name: 'fatal', onOpen() { setTimeout(() => { throw new Error('out of nowhere'); }); } }`);
      const crashing = await reactor.listen({ host: HOST, port: 0, services: [fatal] });
      await own.connectRaw(crashing.address.port);
      for (const [call, error] of [
        ['connect()', await attempt],
        ['listen()', await listening],
      ] as const) {
        expect(error.code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
        expect(error.message).to.equal(`${call}: the io worker has ended: out of nowhere`);
        expect(error.cause).to.be.instanceOf(Error);
        expect((error.cause as Error).message).to.equal('out of nowhere');
        expect((error.cause as Error).stack).to.include('data:text/javascript');
      }
      await ended;
    });
  }

  it('and a pending listen() rejects with ERR_REACTOR_IO_WORKER_CRASH', async () => {
    const { reactor, ioWorker } = await spawn();
    const failed = crashed(reactor);
    void ioWorker.terminate();
    // The thread is ending: it will not answer.
    const error = await rejection(reactor.listen({ host: HOST, port: 0 }));
    expect(error.code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
    await failed;
  });

  it('and a listen() that a handler of the end makes rejects with ERR_REACTOR_IO_WORKER_CRASH', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const connection = await reactor.connect({ host: HOST, port: server.address.port });
    const failed = crashed(reactor);
    const listened = new Promise<ReactorError>((resolve) => {
      connection.on('close', () =>
        resolve(rejection(reactor.listen({ host: HOST, port: 0 })) as Promise<ReactorError>),
      );
    });
    await ioWorker.terminate();
    expect((await listened).code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
    await failed;
  });

  it('and a pending flush() rejects, a pending ready() resolves with false', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const other = await reactor.connect({ host: HOST, port: server.address.port });
    for (let i = 0; i < 12; i++) connection.send(Buffer.alloc(1024 * 1024));
    // The first of them may have left at once, and 'drain' be on its way.
    const heard = next(server, 'message');
    other.send('behind it');
    await heard;
    const flush = new Watched(connection.flush());
    const ready = new Watched(connection.ready());
    const end = closed(connection);
    const failed = crashed(reactor);

    void ioWorker.terminate();
    const error = await rejection(flush.promise);

    expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect(await ready.promise).to.equal(false);
    const { reason, detail } = await end;
    expect(reason).to.equal('io-worker-crash');
    expect(detail.unsentBytes).to.be.within(1, 12 * (1024 * 1024 + 6));
    await failed;
  });

  it('and a close() of server, client or reactor that is under way resolves', async () => {
    const { reactor, ioWorker } = await spawn();
    const raw = await own.listenRaw();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const client = reactor.client();
    // Peers that do not end their sides.
    await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    await client.connect({ host: HOST, port: raw.port });
    const closing = [server.close({ drainMs: 60_000 }), client.close({ drainMs: 60_000 }), reactor.close()];
    void ioWorker.terminate();
    await Promise.all(closing);
  });

  it('and the messages that it had received before still arrive, in order, in front of close', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const log = story(connection);
    const sent = Array.from({ length: 1000 }, (_, index) => `message ${index}`);
    const failed = crashed(reactor);

    peer.send(...sent);
    // This thread handles nothing until the io worker has received it all and is told to end.
    untilWithoutYielding(() => connection.messagesReceived === sent.length);
    void ioWorker.terminate();
    await failed;

    expect(log.entries).to.deep.equal([...sent.map((text) => `message:${text}`), 'close:io-worker-crash']);
  });

  it('and an iteration over a connection throws ERR_REACTOR_CONNECTION_CLOSED', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const failed = crashed(reactor);
    peer.send('first');
    const seen: string[] = [];
    const iteration = (async () => {
      for await (const data of connection) {
        seen.push(data.toString());
        void ioWorker.terminate();
      }
    })();
    const error = await rejection(iteration);
    expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect(seen).to.deep.equal(['first']);
    await failed;
  });

  it('and afterwards send() returns false, everything else settles, close() and destroy() are quiet', async () => {
    const { reactor, ioWorker } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const client = reactor.client();
    const connection = await client.connect({ host: HOST, port: server.address.port });
    const { id } = connection;
    const failed = crashed(reactor);
    void ioWorker.terminate();
    await failed;
    const errors = new Log<Error>();
    reactor.on('error', (error) => errors.add(error));

    expect(connection.send('too late')).to.equal(false);
    expect(connection.state).to.equal('closed');
    expect(connection.bufferedAmount).to.equal(0);
    expect(reactor.connection(id).state).to.equal('closed');
    expect(await connection.ready()).to.equal(false);
    expect((await rejection(connection.flush())).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    connection.shutdown();
    connection.destroy();
    const ended = ['ERR_REACTOR_CLOSED', 'ERR_REACTOR_IO_WORKER_CRASH'];
    expect((await rejection(reactor.listen({ host: HOST, port: 0 }))).code).to.be.oneOf(ended);
    expect((await rejection(reactor.connect({ host: HOST, port: 1 }))).code).to.be.oneOf(ended);
    expect((await rejection(client.connect({ host: HOST, port: 1 }))).code).to.be.oneOf(ended);
    await server.close();
    await client.close();
    await reactor.close();
    reactor.destroy();
    expect(errors.entries).to.deep.equal([]);
  });

  it('and its port can be listened on by another reactor', async () => {
    const { reactor, ioWorker } = await spawn();
    const { address } = await reactor.listen({ host: HOST, port: 0 });
    const failed = crashed(reactor);
    void ioWorker.terminate();
    await failed;
    const other = await own.spawn();
    const server = await other.listen({ host: HOST, port: address.port });
    expect(server.address.port).to.equal(address.port);
  });

  it('and an attempt that it has answered, but not told of, rejects with ERR_REACTOR_IO_WORKER_CRASH', async () => {
    const { reactor, ioWorker } = await spawn({ respawn: true, eventRingBytes: 512 * 1024 });
    const raw = await own.listenRaw();
    const thread = await AppThread.attached(own, reactor.handle);
    await thread.do('connect', raw.port, { codec: 'raw' });
    expect(reactor.stats().connected).to.equal(1);
    const attempt = thread.do('connectBlocked', raw.port);
    await thread.log('blocking').reaches(1);
    // The thread's event ring is full when it calls connect(), and it takes nothing out of it.
    (await raw.first()).write(Buffer.alloc(4 * 1024 * 1024));
    await until(() => reactor.stats().readPauses > 0);
    thread.open();
    await thread.log('blocking').reaches(2);
    await until(() => reactor.stats().connected === 2);
    // There and back, behind the answer.
    await reactor.listen({ host: HOST, port: 0 });
    await ioWorker.terminate();
    thread.open();
    expect((await rejection(attempt)).code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
  });

  describe('and what its successor brings finds somebody who throws:', () => {
    async function run(...args: string[]): Promise<string[]> {
      const child = new Child('throwing-respawn', ...args);
      own.defer(() => child.kill());
      const { lines, code, stderr } = await child.end();
      expect(stderr).to.equal('');
      expect(code, lines.join('\n')).to.equal(0);
      return lines;
    }

    it("a handler of 'respawn' surfaces as an uncaughtException, and calls go on working", async () => {
      expect(await run('handler')).to.deep.equal([
        'respawn',
        'uncaught in respawn handler',
        'echo hello',
        'listens',
        'over',
      ]);
    });

    for (const way of ['close', 'destroy']) {
      it(`${way}() has a listen() that waits for the new io worker reject, with nothing else to keep the process alive`, async () => {
        expect(await run(`listen-${way}`)).to.deep.equal(['ERR_REACTOR_CLOSED', 'over']);
      });
    }

    it("an 'error' without a listener surfaces as an uncaughtException, and calls go on working", async () => {
      expect(await run('no-listener')).to.deep.equal([
        'uncaught ERR_REACTOR_LISTEN_FAILED',
        'respawn',
        'listens',
        'echo hello',
        'over',
      ]);
    });
  });
});
