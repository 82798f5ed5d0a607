import { expect } from 'chai';
import { type Logger, LogicPool, type Reactor, ReactorError, type TcpServer } from '../../src/index.js';
import { closed, next, nextConnection, rejection } from '../fixtures/events.js';
import { HOST, props } from '../fixtures/scene.js';

interface Line {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** A logger that keeps lines from that level on. */
function keeping(lines: Line[], level: string): Logger & { readonly level: string } {
  const taker =
    (at: string) =>
    (fields: object, message: string): void =>
      void lines.push({ level: at, fields: { ...fields }, message });
  return {
    level,
    trace: taker('trace'),
    debug: taker('debug'),
    info: taker('info'),
    warn: taker('warn'),
    error: taker('error'),
    fatal: taker('fatal'),
  };
}

function fixture(name: string): URL {
  return new URL(`../fixtures/${name}.js`, import.meta.url);
}

function stackOfCause(error: Error | undefined): string | undefined {
  return (error?.cause as Error | undefined)?.stack;
}

describe('what a module of the user throws', () => {
  const own = props();
  const lines: Line[] = [];
  let reactor: Reactor;

  beforeEach(async () => {
    lines.length = 0;
    reactor = await own.spawn({ logger: keeping(lines, 'info') });
  });

  /** The line of the log with that message, once the reactor has closed and all lines have come. */
  async function line(message: string): Promise<Line> {
    await reactor.close({ timeoutMs: 0 });
    const found = lines.find((each) => each.message === message);
    if (found === undefined) throw new Error(`There is no line '${message}'`);
    return found;
  }

  async function accepted(server: TcpServer) {
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    return { connection, peer };
  }

  it('in a service has its stack, in the event, the close and the log', async () => {
    const services = [{ module: fixture('service-module'), options: { throwsIn: 'onMessage' } }];
    const server = await reactor.listen({ host: HOST, port: 0, services });
    const failed = next<[{ error: Error }]>(server, 'serviceError');
    const { connection, peer } = await accepted(server);
    const end = closed(connection);
    peer.read().send('fault');
    const [{ error }] = await failed;
    const { detail } = await end;
    const where = /^Error: onMessage: no\n {4}at fault \(.*service-module\.[jt]s:\d+/;
    expect(error.stack).to.match(where);
    expect(stackOfCause(detail.error)).to.match(where);
    const { level, fields } = await line('A service failed');
    expect(level).to.equal('error');
    expect(fields['stack']).to.match(where);
  });

  it('in the start of a service has its stack', async () => {
    const services = [{ module: fixture('service-module'), options: { rejectsIn: 'start' } }];
    const error = await rejection(reactor.listen({ host: HOST, port: 0, services }));
    expect(error.stack).to.include('module-errors.test');
    expect(stackOfCause(error)).to.match(/at fault \(.*service-module\.[jt]s:\d+/);
  });

  it('in a codec has its stack, in the close and the log', async () => {
    const codec = { module: fixture('codec-module'), options: { fault: 'decode' } };
    const { connection, peer } = await accepted(await reactor.listen({ host: HOST, port: 0, codec }));
    const end = closed(connection);
    peer.write(Buffer.from('x'));
    const where = /^Error: decode: no\n {4}at .*codec-module\.[jt]s:\d+/;
    expect(stackOfCause((await end).detail.error)).to.match(where);
    const { level, fields } = await line('Connection closed');
    expect([level, fields['error']]).to.deep.equal(['warn', 'The codec failed: decode: no']);
    expect(fields['stack']).to.match(where);
  });

  it('in a timer of its own ends the io worker, and the log says what it was', async () => {
    const text = `export default { name: 'fatal', onMessage() { setTimeout(() => { throw new Error('out of nowhere'); }); } }`;
    const module = `data:text/javascript,${encodeURIComponent(text)}`;
    const server = await reactor.listen({ host: HOST, port: 0, services: [module] });
    const { peer } = await accepted(server);
    const back = next(reactor, 'respawn');
    peer.read().send('now');
    await back;
    const { level, fields } = await line('The io worker ended unexpectedly, and this one takes its place');
    expect(level).to.equal('error');
    expect(fields['error']).to.equal('out of nowhere');
    expect(fields['stack']).to.match(/^Error: out of nowhere\n {4}at .*data:text/);
  });

  it('in the start of logic has its stack', async () => {
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const options = { filename: fixture('thread-logic'), threads: 1, data: { fails: true } };
    const error = await rejection(LogicPool.start(server, options));
    expect(stackOfCause(error)).to.match(/it cannot start\n(.*\n)*.*thread-logic\.[jt]s:\d+/);
  });

  it('ends its connection also if it cannot be told', async () => {
    const text = `export default { create: () => ({ maxMessageBytes: 9, open: () => ({
      decode() { throw new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 2 } }) },
      incomplete() {},
      encode() {},
    }) }) }`;
    const codec = { module: `data:text/javascript,${encodeURIComponent(text)}` };
    const { connection, peer } = await accepted(await reactor.listen({ host: HOST, port: 0, codec }));
    const end = closed(connection);
    peer.write(Buffer.from('x'));
    const { reason, detail } = await end;
    expect(reason).to.equal('protocol-error');
    expect(detail.error?.message).to.match(/cannot be told/);
  });
});

describe('a codec of the user, and a peer that breaks its rules', () => {
  const own = props();

  for (const isForeign of [false, true]) {
    for (const [sent, reason, code, message] of [
      ['GET / HTTP/1.1\r\n', 'protocol-error', 'ERR_REACTOR_PROTOCOL', 'a netstring begins with its length'],
      ['3:abc;', 'protocol-error', 'ERR_REACTOR_PROTOCOL', 'a netstring ends with a comma'],
      ['99:', 'frame-too-large', 'ERR_REACTOR_FRAME_TOO_LARGE', 'a message of 99 bytes, the most is 10'],
    ] as const) {
      it(`closes with what it throws, ${reason}, at info${isForeign ? ', from another copy' : ''}: ${message}`, async () => {
        const lines: Line[] = [];
        const reactor = await own.spawn({ logger: keeping(lines, 'info') });
        const codec = { module: fixture('netstring-codec'), options: { maxBytes: 10, isForeign } };
        const server = await reactor.listen({ host: HOST, port: 0, codec });
        const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
        const end = closed(connection);
        const heard = next<[Buffer]>(connection, 'message');
        peer.write(Buffer.from(`2:ok,${sent}`));
        expect(String((await heard)[0])).to.equal('ok');
        const { detail, ...rest } = await end;
        expect(rest.reason).to.equal(reason);
        expect(detail.error).to.be.instanceOf(ReactorError);
        expect(detail.error).to.include({ code, message });
        expect(detail.error).to.not.have.property('cause');
        await reactor.close({ timeoutMs: 0 });
        const line = lines.find((each) => each.message === 'Connection closed');
        expect(line?.level).to.equal('info');
        expect(line?.fields).to.include({ reason, code, error: message });
      });
    }
  }
});
