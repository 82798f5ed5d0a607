import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import {
  type ConnectionOptions,
  type Reactor,
  ReactorError,
  type ServiceFailure,
  type ServiceHook,
  type SlowServiceCall,
  type TcpServer,
} from '../../src/index.js';
import {
  closed,
  Log,
  next,
  nextConnection,
  nextText,
  rejection,
  texts,
  until,
  untilWithoutYielding,
} from '../fixtures/events.js';
import { frame, framesOf, HELLO } from '../fixtures/raw-peer.js';
import { HOST, pattern, props, readModes, scene } from '../fixtures/scene.js';
import { count, type ServiceManner } from '../fixtures/service-module.js';
import type { ServicePeerData } from '../fixtures/thread-service-peer.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const ROUNDS = 200;
const MODULE = new URL('../fixtures/service-module.js', import.meta.url);
const DISABLING = new URL('../fixtures/service-disabling.js', import.meta.url);

function commands(options: ServiceManner, module = MODULE): { module: URL; options: ServiceManner } {
  return { module, options };
}

/** A module with a service, as text. */
function inline(definition: string): string {
  return `data:text/javascript,export default ${encodeURIComponent(definition)}`;
}

/** What a service has counted in its thread. */
class Counts {
  readonly buffer = new SharedArrayBuffer(64);
  readonly #counts = new Int32Array(this.buffer);

  of(what: number): number {
    return Atomics.load(this.#counts, what);
  }

  reaches(what: number, times: number): Promise<void> {
    return until(() => this.of(what) >= times);
  }
}

function failures(server: { on(event: 'serviceError', listener: (failure: ServiceFailure) => void): unknown }) {
  const log = new Log<ServiceFailure>();
  server.on('serviceError', (failure) => log.add(failure));
  return log;
}

describe('a service', () => {
  const stage = scene();

  it('answers messages on the io worker, and passes on what it does not handle', async () => {
    const { near, far } = await stage.pair({ server: { services: [MODULE] } });
    const heard = texts(far);
    const answers = texts(near);
    for (const text of ['echo 1', 'app 2', 'echo 3', 'echo 4', 'app 5', 'app 6', 'count']) near.send(text);
    expect(await answers.reaches(4)).to.deep.equal(['echo 1', 'echo 3', 'echo 4', '7']);
    expect(await heard.reaches(3)).to.deep.equal(['app 2', 'app 5', 'app 6']);
    expect(far.messagesReceived).to.equal(7);
    expect(stage.reactor.stats().serviceFailures).to.equal(0);
  });

  it('gets the messages one by one however they arrive', async () => {
    const { connection, peer } = await stage.accepted({ services: [MODULE] });
    const heard = texts(connection);
    const bytes = Buffer.concat([HELLO, ...['echo 1', 'app 2', 'echo 3'].map((text) => frame(text))]);
    peer.read();
    for (const byte of bytes) {
      peer.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await peer.texts.reaches(2)).to.deep.equal(['echo 1', 'echo 3']);
    expect(await heard.reaches(1)).to.deep.equal(['app 2']);
  });

  it('tells a service of the end of those connections only that it has been told of', async () => {
    const services = [
      inline(`{ name: 'ban', onOpen: (connection) => connection.destroy() }`),
      inline(`{ name: 'other', onClose() { throw new Error('of what?') } }`),
    ];
    const server = await stage.listen({ services });
    const failures: unknown[] = [];
    server.on('serviceError', (failure) => failures.push(failure));
    const peer = await stage.connectRaw(server.address.port);
    await peer.read().gone;
    await stage.settle();
    expect(failures).to.deep.equal([]);
  });

  it('does not keep a peer for ever that asks and does not read the answers', async () => {
    const services = [inline(`{ name: 'echo', onMessage: (connection, data) => (connection.send(data), true) }`)];
    const { connection, peer } = await stage.accepted({ services, limits: { idleTimeoutMs: 200 } });
    const ended = closed(connection);
    for (let i = 0; i < 20 * 32; i++) peer.write(frame(Buffer.alloc(32 * KIB)));
    expect((await ended).reason).to.equal('idle-timeout');
  });

  for (const { name, options } of readModes) {
    it(`echoes messages of every length (${name})`, async () => {
      const reactor = await stage.spawn(options);
      const services = [inline(`{ name: 'echo', onMessage: (connection, data) => (connection.send(data), true) }`)];
      const server = await reactor.listen({ host: HOST, port: 0, services });
      const peer = await stage.connectRaw(server.address.port);
      const frames = Array.from({ length: 3000 }, (_, i) => frame(pattern((i * 7919) % 1300, i)));
      const sent = Buffer.concat([...frames, frame(pattern(300 * KIB)), ...frames]);
      const pieces: Buffer[] = [];
      peer.count().socket.on('data', (bytes: Buffer) => pieces.push(bytes));
      peer.write(sent);
      await until(() => peer.received === HELLO.length + sent.length);
      expect(Buffer.concat(pieces).subarray(HELLO.length).equals(sent)).to.equal(true);
    });
  }

  const others: Record<string, ConnectionOptions> = {
    raw: { codec: 'raw' },
    line: { codec: 'line' },
    'length-field': { codec: { type: 'length-field', bytes: 2 } },
    'a codec module': { codec: { module: new URL('../fixtures/codec-module.js', import.meta.url) } },
    'frame with compression': { compression: { thresholdBytes: 10 } },
  };
  for (const [name, options] of Object.entries(others)) {
    it(`works with codec ${name}`, async () => {
      const plain = inline(`{
        name: 'plain',
        onMessage(connection, data) {
          return data[0] === 101 && connection.send(Buffer.concat([data, Buffer.from('!')]));
        },
      }`);
      const { near, far } = await stage.pair({ both: options, server: { services: [plain] } });
      const answers = texts(near);
      near.send('echo of a text that is long enough');
      await until(() => answers.entries.includes('echo of a text that is long enough!'));
      const heard = texts(far);
      near.send('a text for the application, long enough, too');
      await until(() => heard.entries.includes('a text for the application, long enough, too'));
    });
  }

  it('gets a long message whole, and so does the application if it is not handled', async () => {
    const { near, far } = await stage.pair({ both: { highWaterMark: 4 * MIB }, server: { services: [MODULE] } });
    for (const length of [64 * KIB - 7, 64 * KIB - 6, 64 * KIB - 5, 64 * KIB, MIB]) {
      const rest = pattern(length, length);
      const answered = next<[Buffer]>(near, 'message');
      near.send(Buffer.concat([Buffer.from('echo'), rest]));
      expect((await answered)[0].subarray(4).equals(rest), `${length} bytes echoed`).to.equal(true);
      const heard = next<[Buffer]>(far, 'message');
      near.send(Buffer.concat([Buffer.from('app!'), rest]));
      expect((await heard)[0].subarray(4).equals(rest), `${length} bytes passed on`).to.equal(true);
    }
  });

  it('leaves requests and their answers to the application', async () => {
    const { near, far } = await stage.pair({ both: { services: [MODULE] } });
    far.on('request', (data, reply) => void reply(`${data} answered`));
    expect((await near.request('echo')).toString()).to.equal('echo answered');
    near.on('request', (data, reply) => void reply(`${data} answered, too`));
    expect((await far.request('echo')).toString()).to.equal('echo answered, too');
  });

  it('sends and gets system messages, also between two reactors', async () => {
    const other = await stage.spawn();
    const server = await stage.listen({ services: [MODULE] });
    const client = other.client({ services: [MODULE] });
    const [far, near] = await Promise.all([
      nextConnection(server),
      client.connect({ host: HOST, port: server.address.port }),
    ]);
    const heard = texts(far);
    // The server's service sends one, and the client's tells of it in a message.
    near.send('system64');
    near.send('system255');
    const told = ['got 64 for the peer 12', 'got 255 for the peer 12'];
    expect(await heard.reaches(2)).to.deep.equal(told);
    const back = texts(near);
    far.send('system64');
    expect(await back.reaches(1)).to.deep.equal(told.slice(0, 1));
  });

  it('gets system messages of its kinds only, however they arrive; others are counted', async () => {
    const { peer } = await stage.accepted({ services: [MODULE] });
    const ignored = stage.reactor.stats().ignoredFrames;
    const long = pattern(100 * KIB);
    peer.read().write(HELLO);
    const bytes = Buffer.concat([frame('abc', 64), frame('', 65), frame('de', 255), frame('', 64)]);
    for (const byte of bytes) {
      peer.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    peer.write(Buffer.concat([frame('x', 100), frame(long, 255), frame('end', 64)]));
    const answers = await peer.texts.reaches(5);
    expect(answers.slice(0, 3)).to.deep.equal(['got 64 abc 3', 'got 255 de 2', 'got 64  0']);
    expect(answers[3]).to.match(new RegExp(` ${100 * KIB}$`));
    expect(answers[4]).to.equal('got 64 end 3');
    expect(stage.reactor.stats().ignoredFrames - ignored).to.equal(2);
  });

  it('sends system messages uncompressed, in order with the others', async () => {
    const { peer } = await stage.accepted({ services: [MODULE], compression: { thresholdBytes: 1 } });
    const log = framesOf(peer);
    // A hello that takes LZ4.
    const hello = Buffer.from(HELLO);
    hello[8] = 1;
    peer.write(hello).send(`echo${'a'.repeat(200)}`, 'system200', `echo${'b'.repeat(200)}`);
    const [, first, second, third] = await log.reaches(4);
    expect([first, second, third].map((each) => [each?.kind, each?.flags])).to.deep.equal([
      [0, 1],
      [200, 0],
      [0, 1],
    ]);
    expect(second?.body.toString()).to.equal('for the peer');
  });

  it('knows its connections, and has timers', async () => {
    const { near, server } = await stage.pair({ server: { services: [MODULE] } });
    const answers = texts(near);
    near.send('who');
    const [who] = await answers.reaches(1);
    expect(who).to.match(/^127\.0\.0\.1 \d+$/);
    const client = stage.client();
    const second = await client.connect({ host: HOST, port: server.address.port });
    near.send('later');
    expect((await answers.reaches(2))[1]).to.equal('later open');
    near.send('often');
    expect((await answers.reaches(5)).slice(2)).to.deep.equal(['often 1', 'often 2', 'often 3']);
    const opened = nextText(second);
    second.send('others');
    expect(await opened).to.equal('2');
    // A timer of one that has closed meanwhile finds it closed.
    const end = closed(near);
    near.send('later');
    near.send('destroy');
    expect((await end).reason).to.be.oneOf(['peer-end', 'peer-reset']);
  });

  it('can close a connection: what has come behind is dropped', async () => {
    const { server, connection, peer } = await stage.accepted({ services: [MODULE] });
    const heard = texts(connection);
    const end = closed(connection);
    peer.read().send('app 1', 'destroy', 'app 2', 'echo');
    expect((await end).reason).to.equal('local-destroy');
    await peer.gone;
    expect(heard.entries).to.deep.equal(['app 1']);
    expect(peer.texts.entries).to.deep.equal([]);

    const [other, second] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    const otherEnd = closed(other);
    second.read().send('echo', 'shutdown', 'echo');
    await second.ended;
    expect(second.texts.entries).to.deep.equal(['echo']);
    second.end();
    expect((await otherEnd).reason).to.equal('local-shutdown');
  });

  it('passes a message on to the next one, which may handle it', async () => {
    const second = inline(`{ name: 'second', onMessage: (connection, data) => connection.send('second ' + data) }`);
    const { near } = await stage.pair({ server: { services: [MODULE, second] } });
    const answers = texts(near);
    near.send('echo');
    near.send('other');
    expect(await answers.reaches(2)).to.deep.equal(['echo', 'second other']);
  });

  it('is started before the server listens, and stopped when it has closed', async () => {
    const counts = new Counts();
    const server = await stage.listen({ services: [commands({ counts: counts.buffer })] });
    expect(counts.of(count.STARTED)).to.equal(1);
    const [connection] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    expect(counts.of(count.OPENED)).to.equal(1);
    await counts.reaches(count.TICKS, 3);
    const end = closed(connection);
    await server.close({ drainMs: 0 });
    await end;
    expect([counts.of(count.CLOSED), counts.of(count.STOPPED)]).to.deep.equal([1, 1]);
    const ticks = counts.of(count.TICKS);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(counts.of(count.TICKS), 'its timers have ended').to.equal(ticks);
  });

  it('of a client runs from its first attempt to its last connection', async () => {
    const counts = new Counts();
    const raw = await stage.listenRaw();
    const client = stage.client({ services: [commands({ counts: counts.buffer })] });
    expect(counts.of(count.STARTED)).to.equal(0);
    const to = { host: HOST, port: raw.port };
    const connections = await Promise.all([client.connect(to), client.connect(to)]);
    expect([counts.of(count.STARTED), counts.of(count.OPENED)]).to.deep.equal([1, 2]);
    const [peer] = await raw.peers.reaches(2);
    peer?.read().send('echo');
    expect(await peer?.texts.reaches(1)).to.deep.equal(['echo']);
    for (const connection of connections) connection.destroy();
    await counts.reaches(count.STOPPED, 1);
    expect(counts.of(count.CLOSED)).to.equal(2);
    await client.connect(to);
    expect(counts.of(count.STARTED)).to.equal(2);
  });

  it('is stopped when the reactor closes', async () => {
    const counts = new Counts();
    const other = await stage.spawn();
    const services = [commands({ counts: counts.buffer })];
    const server = await other.listen({ host: HOST, port: 0, services });
    await other.connect({ host: HOST, port: server.address.port, services });
    expect(counts.of(count.STARTED)).to.equal(2);
    await other.close({ timeoutMs: 0 });
    expect(counts.of(count.STOPPED)).to.equal(2);
  });

  it('is started again with a new io worker', async () => {
    const counts = new Counts();
    const started = next<[Worker]>(process, 'worker');
    const other = await stage.spawn();
    const [ioWorker] = await started;
    const server = await other.listen({ host: HOST, port: 0, services: [commands({ counts: counts.buffer })] });
    const back = next(other, 'respawn');
    await ioWorker.terminate();
    await back;
    const peer = await stage.connectRaw(server.address.port);
    peer.read().send('echo');
    expect(await peer.texts.reaches(1)).to.deep.equal(['echo']);
    expect(counts.of(count.STARTED)).to.equal(2);
  });

  it('runs on each io worker', async () => {
    const counts = new Counts();
    const other = await stage.spawn({ ioWorkers: 2 });
    const client = other.client({ services: [commands({ counts: counts.buffer })] });
    const raw = await stage.listenRaw();
    await client.connect({ host: HOST, port: raw.port });
    await client.connect({ host: HOST, port: raw.port });
    expect(counts.of(count.STARTED)).to.equal(2);
  });
});

describe('a service that fails', () => {
  const stage = scene();

  /** Has the service fail in a hook, and waits for what is told of it. */
  async function fail(server: TcpServer, hook: ServiceHook): Promise<ServiceFailure> {
    const told = failures(server);
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    peer.read().write(HELLO);
    if (hook === 'onMessage') peer.send('fault');
    if (hook === 'onSystem') peer.write(frame('', 64));
    if (hook === 'timer') peer.send('timer');
    if (hook === 'onClose') connection.destroy();
    if (hook === 'stop') await server.close({ drainMs: 0 });
    const [failure] = await told.reaches(1);
    return failure as ServiceFailure;
  }

  for (const how of ['throwsIn', 'rejectsIn'] as const) {
    for (const hook of ['onOpen', 'onMessage', 'onSystem'] as const) {
      it(`closes the connection when it ${how.slice(0, -2)} in ${hook}, and goes on with others`, async () => {
        const before = stage.reactor.stats().serviceFailures;
        const server = await stage.listen({ services: [commands({ [how]: hook })] });
        const ended = new Promise<[string, Error | undefined]>((resolve) =>
          server.once('disconnect', (_connection, reason, { error }) => resolve([reason, error])),
        );
        const { service, error, action, connectionId, ...rest } = await fail(server, hook);
        expect([service, rest.hook, error.message, action]).to.deep.equal(['commands', hook, `${hook}: no`, 'close']);
        expect(connectionId).to.be.greaterThan(0);
        const [reason, cause] = await ended;
        expect(reason).to.equal('service-failed');
        expect(cause).to.be.instanceOf(ReactorError);
        expect((cause as ReactorError).code).to.equal('ERR_REACTOR_SERVICE_FAILED');
        expect((cause as ReactorError).cause).to.have.property('message', `${hook}: no`);
        expect(stage.reactor.stats().serviceFailures - before).to.equal(1);
        if (hook === 'onOpen') return;
        const peer = await stage.connectRaw(server.address.port);
        peer.read().send('echo');
        await peer.texts.reaches(1);
      });
    }

    for (const hook of ['onClose', 'timer', 'stop'] as const) {
      it(`only tells of it when it ${how.slice(0, -2)} in ${hook}`, async () => {
        const server = await stage.listen({ services: [commands({ [how]: hook })] });
        const failure = await fail(server, hook);
        expect([failure.hook, failure.error.message, failure.action]).to.deep.equal([hook, `${hook}: no`, 'none']);
        if (hook === 'stop') return;
        const peer = await stage.connectRaw(server.address.port);
        peer.read().send('echo');
        await peer.texts.reaches(1);
      });
    }

    for (const hook of ['onOpen', 'onMessage', 'onSystem', 'onClose', 'timer', 'stop'] as const) {
      it(`is taken out with onError 'disable' when it ${how.slice(0, -2)} in ${hook}`, async () => {
        const counts = new Counts();
        const server = await stage.listen({
          services: [commands({ [how]: hook, counts: counts.buffer }, DISABLING)],
        });
        const failure = await fail(server, hook);
        const action = hook === 'stop' ? 'none' : 'disable';
        expect([failure.service, failure.hook, failure.action]).to.deep.equal(['disabling', hook, action]);
        await counts.reaches(count.STOPPED, 1);
        if (hook === 'stop') return;
        const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
        const heard = texts(connection);
        peer.read().send('echo');
        expect(await heard.reaches(1)).to.deep.equal(['echo']);
        expect(counts.of(count.OPENED), 'it is not called any more').to.equal(1);
      });
    }
  }

  it('leaves the message that it threw for to the application, with onError disable', async () => {
    const server = await stage.listen({ services: [commands({ throwsIn: 'onMessage' }, DISABLING)] });
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    const heard = texts(connection);
    peer.read().send('echo 1', 'fault', 'echo 2');
    expect(await heard.reaches(2)).to.deep.equal(['fault', 'echo 2']);
    expect(await peer.texts.reaches(1)).to.deep.equal(['echo 1']);
  });

  it('and throws something odd is told of all the same', async () => {
    for (const [thrown, message] of [
      ['null', 'null'],
      [`new Error('x'.repeat(1e6))`, /^x+\.\.\.$/],
      [`new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } })`, /cannot be told/],
    ] as const) {
      const odd = inline(`{ name: 'odd', onMessage() { throw ${thrown} } }`);
      const server = await stage.listen({ services: [odd] });
      const told = failures(server);
      const peer = await stage.connectRaw(server.address.port);
      peer.read().send('x');
      const [failure] = await told.reaches(1);
      expect(failure?.error.message).to.match(new RegExp(message));
    }
  });

  it('also tells the threads of a client', async () => {
    const raw = await stage.listenRaw();
    const client = stage.client({ services: [commands({ throwsIn: 'onMessage' })] });
    const told = failures(client);
    const connection = await client.connect({ host: HOST, port: raw.port });
    const end = closed(connection);
    (await raw.first()).send('fault');
    expect((await end).reason).to.equal('service-failed');
    const [failure] = await told.reaches(1);
    expect(failure?.connectionId).to.equal(connection.id);
  });

  it('to start keeps the server from listening, and the client from connecting', async () => {
    for (const how of ['throwsIn', 'rejectsIn'] as const) {
      const counts = new Counts();
      const services = [inline(`{ name: 'first' }`), commands({ [how]: 'start', counts: counts.buffer })];
      for (const attempt of [
        stage.reactor.listen({ host: HOST, port: 0, services }),
        stage.reactor.connect({ host: HOST, port: (await stage.listenRaw()).port, services }),
      ]) {
        const error = await rejection(attempt);
        expect(error.code).to.equal('ERR_REACTOR_SERVICE_FAILED');
        expect(error.message).to.equal("Service 'commands' threw in start: start: no");
        expect((error.cause as Error).message).to.equal('start: no');
      }
      await counts.reaches(count.STOPPED, 2);
    }
  });

  const faults: readonly [string, string, RegExp][] = [
    ['file:///nowhere/service.js', 'ERR_REACTOR_SERVICE_FAILED', /file:\/\/\/nowhere\/service\.js could not be loaded/],
    ['data:text/javascript,throw new Error("at once")', 'ERR_REACTOR_SERVICE_FAILED', /could not be loaded: at once/],
    ['data:text/javascript,export const a = 1', 'ERR_REACTOR_SERVICE_FAILED', /default export is not a service/],
    [inline('{}'), 'ERR_REACTOR_SERVICE_FAILED', /name must be a string of 1 to 64 characters, got undefined/],
    [inline(`{ name: 'a', onMesage() {} }`), 'ERR_REACTOR_SERVICE_FAILED', /has no 'onMesage'; there are name, kinds/],
    [inline(`{ name: 'a', onMessage: 1 }`), 'ERR_REACTOR_SERVICE_FAILED', /onMessage must be a function, got 1/],
    [inline(`{ name: 'a', onError: 'stop' }`), 'ERR_REACTOR_SERVICE_FAILED', /onError must be 'close' or 'disable'/],
    [inline(`{ name: 'a', slowMs: 0 }`), 'ERR_REACTOR_SERVICE_FAILED', /slowMs must be a number from 1/],
    [inline(`{ name: 'a', kinds: [63], onSystem() {} }`), 'ERR_REACTOR_SERVICE_FAILED', /integers from 64 to 255/],
    [inline(`{ name: 'a', kinds: [64, 64], onSystem() {} }`), 'ERR_REACTOR_SERVICE_FAILED', /different integers/],
    [inline(`{ name: 'a', kinds: [64] }`), 'ERR_REACTOR_SERVICE_FAILED', /kinds, but no onSystem/],
    [inline(`{ name: 'a', onSystem() {} }`), 'ERR_REACTOR_SERVICE_FAILED', /onSystem, but no kinds/],
    [
      inline(`{ name: 'commands' }`),
      'ERR_REACTOR_INVALID_OPTION',
      /^listen\(\): option 'services' cannot work: two have the name 'commands'/,
    ],
    [
      inline(`{ name: 'a', kinds: [70, 255], onSystem() {} }`),
      'ERR_REACTOR_INVALID_OPTION',
      /'commands' and 'a' both have the kind 255/,
    ],
  ];
  for (const [service, code, message] of faults) {
    it(`to load is refused: ${message.source}`, async () => {
      const services = [MODULE, service];
      const refused = await rejection(stage.reactor.listen({ host: HOST, port: 0, services }));
      expect(refused.code).to.equal(code);
      expect(refused.message).to.match(message);
      const raw = await stage.listenRaw();
      const client = stage.client({ services });
      const unconnected = await rejection(client.connect({ host: HOST, port: raw.port }));
      expect(unconnected.code).to.equal(code);
      expect(unconnected.message).to.equal(refused.message.replace(/^listen\(\)/, 'connect()'));
    });
  }

  it('cannot have kinds with another codec, nor send system messages', async () => {
    const refused = await rejection(stage.reactor.listen({ host: HOST, port: 0, codec: 'line', services: [MODULE] }));
    expect(refused.code).to.equal('ERR_REACTOR_INVALID_OPTION');
    expect(refused.message).to.equal(
      "listen(): option 'services' cannot work: 'commands' has kinds, and only codec 'frame' has any, not 'line'",
    );
    const system = inline(`{ name: 'system', onMessage: (connection) => connection.sendSystem(64, '') }`);
    const { server, peer } = await stage.accepted({ codec: 'line', services: [system] });
    const told = failures(server);
    peer.write(Buffer.from('x\n'));
    const [failure] = await told.reaches(1);
    expect(failure?.error).to.have.property('code', 'ERR_REACTOR_UNSUPPORTED');
  });
});

describe('a service that is slow', () => {
  const stage = scene();

  it('is told of once a second, and counted each time', async () => {
    const server = await stage.listen({ services: [commands({ holdMs: 30 })] });
    const told = new Log<SlowServiceCall>();
    server.on('slowService', (call) => told.add(call));
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    peer.read();
    for (let i = 1; i <= 3; i++) {
      peer.send('echo', 'hold', 'echo');
      await peer.texts.reaches(2 * i);
    }
    await until(() => stage.reactor.stats().slowServiceCalls >= 3);
    await stage.settle();
    const [call] = told.entries;
    expect(told.entries).to.have.length(1);
    expect(call?.ms).to.be.within(30, 10_000);
    expect({ ...call, ms: 0 }).to.deep.equal({
      service: 'commands',
      hook: 'onMessage',
      connectionId: connection.id,
      ms: 0,
      omitted: 0,
    });
    expect(stage.reactor.stats().slowServiceCalls).to.equal(3);
  });
});

describe('a service, and a peer that does not read', () => {
  const stage = scene();

  it('is held up: its connection is not read until half of the high-water mark is left', async () => {
    const highWaterMark = 256 * KIB;
    const { connection, peer } = await stage.accepted({ highWaterMark, services: [MODULE] });
    const message = frame(Buffer.concat([Buffer.from('echo'), Buffer.alloc(996)]));
    const block = Buffer.concat(Array.from({ length: 1000 }, () => message));
    // More than what is between the two can hold.
    const blocks = 40;
    for (let i = 0; i < blocks; i++) peer.write(block);
    let read = -1;
    for (let quiet = 0; quiet < 5; ) {
      expect(connection.bufferedAmount).to.be.at.most(highWaterMark + 128 * KIB);
      await stage.settle();
      quiet = connection.bytesReceived === read ? quiet + 1 : 0;
      read = connection.bytesReceived;
    }
    expect(connection.bytesReceived, 'it is not read').to.be.below(blocks * block.length);
    expect(connection.bufferedAmount).to.be.above(highWaterMark / 2);
    peer.count();
    await until(() => peer.received === HELLO.length + blocks * block.length);
    await until(() => connection.bufferedAmount === 0);
  });

  it('has its messages beyond the overflow limit handled as the connection says', async () => {
    const settings = { highWaterMark: 16 * KIB, services: [MODULE] };
    const pair = await stage.accepted(settings);
    const end = closed(pair.connection);
    for (let i = 0; i < 100; i++) pair.peer.send('fill');
    expect((await end).reason).to.equal('backpressure');

    const { connection, peer } = await stage.accepted({ ...settings, overflow: 'drop' });
    for (let i = 0; i < 100; i++) peer.send('fill');
    await until(() => connection.droppedMessages > 0);
    expect(connection.state).to.equal('open');
    peer.read();
    await until(() => connection.bufferedAmount === 0);
  });
});

describe('a service, while the thread with the server is blocked', () => {
  const own = props();

  /** A thread with peers of a server of this thread's, which goes on to ask when `answers[1]` is set. */
  async function startPeers(reactor: Reactor, flooders: number): Promise<{ answers: Int32Array; server: TcpServer }> {
    const server = await reactor.listen({ host: HOST, port: 0, services: [MODULE] });
    const answers = new SharedArrayBuffer(8);
    const { port } = server.address;
    const workerData: ServicePeerData = { port, rounds: ROUNDS, flooders, floodBytes: 8 * KIB, answers };
    const peer = new Worker(new URL('../fixtures/thread-service-peer.js', import.meta.url), { workerData });
    own.defer(async () => {
      const exited = next(peer, 'exit');
      peer.postMessage('end');
      await exited;
    });
    await next(peer, 'online');
    return { answers: new Int32Array(answers), server };
  }

  function ask(answers: Int32Array): void {
    Atomics.store(answers, 1, 1);
    Atomics.notify(answers, 1);
  }

  it('answers', async () => {
    const { answers } = await startPeers(await own.spawn(), 0);
    ask(answers);
    untilWithoutYielding(() => Atomics.load(answers, 0) === ROUNDS);
  });

  it('answers also when so much waits for that thread that other connections would not be read', async () => {
    const reactor = await own.spawn({ eventRingBytes: 512 * KIB });
    const flooders = 220;
    const { answers, server } = await startPeers(reactor, flooders);
    // As many as make the lane crowded.
    untilWithoutYielding(() => reactor.stats().readPauses >= 128);
    ask(answers);
    untilWithoutYielding(() => Atomics.load(answers, 0) === ROUNDS);
    const heard = new Log<number>();
    server.on('message', (_connection, data) => heard.add(data.length));
    expect(new Set(await heard.reaches(flooders))).to.deep.equal(new Set([8 * KIB]));
  });

  it('stops when very much waits for that thread, and goes on then', async () => {
    const reactor = await own.spawn({ eventRingBytes: 512 * KIB });
    const flooders = 400;
    const { answers, server } = await startPeers(reactor, flooders);
    untilWithoutYielding(() => reactor.stats().readPauses >= 256);
    ask(answers);
    untilWithoutYielding(() => reactor.stats().openConnections === flooders + 1);
    const end = performance.now() + 50;
    untilWithoutYielding(() => performance.now() > end);
    expect(Atomics.load(answers, 0)).to.equal(0);
    const heard = new Log<number>();
    server.on('message', (_connection, data) => heard.add(data.length));
    await heard.reaches(flooders);
    await until(() => Atomics.load(answers, 0) === ROUNDS);
  });
});
