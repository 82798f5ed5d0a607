import { expect } from 'chai';
import { type Logger, LogicPool, type Reactor, type TcpServer } from '../../src/index.js';
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
    expect((fields['error'] as Error).stack).to.match(where);
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
