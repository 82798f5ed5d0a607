import { setImmediate as turn } from 'node:timers/promises';
import { BroadcastChannel, type Worker } from 'node:worker_threads';
import { expect } from 'chai';
import {
  LogicPool,
  type LogicPoolOptions,
  type LogicRestart,
  type Reactor,
  type ReactorError,
  type TcpServer,
} from '../../src/index.js';
import { Log, next, rejection, until, Watched } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import type { Fault } from '../fixtures/thread-faulty-logic.js';

const LOGIC = new URL('../fixtures/thread-logic.js', import.meta.url);
const FAULTY = new URL('../fixtures/thread-faulty-logic.js', import.meta.url);
const NO_LOGIC = new URL('../fixtures/thread-no-logic.js', import.meta.url);

/** A module of this text. */
function inline(text: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(text)}`);
}

interface Answer {
  readonly text: string;
  readonly index: number;
  readonly threadId: number;
  readonly redelivered: boolean;
  readonly data: unknown;
  readonly server: number;
}

describe('LogicPool', () => {
  const stage = scene();
  const own = props();

  async function start(options: Partial<LogicPoolOptions> = {}): Promise<{ server: TcpServer; pool: LogicPool }> {
    const server = await stage.listen({ dispatch: 'balance' });
    const pool = await LogicPool.start(server, { filename: LOGIC, threads: 2, data: {}, ...options });
    own.defer(() => pool.close({ timeoutMs: 0 }));
    return { server, pool };
  }

  /** Sends one message behind `before` answers, and reads the answer to it. */
  async function ask(peer: RawPeer, text: string, before: number): Promise<Answer> {
    peer.send(text);
    const answers = await peer.texts.reaches(before + 1);
    return JSON.parse(answers[before] as string) as Answer;
  }

  it('spreads the connections of the server over its threads, which answer by themselves', async () => {
    const { server, pool } = await start();
    expect(pool.threads).to.equal(2);
    const answers: Answer[] = [];
    for (let i = 0; i < 6; i++) {
      const peer = (await stage.connectRaw(server.address.port)).read();
      answers.push(await ask(peer, `${i}`, 0));
    }
    expect(answers.map(({ text }) => text)).to.deep.equal(['0', '1', '2', '3', '4', '5']);
    expect(answers.map(({ index }) => index).sort()).to.deep.equal([0, 0, 0, 1, 1, 1]);
    expect(new Set(answers.map(({ threadId }) => threadId)).size).to.equal(2);
    expect(new Set(answers.map((answer) => answer.server))).to.deep.equal(new Set([server.id]));
    expect(server.connectionCount).to.equal(0);
  });

  it('passes data to each thread, and takes a path as well as a URL', async () => {
    const { fileURLToPath } = await import('node:url');
    for (const filename of [LOGIC.href, fileURLToPath(LOGIC)]) {
      const { server, pool } = await start({ data: { answer: 42 }, filename, threads: 1 });
      const peer = (await stage.connectRaw(server.address.port)).read();
      expect((await ask(peer, 'hello', 0)).data).to.deep.equal({ answer: 42 });
      peer.socket.destroy();
      await pool.close();
    }
  });

  for (const [how, message] of [
    ['throw', /thrown by the logic/],
    ['exit', /^LogicPool: thread \d of the pool of server \d+ has exited with code 9$/],
  ] as const) {
    it(`replaces a thread that ends by ${how}, and gives its connections to the others`, async () => {
      const { server, pool } = await start();
      const connect = async (): Promise<RawPeer> => (await stage.connectRaw(server.address.port)).read();
      const [peer, other] = [await connect(), await connect()];
      const first = await ask(peer, 'first', 0);
      const second = await ask(other, 'second', 0);
      const restarted = next<[LogicRestart]>(pool, 'restart');
      const before = stage.reactor.stats().threads.length;
      peer.send(how, 'goes on');
      const [{ index, error, exitCode }] = await restarted;
      expect(exitCode).to.equal(how === 'exit' ? 9 : undefined);
      expect(index).to.equal(first.index);
      expect(error.message).to.match(message);
      // The other one has it now. The message that has killed the first comes again, unless its handler has thrown.
      const answers = await peer.texts.reaches(how === 'exit' ? 3 : 2);
      const got = answers.slice(1).map((text) => JSON.parse(text) as Answer);
      expect(got.map(({ text }) => text)).to.deep.equal(how === 'exit' ? ['exit', 'goes on'] : ['goes on']);
      expect(got.map(({ threadId }) => threadId)).to.deep.equal(got.map(() => second.threadId));
      expect((await ask(other, 'undisturbed', 1)).threadId).to.equal(second.threadId);
      // The replacement is there and gets new connections.
      await until(() => stage.reactor.stats().threads.length === before);
      const indexes = new Set<number>();
      while (indexes.size < 2) indexes.add((await ask(await connect(), 'new', 0)).index);
      expect([...indexes].sort()).to.deep.equal([0, 1]);
    });
  }

  it('hands its connections over when it is closed', async () => {
    const { server, pool } = await start();
    const peer = (await stage.connectRaw(server.address.port)).read();
    await ask(peer, '1', 0);
    const { heldConnections } = stage.reactor.stats();
    await pool.close();
    expect(stage.reactor.stats().heldConnections).to.equal(heldConnections + 1);
    server.on('message', (connection, data) => void connection.send(`main ${data.toString()}`));
    await server.subscribe();
    peer.send('2');
    expect((await peer.texts.reaches(2))[1]).to.equal('main 2');
    await pool.close();
  });

  it('tells its logic of the end of each connection in front of stop(), also of one that was cut with messages unread', async () => {
    const server = await stage.listen({ dispatch: 'balance', codec: 'line' });
    const heard = new BroadcastChannel(`pool of ${server.id}`);
    const news = new Log<unknown>();
    heard.onmessage = (event) => news.add((event as { data: unknown }).data);
    own.defer(() => heard.close());
    const filename = inline(`
      import { BroadcastChannel } from 'node:worker_threads';
      const channel = new BroadcastChannel('pool of ${server.id}');
      channel.unref();
      export default {
        onMessage(connection) { connection.pause(); channel.postMessage('paused'); },
        onDisconnect(connection, reason, { unreadMessages }) { channel.postMessage({ reason, unreadMessages }); },
        stop() { channel.postMessage('stop'); },
      };
    `);
    await LogicPool.start(server, { filename, threads: 1 });
    (await stage.connectRaw(server.address.port)).read().write(Buffer.from('0\n1\n2\n3\n'));
    await news.reaches(1);
    expect(await server.close({ drainMs: 50 })).to.deep.include({ connections: 1, cut: 1 });
    expect(await news.reaches(3)).to.deep.equal(['paused', { reason: 'server-close', unreadMessages: 3 }, 'stop']);
  });

  it('ends when the server is closed', async () => {
    const { server, pool } = await start();
    const before = stage.reactor.stats().threads.length;
    const peer = (await stage.connectRaw(server.address.port)).read();
    void peer.ended.then(() => peer.end());
    await ask(peer, '1', 0);
    await server.close();
    await peer.gone;
    await until(() => pool.threads === 0);
    await until(() => stage.reactor.stats().threads.length === before - 2);
    await pool.close();
  });

  it('is not started again when its threads hear of the end of the server before this one does', async () => {
    const restarts = new Log<string>();
    const ENDING = inline(`
      import { BroadcastChannel } from 'node:worker_threads';
      const told = new BroadcastChannel('logic-pool.test');
      told.unref();
      export default { start: () => told.postMessage('start'), stop: () => told.postMessage('stop') };
    `);
    const channel = new BroadcastChannel('logic-pool.test');
    own.defer(() => channel.close());
    channel.onmessage = ({ data }: { data: unknown }) => restarts.add(String(data));
    const { server, pool } = await start({ filename: ENDING });
    await restarts.reaches(2);
    const fails = new Log<Error>();
    pool.on('error', (error) => fails.add(error));
    const before = stage.reactor.stats().threads.length;
    const closed = server.close();
    // This thread takes no events until the others have left.
    const left = Date.now() + 10_000;
    while (stage.reactor.stats().threads.length > before - 2 && Date.now() < left);
    await closed;
    await until(() => pool.threads === 0);
    await pool.close();
    expect(restarts.entries).to.deep.equal(['start', 'start', 'stop', 'stop']);
    expect(fails.entries).to.deep.equal([]);
  });

  it('and its process survive the end of a reactor whose io worker is not started again', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false });
    const [ioWorker] = await started;
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const stops = new Int32Array(new SharedArrayBuffer(4));
    const pool = await LogicPool.start(server, { filename: LOGIC, threads: 2, data: { stops } });
    own.defer(() => pool.close({ timeoutMs: 0 }));
    const restarts = new Log<LogicRestart>();
    pool.on('restart', (restart) => restarts.add(restart));
    await ask((await own.connectRaw(server.address.port)).read(), '1', 0);
    const failed = next<[ReactorError]>(reactor, 'error');
    await ioWorker.terminate();
    expect((await failed)[0].code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
    await until(() => pool.threads === 0);
    await pool.close();
    expect(Atomics.load(stops, 0), 'threads that have lived to stop').to.equal(2);
    expect(restarts.entries).to.deep.equal([]);
  });

  describe('with faulty logic', () => {
    interface Faulty {
      readonly reactor: Reactor;
      readonly server: TcpServer;
      readonly words: Int32Array;
      readonly options: LogicPoolOptions;
    }

    async function prepare(fault: Fault['fault'], reactor: Reactor, threads = 1): Promise<Faulty> {
      const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
      own.defer(() => server.close({ drainMs: 0 }));
      const words = new Int32Array(new SharedArrayBuffer(4 * (1 + threads)));
      const data: Fault = { fault, words };
      return { reactor, server, words, options: { filename: FAULTY, threads, data } };
    }

    async function startFaulty({ server, options }: Faulty): Promise<LogicPool> {
      const pool = await LogicPool.start(server, options);
      own.defer(() => pool.close({ timeoutMs: 0 }));
      return pool;
    }

    /** Resolves when so many threads are where they should not be. */
    async function stuck({ words }: Faulty, threads = 1): Promise<void> {
      await until(() => Atomics.load(words, 0) === threads);
    }

    it('has no threads when close() has cut off a handler that does not return', async () => {
      const faulty = await prepare('onMessage() never returns', stage.reactor);
      const pool = await startFaulty(faulty);
      (await stage.connectRaw(faulty.server.address.port)).send('1');
      await stuck(faulty);
      await pool.close({ timeoutMs: 0 });
      expect(pool.threads).to.equal(0);
    });

    it("emits 'error' with what stop() throws", async () => {
      const pool = await startFaulty(await prepare('stop() throws', stage.reactor));
      const failed = next<[Error]>(pool, 'error');
      await pool.close();
      const [error] = await failed;
      expect(error.message).to.match(/^LogicPool: thread 0 of the pool of server \d+ has failed: it cannot stop$/);
      expect((error.cause as Error).message).to.equal('it cannot stop');
      expect(pool.threads).to.equal(0);
    });

    it("emits 'error' with what a thread throws behind its stop()", async () => {
      const faulty = await prepare('stop() leaves something behind', stage.reactor, 2);
      const pool = await startFaulty(faulty);
      const failed = next<[Error]>(pool, 'error');
      const ended = pool.close();
      await until(() => pool.threads === 1);
      Atomics.store(faulty.words, 1, 1);
      expect((await failed)[0].message).to.match(/^LogicPool: .*left behind$/);
      Atomics.store(faulty.words, 2, 1);
      await ended;
    });

    it('says nothing of a thread that exits while the pool is being closed', async () => {
      const faulty = await prepare('stop() exits', stage.reactor);
      const pool = await startFaulty(faulty);
      const failed = new Log<Error>();
      pool.on('error', (error) => failed.add(error));
      await pool.close();
      expect(failed.entries).to.deep.equal([]);
    });

    it('says nothing of a replacement that cannot start since the reactor is closed', async () => {
      const reactor = await own.spawn();
      const faulty = await prepare('start() fails when its gate is opened', reactor);
      const pool = await startFaulty(faulty);
      const told = new Log<Error>();
      pool.on('error', (error) => told.add(error));
      const restarted = next<[LogicRestart]>(pool, 'restart');
      (await own.connectRaw(faulty.server.address.port)).send('exit');
      expect((await restarted)[0].exitCode).to.equal(3);
      pool.on('restart', ({ error }) => told.add(error));
      await stuck(faulty, 2);
      const closing = reactor.close({ timeoutMs: 200 });
      Atomics.store(faulty.words, 1, 1);
      await closing;
      await pool.close();
      expect(told.entries).to.deep.equal([]);
    });

    it('is waited for by reactor.close(), with its asynchronous stop()', async () => {
      const reactor = await own.spawn();
      const faulty = await prepare('stop() takes its time', reactor, 2);
      const pool = await startFaulty(faulty);
      const ended = next(faulty.server, 'close');
      const closing = new Watched(reactor.close());
      await ended;
      await stuck(faulty, 2);
      for (let turns = 0; turns < 10; turns++) await turn();
      expect(closing.state).to.equal('pending');
      for (const gate of [1, 2]) Atomics.store(faulty.words, gate, 1);
      await closing.promise;
      expect(Atomics.load(faulty.words, 0), 'threads in stop()').to.equal(0);
      expect(pool.threads).to.equal(0);
    });

    it('is not waited for by reactor.close() for longer than its timeout', async () => {
      const reactor = await own.spawn();
      const faulty = await prepare('stop() takes its time', reactor);
      const pool = await startFaulty(faulty);
      await reactor.close({ timeoutMs: 50 });
      await stuck(faulty);
      expect(pool.threads).to.equal(1);
      Atomics.store(faulty.words, 1, 1);
      await pool.close();
      expect(Atomics.load(faulty.words, 0), 'threads in stop()').to.equal(0);
    });

    it('ends with the reactor, also if it hangs in a handler or has not got through start()', async () => {
      const reactor = await own.spawn();
      const exits: Promise<unknown>[] = [];
      const onWorker = (worker: Worker): void => void exits.push(next(worker, 'exit'));
      process.on('worker', onWorker);
      own.defer(() => process.off('worker', onWorker));
      const hanging = await prepare('start() never resolves', reactor);
      const spinning = await prepare('onMessage() never returns', reactor);
      const failed = rejection(startFaulty(hanging));
      const pool = await startFaulty(spinning);
      (await own.connectRaw(spinning.server.address.port)).send('1');
      await Promise.all([stuck(hanging), stuck(spinning)]);
      await reactor.close({ timeoutMs: 0 });
      // Both have some seconds.
      const error = await failed;
      expect(error.code).to.equal('ERR_REACTOR_LOGIC_FAILED');
      expect(error.message).to.match(/the server was closed/);
      await until(() => pool.threads === 0);
      expect(exits).to.have.length(2);
      await Promise.all(exits);
    });
  });

  describe('start() rejects', () => {
    const wrong: Record<string, [options: Partial<LogicPoolOptions>, code: string, message: RegExp]> = {
      'a module that does not exist': [
        { filename: new URL('./nowhere.js', import.meta.url) },
        'ERR_REACTOR_LOGIC_FAILED',
        /nowhere/,
      ],
      'a module without a default export': [{ filename: NO_LOGIC }, 'ERR_REACTOR_LOGIC_FAILED', /default export/],
      'logic whose start() throws': [{ data: { fails: true } }, 'ERR_REACTOR_LOGIC_FAILED', /it cannot start/],
      'logic with an unknown member': [
        { filename: inline('export default { onMesage() {} }'), threads: 1 },
        'ERR_REACTOR_LOGIC_FAILED',
        /'onMesage'/,
      ],
      'logic with a member that is no function': [
        { filename: inline('export default { onMessage: 1 }'), threads: 1 },
        'ERR_REACTOR_LOGIC_FAILED',
        /'onMessage' is no function/,
      ],
      'data that cannot be cloned': [{ data: { call() {} } }, 'ERR_REACTOR_INVALID_OPTION', /option 'data'/],
      'no filename': [{ filename: undefined as never }, 'ERR_REACTOR_INVALID_OPTION', /filename/],
      'no threads': [{ threads: 0 }, 'ERR_REACTOR_INVALID_OPTION', /threads/],
      'too many threads': [{ threads: 32 }, 'ERR_REACTOR_INVALID_OPTION', /threads/],
      'an unknown option': [{ workers: 1 } as never, 'ERR_REACTOR_INVALID_OPTION', /workers/],
    };
    for (const [what, [options, code, message]] of Object.entries(wrong)) {
      it(`${what} with ${code}, and leaves no thread behind`, async () => {
        const before = stage.reactor.stats().threads.length;
        const error = await rejection(start(options));
        expect(error.code).to.equal(code);
        expect(error.message).to.match(message);
        await until(() => stage.reactor.stats().threads.length === before);
      });
    }

    it("a server whose dispatch is 'owner' with ERR_REACTOR_INVALID_OPTION", async () => {
      const server = await stage.listen();
      const error = await rejection(LogicPool.start(server, { filename: LOGIC }));
      expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
      expect(error.message).to.match(/owner/);
    });

    it('what is no server with ERR_REACTOR_INVALID_OPTION', async () => {
      const error = await rejection(LogicPool.start({} as TcpServer, { filename: LOGIC }));
      expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
    });
  });
});
