import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { finished } from 'node:stream/promises';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { ConnectionDuplex, ReactorError, TcpConnection } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import { closed, Log, next, nextConnection, rejection, until } from '../fixtures/events.js';
import { HOST, pattern, props, type RawPair, readModes, scene } from '../fixtures/scene.js';
import { digest, readAll } from '../fixtures/socket-pairs.js';
import { AppThread } from '../fixtures/thread-app.js';
import type { HttpThreadData } from '../fixtures/thread-http.js';

const MIB = 1024 * 1024;

/** A peer in a thread of its own: reads to the end, then ends. */
const READER = `
const { workerData: port } = require('node:worker_threads');
require('node:net').connect(port, '127.0.0.1').resume();
`;

/** What a stream tells of its end: 'end', 'finish', 'error CODE', 'close'. */
function ending(stream: ConnectionDuplex): Log<string> {
  const log = new Log<string>();
  for (const event of ['end', 'finish', 'close']) stream.on(event, () => log.add(event));
  stream.on('error', ({ code }: NodeJS.ErrnoException) => log.add(`error ${code}`));
  return log;
}

for (const { name, options } of readModes) {
  describe(`toDuplex(), ${name}`, () => {
    const stage = scene(options);
    const own = props();

    const raw = (more: object = {}): Promise<RawPair> => stage.accepted({ codec: 'raw', ...more });

    it("throws ERR_REACTOR_UNSUPPORTED with codec 'frame'", async () => {
      const { connection } = await stage.accepted();
      expect(() => connection.toDuplex())
        .to.throw('codec')
        .with.property('code', 'ERR_REACTOR_UNSUPPORTED');
    });

    it('throws ERR_REACTOR_UNSUPPORTED in a thread that does not get the events', async () => {
      const thread = await AppThread.attached(own, stage.reactor.handle);
      const { port } = await thread.do('listen', { codec: 'raw' });
      await stage.connectRaw(port);
      const [about] = await thread.log('connection').reaches(1);
      const connection = stage.reactor.connection(about?.id ?? 0);
      expect(() => connection.toDuplex())
        .to.throw('thread')
        .with.property('code', 'ERR_REACTOR_UNSUPPORTED');
    });

    it('closes also when another thread gets a connection whose stream has ended here, or is being destroyed', async () => {
      for (const how of ['ended', 'destroyed'] as const) {
        const server = await stage.listen({ codec: 'raw' });
        const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
        const stream = connection.toDuplex();
        const log = ending(stream);
        stream.resume();
        if (how === 'destroyed') stream.destroy();
        else peer.end();
        // In the handler of 'finish': nothing of the end of the connection has come by then.
        const left = new Promise((resolve) => {
          if (how === 'destroyed') resolve(server.unsubscribe());
          else stream.once('finish', () => resolve(server.unsubscribe()));
        });
        await left;
        await until(() => stream.closed);
        expect(log.entries.at(-1)).to.equal('close');
        expect(log.entries).not.to.include('error ERR_REACTOR_CONNECTION_CLOSED');
        await server.close({ drainMs: 0 });
      }
    });

    it('throws ERR_REACTOR_INVALID_OPTION for what is no option', async () => {
      const { connection } = await raw();
      for (const wrong of [{ allowHalfOpen: 1 }, { halfOpen: true }, null, 7]) {
        expect(() => connection.toDuplex(wrong as never))
          .to.throw()
          .with.property('code', 'ERR_REACTOR_INVALID_OPTION');
      }
    });

    it('gives the same stream each time, which knows its connection', async () => {
      const { connection } = await raw();
      const stream = connection.toDuplex();
      expect(connection.toDuplex({ allowHalfOpen: true })).to.equal(stream);
      expect(stream.connection).to.equal(connection);
      expect(stream.allowHalfOpen).to.equal(false);
    });

    it("takes the default of allowHalfOpen from the connection's option", async () => {
      const { connection } = await raw({ allowHalfOpen: true });
      expect(connection.toDuplex().allowHalfOpen).to.equal(true);
    });

    it("takes the messages from 'message' listeners; 'end' and 'close' of the connection still come", async () => {
      const { server, connection, peer } = await raw();
      const log = new Log<string>();
      server.on('message', () => log.add('message of the server'));
      connection.on('message', () => log.add('message'));
      connection.on('end', () => log.add('end')).on('close', (reason) => log.add(reason));
      const all = readAll(connection.toDuplex());
      peer.socket.end('data');
      expect((await all).toString()).to.equal('data');
      expect(await log.reaches(2)).to.deep.equal(['end', 'peer-end']);
    });

    it('brings what has come before it was made', async () => {
      const { connection, peer } = await raw();
      peer.socket.write('early ');
      await until(() => connection.bytesReceived === 6);
      await stage.settle();
      const all = readAll(connection.toDuplex());
      peer.socket.end('and late');
      expect((await all).toString()).to.equal('early and late');
    });

    it('brings what has come before it was made, while the connection was paused', async () => {
      const { connection, peer } = await raw();
      connection.pause();
      peer.socket.end('while it was paused');
      await stage.settle();
      expect((await readAll(connection.toDuplex())).toString()).to.equal('while it was paused');
    });

    it('brings what has come before it was made when the peer has ended its side, too', async () => {
      const { connection, peer } = await raw({ allowHalfOpen: true });
      const ended = next(connection, 'end');
      peer.socket.end('all there is');
      await ended;
      const stream = connection.toDuplex();
      expect((await readAll(stream)).toString()).to.equal('all there is');
      stream.end('answer');
      expect((await readAll(peer.socket)).toString()).to.equal('answer');
    });

    it("brings what has come before it was made when the connection has closed, too, with 'end' and 'close'", async () => {
      const { connection, peer } = await raw();
      const end = closed(connection);
      peer.read().socket.end('all there is');
      expect((await end).reason).to.equal('peer-end');
      const stream = connection.toDuplex();
      const log = ending(stream);
      expect((await readAll(stream)).toString()).to.equal('all there is');
      await log.reaches(3);
      expect(log.entries).to.deep.equal(['end', 'finish', 'close']);
    });

    it("emits 'finish' in front of the end that answers it, also if this thread hears of both at once", async () => {
      const server = await stage.listen({ codec: 'raw' });
      const accepted = nextConnection(server);
      const peer = new Worker(READER, { eval: true, workerData: server.address.port });
      const exited = next(peer, 'exit');
      const connection = await accepted;
      const stream = connection.toDuplex().resume();
      const log = ending(stream);
      stream.end(pattern(60_000));
      // Blocked until it is all over.
      while (connection.state !== 'closed');
      expect(await log.reaches(3)).to.deep.equal(['finish', 'end', 'close']);
      await exited;
    });

    it('fails at once when it is made of a connection that has broken', async () => {
      const { connection, peer } = await raw();
      const end = closed(connection);
      peer.reset();
      await end;
      expect(await ending(connection.toDuplex()).reaches(2)).to.deep.equal(['error ECONNRESET', 'close']);
    });

    it('hears of a broken connection when it writes, whatever it has still to read', async () => {
      const { connection, peer } = await raw();
      const stream = connection.toDuplex();
      const log = ending(stream);
      peer.socket.write(pattern(MIB));
      await until(() => connection.isPaused());
      peer.reset();
      await peer.closed;
      (function write(): void {
        if (stream.destroyed) return;
        stream.write('anybody there?');
        setImmediate(write);
      })();
      const [error, close] = await log.reaches(2);
      expect(error).to.be.oneOf(['error EPIPE', 'error ECONNRESET']);
      expect(close).to.equal('close');
    });

    it('goes on where an iteration has stopped', async () => {
      const { connection, peer } = await raw();
      peer.socket.write('first');
      for await (const data of connection) {
        expect(data.toString()).to.equal('first');
        peer.socket.end('second');
        break;
      }
      expect((await readAll(connection.toDuplex())).toString()).to.equal('second');
    });

    it('brings chunks that stay as they are, also of borrowed messages', async () => {
      const { connection, peer } = await raw({ messages: 'borrow' });
      const chunks: Buffer[] = [];
      const stream = connection.toDuplex();
      stream.on('data', (chunk: Buffer) => void chunks.push(chunk));
      peer.socket.end(pattern(12 * MIB));
      await next(stream, 'end');
      expect(digest(Buffer.concat(chunks))).to.equal(digest(pattern(12 * MIB)));
    });

    for (const overflow of ['close', 'drop'] as const) {
      it(`loses nothing of a write that is longer than the overflow limit, overflow '${overflow}'`, async () => {
        const { connection, peer } = await raw({ highWaterMark: 16 * 1024, overflow });
        const stream = connection.toDuplex();
        const all = readAll(peer.socket);
        stream.write(pattern(3 * MIB));
        stream.write('between');
        stream.end(pattern(6 * MIB));
        const expected = Buffer.concat([pattern(3 * MIB), Buffer.from('between'), pattern(6 * MIB)]);
        expect(digest(await all)).to.equal(digest(expected));
        expect(connection.droppedMessages).to.equal(0);
      });
    }

    it('loses nothing with a high-water mark of one byte', async () => {
      const { connection, peer } = await raw({ highWaterMark: 1 });
      const all = readAll(peer.socket);
      connection.toDuplex().end(pattern(MIB));
      expect(digest(await all)).to.equal(digest(pattern(MIB)));
    });

    it('gives the connection no more than its high-water mark and a piece while the peer does not read', async () => {
      const highWaterMark = 256 * 1024;
      const { connection, peer } = await raw({ highWaterMark });
      const stream = connection.toDuplex();
      const part = pattern(MIB);
      for (let count = 0; count < 64; count++) stream.write(part);
      let most = 0;
      for (let round = 0; round < 5; round++) {
        most = Math.max(most, connection.bufferedAmount);
        await stage.settle();
      }
      expect(most).to.be.within(1, highWaterMark + 64 * 1024);
      const received = createHash('sha256');
      peer.socket.on('data', (data: Buffer) => void received.update(data));
      stream.end();
      await peer.ended;
      const expected = createHash('sha256');
      for (let count = 0; count < 64; count++) expected.update(part);
      expect(received.digest('hex')).to.equal(expected.digest('hex'));
    });

    it('reads no more than its buffer and the ring take while nobody reads from it', async () => {
      const { connection, peer } = await raw();
      const stream = connection.toDuplex();
      const part = pattern(MIB);
      let sent = 0;
      const writing = (async () => {
        for (; sent < 200; sent++) if (!peer.socket.write(part)) await once(peer.socket, 'drain');
        peer.socket.end();
      })();
      for (let round = 0; round < 5; round++) await stage.settle();
      expect(connection.bytesReceived).to.be.lessThan(3 * MIB);
      expect(stream.readableLength).to.be.at.most(MIB);
      let received = 0;
      stream.on('data', (chunk: Buffer) => {
        received += chunk.length;
      });
      await next(stream, 'end');
      await writing;
      expect(received).to.equal(200 * MIB);
    });

    it('closes its connection with peer-end when the peer has ended first, local-shutdown when it has itself', async () => {
      const first = await raw();
      first.connection.toDuplex().resume();
      const firstEnd = closed(first.connection);
      first.peer.read().end();
      expect((await firstEnd).reason).to.equal('peer-end');

      const second = await raw();
      const secondEnd = closed(second.connection);
      second.connection.toDuplex().end('bye');
      void second.peer.read().ended.then(() => second.peer.end());
      expect(await secondEnd).to.deep.include({ reason: 'local-shutdown' });
    });

    it('fails with what could not be sent when a peer that does not read is given up', async () => {
      const { connection } = await raw({ shutdownTimeoutMs: 100 });
      const stream = connection.toDuplex();
      const log = ending(stream);
      // Until the kernel has taken nothing for a while.
      for (let full = 0; full < 20; full = connection.bufferedAmount > 0 ? full + 1 : 0) {
        if (connection.bufferedAmount === 0) stream.write(pattern(512 * 1024));
        await stage.settle();
      }
      expect(stream.writableLength).to.equal(0);
      stream.end();
      expect(await log.reaches(2)).to.deep.equal(['error ERR_REACTOR_CONNECTION_CLOSED', 'close']);
    });

    it('fails a write with EPIPE when somebody else has shut the connection down', async () => {
      const { connection } = await raw();
      const stream = connection.toDuplex();
      const log = ending(stream);
      connection.shutdown();
      stream.write('too late');
      expect(await log.reaches(2)).to.deep.equal(['error EPIPE', 'close']);
    });

    it('closes without an error when somebody else destroys the connection, unfinished', async () => {
      const { connection } = await raw();
      const stream = connection.toDuplex();
      const log = ending(stream);
      const failed = rejection(finished(stream));
      const thread = await AppThread.attached(own, stage.reactor.handle);
      await thread.do('destroy', connection.id);
      expect(await log.reaches(1)).to.deep.equal(['close']);
      expect((await failed).code).to.equal('ERR_STREAM_PREMATURE_CLOSE');
    });

    it('is destroyed when the connection goes to another thread, which gets the rest', async () => {
      const server = await stage.listen({ codec: 'raw', dispatch: 'balance' });
      await server.subscribe();
      const accepted = nextConnection(server);
      const peer = await stage.connectRaw(server.address.port);
      const stream = (await accepted).toDuplex();
      const log = ending(stream);
      const data = next<[Buffer]>(stream, 'data');
      peer.socket.write('for the stream');
      expect((await data)[0].toString()).to.equal('for the stream');
      const thread = await AppThread.subscribed(own, server, { echo: 'thread: ' });
      await server.unsubscribe();
      expect(await log.reaches(2)).to.deep.equal(['error ERR_REACTOR_CONNECTION_CLOSED', 'close']);
      const answer = next<[Buffer]>(peer.socket, 'data');
      peer.socket.write('for the thread');
      expect((await answer)[0].toString()).to.equal('thread: for the thread');
      expect(await thread.texts(1)).to.deep.equal(['for the thread']);
    });

    it('lets server.close() wait until it has ended', async () => {
      const { server, connection, peer } = await raw();
      const stream = connection.toDuplex();
      stream.resume();
      const end = closed(connection);
      const closing = server.close({ drainMs: 20_000 });
      const all = readAll(peer.socket);
      await stage.settle();
      stream.end('the last answer');
      expect((await all).toString()).to.equal('the last answer');
      peer.socket.end();
      await closing;
      expect((await end).reason).to.equal('server-close');
    });

    it('is closed without an error when server.close() has waited long enough', async () => {
      const { server, connection } = await raw();
      const log = ending(connection.toDuplex());
      await server.close({ drainMs: 20 });
      expect(await log.reaches(1)).to.deep.equal(['close']);
    });

    it("emits 'connect' when it is asked to connect, which it is", async () => {
      const { connection } = await raw();
      const stream = connection.toDuplex();
      const log = new Log<string>();
      stream.once('connect', () => log.add('event'));
      expect(stream.connect(5432, 'database', () => log.add('listener'))).to.equal(stream);
      expect(await log.reaches(2)).to.deep.equal(['event', 'listener']);
    });

    it('throws ERR_REACTOR_INVALID_ARGUMENT for a timeout that is none', async () => {
      const stream = (await raw()).connection.toDuplex();
      for (const wrong of [-1, Number.NaN, '5', undefined]) {
        expect(() => stream.setTimeout(wrong as never))
          .to.throw()
          .with.property('code', 'ERR_REACTOR_INVALID_ARGUMENT');
      }
    });
  });
}

describe('a stream of a connection whose io worker crashes', () => {
  const own = props();

  it('fails with ERR_REACTOR_IO_WORKER_CRASH, writes that wait, too', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false });
    const [ioWorker] = await started;
    const server = await reactor.listen({ host: HOST, port: 0, codec: 'raw' });
    const accepted: Promise<TcpConnection> = nextConnection(server);
    await own.connectRaw(server.address.port);
    const stream = (await accepted).toDuplex();
    const log = ending(stream);
    const written = new Promise<Error | null | undefined>((resolve) => stream.write(pattern(16 * MIB), resolve));
    stream.write('behind');
    const failed = next<[ReactorError]>(reactor, 'error');
    await ioWorker.terminate();
    expect(((await written) as ReactorError).code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
    expect(await log.reaches(2)).to.deep.equal(['error ERR_REACTOR_IO_WORKER_CRASH', 'close']);
    await failed;
  });
});

describe('an http.Server on connections of a reactor, in a thread', () => {
  const stage = scene();

  it('answers while the main thread is blocked', async () => {
    const requests = 20;
    const answers = new Int32Array(new SharedArrayBuffer(4));
    const workerData: HttpThreadData = { handle: stage.reactor.handle, requests, answers };
    const thread = new Worker(new URL('../fixtures/thread-http.js', import.meta.url), { workerData });
    stage.defer(() => thread.terminate());
    await next(thread, 'message');
    const exited = next(thread, 'exit');
    thread.postMessage('go');
    for (let seen = 0; seen < requests; seen = Atomics.load(answers, 0)) {
      if (Atomics.wait(answers, 0, seen, 10_000) === 'timed-out') break;
    }
    expect(Atomics.load(answers, 0)).to.equal(requests);
    await exited;
  });
});

describe('a stream of a connection that does not keep its thread alive', () => {
  const own = props();

  for (const [what, expected] of [
    ['unref', ['connected', 'nothing to wait for']],
    ['unref-and-ref', ['connected', 'closed', 'nothing to wait for']],
  ] as const) {
    it(`lets the process end or not, with ${what}`, async () => {
      const raw = await own.listenRaw();
      const child = new Child('exit-behaviour', `duplex-${what}`, String(raw.port));
      own.defer(() => child.kill());
      await child.said('connected');
      if (what === 'unref-and-ref') (await raw.first()).read().end();
      const { lines, code, stderr } = await child.end();
      expect({ lines, code, stderr }).to.deep.equal({ lines: expected, code: 0, stderr: '' });
    });
  }
});
