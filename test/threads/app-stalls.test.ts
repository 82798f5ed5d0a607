import { expect } from 'chai';
import type { ConnectionOptions, ReactorError, StallAction, TcpConnection } from '../../src/index.js';
import { closed, Log, until } from '../fixtures/events.js';
import { props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const AFTER_MS = 80;
const INTERVAL_MS = 40;

describe('heartbeat.onStall', () => {
  const stage = scene();
  const own = props();

  interface Side {
    readonly thread: AppThread;
    /** This thread's end of a connection whose other end belongs to the other thread. */
    readonly near: TcpConnection;
    readonly busy: Log<number>;
  }

  async function connect(action: StallAction, options: ConnectionOptions = {}): Promise<Side> {
    const heartbeat = { intervalMs: INTERVAL_MS, timeoutMs: 60_000, onStall: { afterMs: AFTER_MS, action } };
    const server = await stage.listen({ dispatch: 'balance', heartbeat });
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    const client = stage.client(options);
    const near = await client.connect({ host: '127.0.0.1', port: server.address.port });
    const busy = new Log<number>();
    near.on('busy', (ms) => busy.add(ms));
    await thread.log('connection').reaches(1);
    return { thread, near, busy };
  }

  /** The thread does not return until it is let go on. Nothing at all is sent to it. */
  async function block(thread: AppThread): Promise<number> {
    thread.shut();
    const count = thread.log('blocking').entries.length;
    const since = Date.now();
    void thread.do('block');
    await thread.log('blocking').reaches(count + 1);
    return since;
  }

  it("'report' tells the peer for how long an idle thread has stood still, again and again, and when it goes on", async () => {
    const stalls = stage.reactor.stats().stalls;
    const { thread, near, busy } = await connect('report');
    const since = await block(thread);
    const told: { readonly ms: number; readonly truth: number }[] = [];
    near.on('busy', (ms) => told.push({ ms, truth: Date.now() - since }));
    await busy.reaches(4);
    expect(stage.reactor.stats().stalls).to.equal(stalls + 1);
    for (const { ms, truth } of told) {
      expect(ms).to.be.at.least(AFTER_MS);
      // The last look before it may have been an eighth of `afterMs` ago; the rest is the way of the news.
      expect(ms).to.be.at.most(truth + AFTER_MS / 8 + 5);
    }
    const increasing = busy.entries.map((ms, at) => ms > (busy.entries[at - 1] ?? 0));
    expect(increasing).to.not.include(false);
    thread.open();
    await until(() => busy.entries.at(-1) === 0);
    near.send('alive');
    expect(await thread.texts(1)).to.deep.equal(['alive']);
  });

  it("'report' is told of a thread that does not return from a handler, and again when it stands still again", async () => {
    const { thread, near, busy } = await connect('report');
    for (let round = 0; round < 2; round++) {
      await block(thread);
      near.send('waits');
      const before = busy.entries.length;
      await busy.reaches(before + 1);
      thread.open();
      await until(() => busy.entries.at(-1) === 0);
    }
    expect(await thread.texts(2)).to.deep.equal(['waits', 'waits']);
  });

  it('is silent as long as threads make progress', async () => {
    const { thread, near, busy } = await connect('close');
    const from = performance.now();
    while (performance.now() - from < 3 * AFTER_MS) {
      near.send('x');
      await thread.texts(thread.log('message').entries.length + 1);
    }
    expect(busy.entries).to.deep.equal([]);
    expect(near.state).to.equal('open');
  });

  it("'pause' does the same and does not read meanwhile", async () => {
    const { thread, near, busy } = await connect('pause');
    await block(thread);
    await busy.reaches(1);
    const pauses = stage.reactor.stats().readPauses;
    expect(pauses).to.be.greaterThan(0);
    const id = (await thread.log('connection').reaches(1))[0]?.id as number;
    const far = stage.reactor.connection(id);
    const { bytesReceived } = far;
    near.send('waits');
    await near.flush();
    // It is told again and again, which must not make it read.
    await busy.reaches(busy.entries.length + 2);
    expect(far.bytesReceived).to.equal(bytesReceived);
    thread.open();
    expect(await thread.texts(1)).to.deep.equal(['waits']);
    await until(() => busy.entries.at(-1) === 0);
  });

  it("'stop-heartbeat' lets a peer that has one take this side for dead", async () => {
    const { thread, near } = await connect('stop-heartbeat', { heartbeat: { intervalMs: 30, timeoutMs: 150 } });
    const end = closed(near);
    await until(() => near.rttMs !== undefined || near.lastReceivedAt > 0);
    expect(near.state).to.equal('open');
    await block(thread);
    expect((await end).reason).to.equal('heartbeat-timeout');
    thread.open();
  });

  it("'stop-heartbeat' goes on when the thread does", async () => {
    const { thread, near } = await connect('stop-heartbeat', { heartbeat: { intervalMs: 30, timeoutMs: 60_000 } });
    const { stalls } = stage.reactor.stats();
    await block(thread);
    await until(() => stage.reactor.stats().stalls > stalls);
    thread.open();
    const { bytesReceived } = near;
    await until(() => near.bytesReceived > bytesReceived && near.rttMs !== undefined);
  });

  it("'close' closes its connections with 'app-stalled'", async () => {
    const { thread, near } = await connect('close');
    const end = closed(near);
    await block(thread);
    const { reason, detail } = await end;
    expect(reason).to.equal('peer-end');
    expect(detail.goodbye).to.equal('app-stalled');
    thread.open();
    expect((await thread.log('close').reaches(1))[0]?.reason).to.equal('app-stalled');
  });

  it('is nothing to connections of other threads', async () => {
    const { thread, near, busy } = await connect('close');
    const other = await AppThread.attached(own, stage.reactor.handle);
    await block(other);
    await stage.settle();
    near.send('still');
    expect(await thread.texts(1)).to.deep.equal(['still']);
    expect(busy.entries).to.deep.equal([]);
    other.open();
  });

  it('of a server that dispatches to all counts when all its threads stand still', async () => {
    const heartbeat = { intervalMs: INTERVAL_MS, timeoutMs: 60_000, onStall: { afterMs: AFTER_MS } };
    const server = await stage.listen({ dispatch: 'all', heartbeat });
    const threads = [await AppThread.subscribed(own, server), await AppThread.subscribed(own, server)];
    await server.unsubscribe();
    const near = await stage.client().connect({ host: '127.0.0.1', port: server.address.port });
    const busy = new Log<number>();
    near.on('busy', (ms) => busy.add(ms));
    for (const thread of threads) await thread.log('connection').reaches(1);
    const { stalls } = stage.reactor.stats();
    await block(threads[0] as AppThread);
    await until(() => stage.reactor.stats().stalls > stalls);
    await stage.settle();
    expect(busy.entries).to.deep.equal([]);
    await block(threads[1] as AppThread);
    await busy.reaches(1);
    for (const thread of threads) thread.open();
    await until(() => busy.entries.at(-1) === 0);
  });

  it('has ERR_REACTOR_APP_STALLED for its error', async () => {
    const heartbeat = { intervalMs: 20, timeoutMs: 60_000, onStall: { afterMs: 30, action: 'close' as const } };
    const { server, near, far } = await stage.pair({ server: { heartbeat } });
    const ends = closed(far);
    expect(server.connectionCount).to.equal(1);
    // This thread itself.
    const until = performance.now() + 150;
    while (performance.now() < until);
    const { reason, detail } = await ends;
    expect(reason).to.equal('app-stalled');
    expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_APP_STALLED');
    near.destroy();
  });
});
