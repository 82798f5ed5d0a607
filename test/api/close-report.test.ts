import { expect } from 'chai';
import { attach, type CloseReport } from '../../src/index.js';
import { nextConnection, until } from '../fixtures/events.js';
import { HOST, props } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

describe('the report of a close', () => {
  const own = props();

  /** A server with one peer that reads and ends when it is to, and one that never reads and has much to get. */
  async function setUp() {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0, highWaterMark: 32 * MIB });
    const [, polite] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    void polite.read().ended.then(() => polite.end());
    const [connection, deaf] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    for (let i = 0; i < 16; i++) connection.send(Buffer.alloc(MIB));
    return { reactor, server, deaf, connection };
  }

  const closers: Record<string, (stage: Awaited<ReturnType<typeof setUp>>) => Promise<CloseReport>> = {
    'server.close()': ({ server }) => server.close({ drainMs: 400 }),
    'reactor.close()': ({ reactor }) => reactor.close({ timeoutMs: 400 }),
  };
  for (const [call, close] of Object.entries(closers)) {
    it(`of ${call} tells how many there were, which were cut, and what these did not get`, async () => {
      const stage = await setUp();
      const report = await close(stage);
      expect(report.connections).to.equal(2);
      expect(report.cut).to.equal(1);
      expect(report.unreadMessages).to.equal(0);
      stage.deaf.count();
      await stage.deaf.gone;
      expect(stage.deaf.received + report.unsentBytes).to.equal(22 + 16 * (MIB + 6));
      expect(report.unsentBytes).to.be.greaterThan(MIB);
    });
  }

  it('of client.close() is the same', async () => {
    const raw = await own.listenRaw();
    const reactor = await own.spawn();
    const client = reactor.client({ highWaterMark: 32 * MIB });
    const connection = await client.connect({ host: HOST, port: raw.port });
    for (let i = 0; i < 16; i++) connection.send(Buffer.alloc(MIB));
    const { unsentBytes, ...rest } = await client.close({ drainMs: 30 });
    expect(rest).to.deep.equal({ connections: 1, cut: 1, unreadMessages: 0 });
    expect(unsentBytes).to.be.within(MIB, 16 * (MIB + 6));
    expect(await reactor.close()).to.deep.equal({ connections: 0, cut: 0, unsentBytes: 0, unreadMessages: 0 });
  });

  it('counts the messages that the application had not taken when the time was up', async () => {
    for (const call of ['server', 'reactor'] as const) {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0 });
      const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      connection.on('message', () => connection.pause());
      peer.read().send('1', '2', '3', '4', '5');
      await until(() => connection.isPaused());
      const report = call === 'server' ? await server.close({ drainMs: 40 }) : await reactor.close({ timeoutMs: 40 });
      expect(report, call).to.deep.equal({ connections: 1, cut: 1, unsentBytes: 0, unreadMessages: 4 });
    }
  });

  it('counts the messages that a thread had not finished when it died, and that no other one came for', async () => {
    for (const call of ['server', 'reactor'] as const) {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
      const thread = await AppThread.subscribed(own, server, { on: { exit: 'exit' } });
      (await own.connectRaw(server.address.port)).read().send('exit', '1', '2', '3');
      await thread.exited;
      await until(() => reactor.stats().heldConnections === 1);
      const report = call === 'server' ? await server.close({ drainMs: 400 }) : await reactor.close({ timeoutMs: 400 });
      // The peer does not end its side; whether that is waited for is not what this is about.
      expect(report.unreadMessages, call).to.equal(4);
    }
  });

  it('is all zero but the first when everybody ends in time, and the same for all who ask', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    for (let i = 0; i < 20; i++) {
      const [, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      void peer.read().ended.then(() => peer.end());
    }
    const [first, second] = await Promise.all([server.close(), server.close({ drainMs: 0 })]);
    expect(first).to.deep.equal({ connections: 20, cut: 0, unsentBytes: 0, unreadMessages: 0 });
    expect(second).to.equal(first);
    expect((await reactor.close()).connections).to.equal(0);
  });

  it('is empty for a reactor that has been destroyed, and for what another thread has closed', async () => {
    const empty = { connections: 0, cut: 0, unsentBytes: 0, unreadMessages: 0 };
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0 });
    expect(await attach(reactor.handle)).to.equal(reactor);
    reactor.destroy();
    expect(await reactor.close()).to.deep.equal(empty);
    expect(await server.close()).to.deep.equal(empty);
  });
});
