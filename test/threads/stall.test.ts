import { expect } from 'chai';
import type { Stall } from '../../src/index.js';
import { Log, until } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const STALL_MS = 60;

interface Told extends Stall {
  /** When it began: the same for each report of the same one. */
  readonly since: number;
}

/** The stalls that began at that time or later. */
function beganBy(told: readonly Told[], thread: AppThread, time: number): Told[] {
  return told.filter(({ threadId, since }) => threadId === thread.threadId && since >= time);
}

describe("'stall'", () => {
  const stage = scene({ stallAfterMs: STALL_MS });
  const own = props();

  /** What this thread is told from now on. On a busy machine a thread may be late also when it is not told to block. */
  function stalls(): Log<Told> {
    const log = new Log<Told>();
    const add = (stall: Stall): void => log.add({ ...stall, since: Date.now() - stall.stalledMs });
    // Whoever removes listeners does not end the watch for those that come later.
    stage.reactor.removeAllListeners();
    stage.reactor.on('stall', add);
    own.defer(() => stage.reactor.off('stall', add));
    return log;
  }

  function progressOf(thread: AppThread): Stall | undefined {
    return stage.reactor.stats().threads.find(({ threadId }) => threadId === thread.threadId);
  }

  /** The thread is in the handler of its message number `count`, and there is another one in its ring. */
  async function blocks(thread: AppThread, peer: RawPeer, count: number): Promise<void> {
    peer.send('block');
    await thread.log('message').reaches(count);
    peer.send('waits');
  }

  /** It has been looked at several times since. */
  async function aWhile(): Promise<void> {
    const until = performance.now() + 5 * STALL_MS;
    while (performance.now() < until) await new Promise((resolve) => setTimeout(resolve, STALL_MS));
  }

  it('tells other threads of one that does not return from a handler, once', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { block: 'sleep' }, echo: '' });
    const watcher = await AppThread.attached(own, stage.reactor.handle);
    await watcher.do('watchStalls');
    const told = stalls();
    const peer = (await stage.connectRaw(server.address.port)).read();
    await blocks(thread, peer, 1);
    const [stall] = await told.reaches(1);
    expect(stall?.threadId).to.equal(thread.threadId);
    expect(stall?.stalledMs).to.be.at.least(STALL_MS);
    expect(stall?.waitingBytes).to.be.greaterThan(0);
    expect((await watcher.log('stall').reaches(1))[0]?.threadId).to.equal(thread.threadId);
    await aWhile();
    const began = beganBy(told.entries, thread, 0).map(({ since }) => since);
    for (const [index, since] of began.entries()) {
      expect(Math.abs(since - (began[index - 1] ?? 0)), 'ms between two of them').to.be.above(5);
    }
    thread.open();
    expect(await peer.texts.reaches(2)).to.deep.equal(['block', 'waits']);
  });

  it('comes again for a thread that blocks again', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { block: 'sleep' }, echo: '' });
    const told = stalls();
    const peer = (await stage.connectRaw(server.address.port)).read();
    await blocks(thread, peer, 1);
    await told.reaches(1);
    thread.open();
    await peer.texts.reaches(2);
    await until(() => progressOf(thread)?.stalledMs === 0);
    await aWhile();
    thread.shut();
    const again = Date.now();
    await blocks(thread, peer, 3);
    await until(() => beganBy(told.entries, thread, again).length > 0);
    thread.open();
  });

  it('shows in stats(): for how long, and how much waits', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { block: 'sleep' }, echo: '' });
    expect(progressOf(thread)).to.deep.equal({ threadId: thread.threadId, stalledMs: 0, waitingBytes: 0 });
    const peer = (await stage.connectRaw(server.address.port)).read().send('block');
    await thread.log('message').reaches(1);
    peer.send('x'.repeat(10_000));
    await until(() => (progressOf(thread)?.waitingBytes ?? 0) > 10_000);
    await until(() => (progressOf(thread)?.stalledMs ?? 0) > STALL_MS);
    thread.open();
    await peer.texts.reaches(2);
    await until(() => progressOf(thread)?.waitingBytes === 0);
    expect(progressOf(thread)?.stalledMs).to.equal(0);
  });

  it('tells of a thread that is blocked elsewhere, once there is something for it', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    const told = stalls();
    void thread.do('block');
    await thread.log('blocking').reaches(1);
    await aWhile();
    // Nothing waits for it: it does not matter what it does.
    expect(told.entries).to.deep.equal([]);
    expect(progressOf(thread)).to.deep.equal({ threadId: thread.threadId, stalledMs: 0, waitingBytes: 0 });
    const peer = (await stage.connectRaw(server.address.port)).read().send('1');
    const [stall] = await told.reaches(1);
    expect(stall?.threadId).to.equal(thread.threadId);
    thread.open();
    expect(await peer.texts.reaches(1)).to.deep.equal(['1']);
  });

  it('does not come for this thread itself, nor for one that is dead', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { on: { block: 'sleep' } });
    const told = stalls();
    const peer = await stage.connectRaw(server.address.port);
    await blocks(thread, peer, 1);
    await told.reaches(1);
    await thread.kill();
    await until(() => progressOf(thread) === undefined);
    const before = [...told.entries];
    peer.send('more');
    await aWhile();
    expect(told.entries).to.deep.equal(before);
    expect(new Set(before.map(({ threadId }) => threadId))).to.deep.equal(new Set([thread.threadId]));
  });
});
