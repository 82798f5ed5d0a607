import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdir, mkdtemp, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { type Logger, type LogLevel, Reactor, type SpawnOptions } from '../../src/index.js';
import { certificateFile } from '../fixtures/certificates.js';
import { Child } from '../fixtures/child.js';
import { closed, next, nextConnection, rejection, until, untilWithoutYielding } from '../fixtures/events.js';
import { frame, HELLO } from '../fixtures/raw-peer.js';
import { HOST, props } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

const SERVICE = new URL('../fixtures/service-module.js', import.meta.url);

/** Of those that are reserved for extensions. */
const IGNORED_KIND = 200;

interface Line {
  readonly level: LogLevel;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** A user's logger. */
class Lines implements Logger {
  readonly level: string;
  readonly all: Line[] = [];
  readonly trace = this.#taker('trace');
  readonly debug = this.#taker('debug');
  readonly info = this.#taker('info');
  readonly warn = this.#taker('warn');
  readonly error = this.#taker('error');
  readonly fatal = this.#taker('fatal');

  constructor(level: string) {
    this.level = level;
  }

  #taker(level: LogLevel): (fields: object, message: string) => void {
    return (fields, message) => void this.all.push({ level, fields: { ...fields }, message });
  }

  told(): string[] {
    return this.all.map(({ level, message }) => `${level} ${message}`);
  }
}

describe('the log of a reactor', () => {
  const own = props();
  let folder: string;
  let file: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'simple-reactor-log-'));
    file = join(folder, 'reactor.log');
  });

  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function fileLines(path = file): Promise<Record<string, unknown>[]> {
    const text = await readFile(path, 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** A connection comes, says something, and goes. */
  async function visit(reactor: Reactor, bytes: Uint8Array | string = 'hello'): Promise<void> {
    const server = await reactor.listen({ host: HOST, port: 0, codec: 'raw' });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const gone = closed(connection);
    connection.on('message', () => undefined);
    peer.socket.end(bytes);
    await gone;
    await server.close();
  }

  it('warns once of a server whose connections end because nobody has subscribed, and not of one that is closed', async () => {
    const logger = new Lines('warn');
    const reactor = await own.spawn({ logger });
    const [silent, closing] = [
      await reactor.listen({ host: HOST, port: 0, dispatch: 'balance', orphanTimeoutMs: 0 }),
      await reactor.listen({ host: HOST, port: 0, dispatch: 'all' }),
    ];
    await (await own.connectRaw(silent.address.port)).read().gone;
    await (await own.connectRaw(silent.address.port)).read().gone;
    const held = await own.connectRaw(closing.address.port);
    await until(() => reactor.stats().heldConnections === 1);
    await closing.close({ drainMs: 0 });
    await held.read().gone;
    await reactor.close();
    expect(logger.all.map(({ level, fields }) => [level, fields])).to.deep.equal([
      ['warn', { ...logger.all[0]?.fields, server: silent.id, dispatch: 'balance', orphanTimeoutMs: 0 }],
    ]);
    expect(logger.all[0]?.message).to.contain('subscribe()').and.to.contain('LogicPool');
  });

  it('is in the file when close() resolves, to the last line', async () => {
    const reactor = await own.spawn({ log: { file, level: 'debug' } });
    await visit(reactor);
    await reactor.close();
    const lines = await fileLines();
    expect(lines.map(({ level, msg }) => `${String(level)} ${String(msg)}`)).to.deep.equal([
      '30 Server listens',
      '20 Connection opened',
      '20 Connection closed',
      '30 Server closed',
    ]);
    expect(lines[2]).to.include({ reason: 'peer-end', bytesReceived: 5, remoteAddress: HOST, ioWorker: 0 });
    expect(lines[2]?.['openMs']).to.be.at.least(0);
  });

  it('has no payloads, unless one asks for them', async () => {
    for (const payloads of [false, 4] as const) {
      const reactor = await own.spawn({ log: { file, level: 'trace', payloads } });
      await visit(reactor, 'secret');
      await reactor.close();
    }
    const received = (await fileLines()).filter(({ msg }) => msg === 'Received');
    expect(received.map(({ bytes }) => bytes)).to.deep.equal(['[6 bytes]', '73656372... [6 bytes]']);
  });

  it('hides addresses wherever a line would have them', async () => {
    const redact = ['remoteAddress', 'remotePort', 'to'];
    const reactor = await own.spawn({ log: { file, level: 'trace', redact } });
    const tls = { cert: certificateFile('server-cert.pem'), key: certificateFile('server-key.pem') };
    const server = await reactor.listen({ host: HOST, port: 0, tls });
    const failed = next(server, 'tlsClientError');
    const peer = await own.connectRaw(server.address.port);
    const { localPort } = peer.socket;
    peer.socket.write('no TLS at all, whatever one may think');
    await failed;
    const gone = await reactor.listen({ host: HOST, port: 0 });
    const { port } = gone.address;
    await gone.close();
    await rejection(reactor.connect({ host: HOST, port }));
    await rejection(reactor.connect({ host: HOST, port, tls: {} }));
    await reactor.close();
    const lines = (await fileLines()).filter(({ msg }) => /TLS handshake failed|Could not connect/.test(String(msg)));
    expect(lines.map(({ error, code }) => [error, code]).slice(1)).to.deep.equal([
      ['connect ECONNREFUSED', 'ECONNREFUSED'],
      ['connect ECONNREFUSED', 'ECONNREFUSED'],
    ]);
    expect(lines[0]).to.include({ msg: 'TLS handshake failed', remoteAddress: '[redacted]', remotePort: '[redacted]' });
    expect(lines[0]?.['code']).to.match(/^ERR_SSL_/);
    for (const line of lines) {
      const text = JSON.stringify({ ...line, pid: undefined });
      expect(text).to.not.include(HOST);
      expect(text).to.not.match(new RegExp(`\\b(${localPort}|${port})\\b`));
    }
  });

  it('has a peer that breaks the protocol at info, with its address', async () => {
    const reactor = await own.spawn({ log: { file, level: 'info' } });
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const gone = closed(connection);
    peer.socket.write(Buffer.alloc(64, 0xff));
    const { reason } = await gone;
    await reactor.close();
    const line = (await fileLines()).find(({ msg }) => msg === 'Connection closed');
    expect(line).to.include({ level: 30, reason, remotePort: peer.socket.localPort, connection: connection.id });
  });

  it('takes another level at run time, from any thread, also for an io worker that is started again', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ log: { file, level: 'error' } });
    const [ioWorker] = await started;
    await visit(reactor);
    const thread = await AppThread.attached(own, reactor.handle);
    await thread.do('setLogLevel', 'info');
    await visit(reactor);
    // What has not crossed to the backend is lost with the thread.
    while (!(await readFile(file, 'utf8')).includes('Server closed'));
    const again = next(reactor, 'respawn');
    void ioWorker.terminate();
    await again;
    await visit(reactor);
    await thread.do('closeReactor');
    await reactor.close();
    expect((await fileLines()).map(({ msg }) => msg)).to.deep.equal([
      'Server listens',
      'Server closed',
      'The io worker ended unexpectedly, and this one takes its place',
      'Server listens',
      'Server closed',
    ]);
  });

  for (const to of ['a file', 'stderr, where it begins with the first line']) {
    it(`is written while the main thread is blocked: to ${to}`, async () => {
      const child = to === 'a file' ? new Child('blocked-logger', file) : new Child('blocked-logger');
      own.defer(() => child.kill());
      const port = Number(await child.said('port'));
      await own.connectRaw(port);
      if (to === 'a file') while (!(await readFile(file, 'utf8')).includes('Connection opened'));
      else await until(() => child.stderr.includes('Connection opened'));
    });
  }

  it('rotates: one file for each io worker and number', async () => {
    const log = { file, level: 'info', rotate: { size: '1k', keep: 5 } } as const;
    const reactor = await own.spawn({ log, ioWorkers: 2 });
    for (let i = 0; i < 2; i++) await visit(reactor);
    await reactor.close();
    const files = await readdir(folder);
    expect(files).to.include('reactor-io0.1.log');
    expect(files).to.include('reactor-io1.1.log');
  });

  it('rotates, and touches no file that is not its own', async () => {
    const foreign = ['app2.log', 'apps.log', 'app-1.log', 'app-20261129.log', 'other.7.log', 'app.log'];
    for (const name of foreign) await writeFile(join(folder, name), '');
    const log = { file: join(folder, 'app.log'), level: 'debug', rotate: { size: 1024, keep: 3 } } as const;
    const reactor = await own.spawn({ log });
    for (let i = 0; i < 20; i++) await visit(reactor);
    await reactor.close();
    const files = await readdir(folder);
    expect(files).to.include.members(foreign);
    const numbers = files.map((file) => /^app\.(\d+)\.log$/.exec(file)?.[1]).filter((number) => number !== undefined);
    expect(numbers.length).to.be.within(1, 4);
    expect(Math.max(...numbers.map(Number))).to.be.lessThan(100);
  });

  it('a full file that cannot be deleted is an error of the reactor, and the log goes on', async () => {
    await writeFile(join(folder, 'reactor.2.log'), '');
    const log = { file, level: 'info', rotate: { size: '1k', keep: 1 } } as const;
    const reactor = await own.spawn({ log });
    await mkdir(join(folder, 'reactor.1.log'));
    const errors: Error[] = [];
    reactor.on('error', (error) => errors.push(error));
    while (errors.length === 0) await visit(reactor);
    await visit(reactor);
    await reactor.close();
    expect(errors.map((error) => (error as { code?: string }).code)).to.deep.equal(['ERR_REACTOR_LOG_FAILED']);
    expect(errors[0]?.message).to.match(/^A full file of the log cannot be deleted: .*reactor\.1\.log/);
    const files = (await readdir(folder)).filter((name) => name !== 'reactor.1.log');
    expect(files.length).to.be.within(1, 2);
    const numbers = files.map((name) => Number(/\d+/.exec(name)?.[0]));
    const last = await fileLines(join(folder, `reactor.${Math.max(...numbers)}.log`));
    expect(last.at(-1)?.['msg']).to.equal('Server closed');
  });

  for (const [ioWorkers, taken] of [
    [1, 'reactor.1.log'],
    [2, 'reactor-io1.1.log'],
  ] as const) {
    it(`refuses a rotating file that cannot be opened: ${taken}`, async () => {
      await mkdir(join(folder, taken));
      const error = await rejection(Reactor.spawn({ log: { file, rotate: { size: '1k' } }, ioWorkers }));
      expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
      expect(error.message).to.match(/'log.file' cannot be written: EISDIR/);
      expect(error.message).to.include(join(folder, taken));
    });
  }

  it('leaves a descriptor that it was given open', async () => {
    await using handle = await open(file, 'a');
    const reactor = await own.spawn({ log: { fd: handle.fd, level: 'info' } });
    await visit(reactor);
    await reactor.close();
    await handle.write('still open\n');
    expect(await readFile(file, 'utf8')).to.match(/Server listens.*Server closed.*still open/s);
  });

  for (const [what, options, message] of [
    ['a file in no folder', { log: { file: '/no/such/folder/a.log' } }, /'log.file' cannot be written: ENOENT/],
    ['a rotating file in no folder', { log: { file: '/no/such/a.log', rotate: { size: '1m' } } }, /'log.file'.*ENOENT/],
    ['a descriptor that is not open', { log: { fd: 98_765 } }, /'log.fd' is not open: EBADF/],
    ['a file and a descriptor', { log: { file: 'a', fd: 1 } }, /'log.file' and 'log.fd' exclude/],
    ['a rotation without a file', { log: { rotate: { size: '1m' } } }, /'log.rotate' goes with 'log.file'/],
    ['a rotation without a when', { log: { file: 'a', rotate: { keep: 1 } } }, /needs 'frequency' or 'size'/],
    ['an unknown size', { log: { file: 'a', rotate: { size: '10 apples' } } }, /'log.rotate.size' must be a number/],
    ['an unknown frequency', { log: { file: 'a', rotate: { frequency: 'weekly' } } }, /'log.rotate.frequency' must be/],
    ['an unknown level', { log: { level: 'loud' } }, /'log.level' must be one of 'trace'/],
    [
      'a logger that lacks methods',
      { logger: console },
      /^Reactor.spawn\(\): option 'logger' must be an object with .*, got one without fatal$/,
    ],
    ['a logger that is none', { logger: { level: 'info' } }, /'logger' must be .*, got { level: 'info' }$/],
    ['two logs', { log: {}, logger: new Lines('info') }, /'log' and 'logger' exclude each other/],
    ['no log and a logger', { log: false, logger: new Lines('info') }, /'log' and 'logger' exclude each other/],
  ] as const) {
    it(`refuses ${what}, before anything is started`, async () => {
      const error = await rejection(Reactor.spawn(options as SpawnOptions));
      expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
      expect(error.message).to.match(message);
    });
  }

  it('setLogLevel() takes levels only, and none where there is no log', async () => {
    const silent = await own.spawn({ log: false });
    const invalid = { code: 'ERR_REACTOR_INVALID_ARGUMENT' };
    expect(() => silent.setLogLevel('info'))
      .to.throw(/without a log/)
      .that.includes(invalid);
    const reactor = await own.spawn({ log: { fd: 2 } });
    expect(() => reactor.setLogLevel('loud' as LogLevel))
      .to.throw(/got 'loud'/)
      .that.includes(invalid);
  });

  it('takes a level, and pollSync() polls, when the reactor is over: neither does anything', async () => {
    const reactor = await own.spawn({ log: { fd: 2 } });
    await reactor.close();
    reactor.setLogLevel('error');
    expect(reactor.pollSync(1000)).to.equal(0);
  });

  describe("goes to a user's logger", () => {
    it('from the level on that it has, to the last line before close() resolves', async () => {
      const logger = new Lines('info');
      const reactor = await own.spawn({ logger });
      await visit(reactor);
      await reactor.close();
      expect(logger.told()).to.deep.equal(['info Server listens', 'info Server closed']);
    });

    it('1,000 lines at most while its thread is blocked; the others are counted, and it is told how many', async () => {
      const logger = new Lines('silent');
      const reactor = await own.spawn({ logger });
      const server = await reactor.listen({ host: HOST, port: 0 });
      const [, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      reactor.setLogLevel('info');
      peer.write(HELLO).write(Buffer.concat(Array.from({ length: 1500 }, () => frame('', IGNORED_KIND))));
      // A frame counts first, and its line then.
      untilWithoutYielding(() => reactor.stats().ignoredFrames === 1500 && reactor.stats().droppedLogLines >= 500);
      expect(reactor.stats().droppedLogLines).to.equal(500);
      await until(() => logger.all.length === 1000);
      expect(logger.all.every(({ fields }) => fields['droppedLines'] === undefined)).to.equal(true);

      // As long as the io worker does not know that they have been taken, more are dropped.
      for (let sent = 1501; logger.all.length === 1000; sent++) {
        peer.write(frame('', IGNORED_KIND));
        await until(() => reactor.stats().ignoredFrames === sent);
        await until(() => logger.all.length + reactor.stats().droppedLogLines === sent);
      }
      expect(logger.all.at(-1)?.fields['droppedLines']).to.equal(reactor.stats().droppedLogLines);
    });

    it('with the same fields for the same things, also from services', async () => {
      const logger = new Lines('info');
      const reactor = await own.spawn({ logger });
      const services = [{ module: SERVICE, options: { throwsIn: 'onMessage', holdMs: 50 } }];
      const server = await reactor.listen({ host: HOST, port: 0, services });
      const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      const gone = closed(connection);
      peer.send('hold').send('fault');
      await gone;
      await reactor.close();
      const fieldsOf = (message: string): unknown => logger.all.find((line) => line.message === message)?.fields;
      const { id } = connection;
      expect(fieldsOf('A service has held the io worker up')).to.include({ service: 'commands', connection: id });
      expect(fieldsOf('A service failed')).to.include({ connection: id, hook: 'onMessage', error: 'onMessage: no' });
      const code = 'ERR_REACTOR_SERVICE_FAILED';
      const error = "Service 'commands' threw in onMessage: onMessage: no";
      expect(fieldsOf('Connection closed')).to.include({ connection: id, reason: 'service-failed', code, error });
    });

    it('one that throws is reported once, as an error of the reactor', async () => {
      const logger = new Lines('debug');
      const broken = () => {
        throw new Error('no paper');
      };
      Object.assign(logger, { debug: broken, info: broken });
      const reactor = await own.spawn({ logger });
      const errors: Error[] = [];
      reactor.on('error', (error) => errors.push(error));
      await visit(reactor);
      await reactor.close();
      expect(errors.map((error) => [(error as { code?: string }).code, (error.cause as Error).message])).to.deep.equal([
        ['ERR_REACTOR_LOG_FAILED', 'no paper'],
      ]);
    });
  });

  it('tells diagnostics channels, in the thread that gets the events', async () => {
    const told: string[] = [];
    const names = ['open', 'close', 'protocol-error'] as const;
    const listeners = names.map((name) => {
      const listener = (message: unknown): void => {
        const { connection, reason, error } = message as { connection: object; reason?: string; error?: Error };
        told.push([name, 'id' in connection, reason, (error as { code?: string } | undefined)?.code].join(' '));
      };
      subscribe(`simple-reactor:${name}`, listener);
      return () => unsubscribe(`simple-reactor:${name}`, listener);
    });
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const gone = closed(connection);
    peer.socket.end(Buffer.from([0, 0]));
    await gone;
    await reactor.close();
    for (const stop of listeners) stop();
    expect(told).to.deep.equal([
      'open true  ',
      'protocol-error true  ERR_REACTOR_PROTOCOL',
      'close true protocol-error ',
    ]);
  });

  it('tells the channel for stalls where the reactor listens to them', async () => {
    const told: unknown[] = [];
    const listener = (message: unknown): void => void told.push(message);
    subscribe('simple-reactor:stall', listener);
    const reactor = await own.spawn({ stallAfterMs: 20 });
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, { id: server.id, handle: reactor.handle });
    await server.unsubscribe();
    const stalled = next(reactor, 'stall');
    await own.connectRaw(server.address.port);
    await thread.log('connection').reaches(1);
    void thread.do('block');
    await thread.log('blocking').reaches(1);
    await own.connectRaw(server.address.port);
    const [stall] = await stalled;
    unsubscribe('simple-reactor:stall', listener);
    expect(told).to.deep.equal([{ reactor: reactor.handle.reactor, stall }]);
  });

  it('says nothing by default of what an application does every day', async () => {
    const logger = new Lines('nothing it knows');
    expect(LEVELS).to.not.include(logger.level);
    const reactor = await own.spawn({ logger });
    await visit(reactor);
    await rejection(reactor.connect({ host: HOST, port: 1 }));
    await reactor.close();
    expect(logger.all).to.deep.equal([]);
  });
});
