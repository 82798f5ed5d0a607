import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Reactor, ReactorError, TimerCallback, TimerOptions } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import { Log, next } from '../fixtures/events.js';
import { props, scene } from '../fixtures/scene.js';

const INTERVAL_MS = 10;

/** Blocks this thread. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function total(missed: readonly number[]): number {
  return missed.reduce((sum, each) => sum + 1 + each, 0);
}

describe('addTimer()', () => {
  const stage = scene();
  const own = props();

  /** A timer, and what it has told; removed behind the test. */
  function ticking(
    intervalMs: number,
    options: TimerOptions = {},
    reactor: Reactor = stage.reactor,
  ): { id: number; missed: Log<number> } {
    const missed = new Log<number>();
    const id = reactor.addTimer(intervalMs, (tick) => missed.add(tick.missed), options);
    own.defer(() => reactor.removeTimer(id));
    return { id, missed };
  }

  /** Another timer, set later, has ticked: the one before has had its chance. */
  async function passes(ms: number): Promise<void> {
    await ticking(ms, { once: true }).missed.reaches(1);
  }

  it('calls back at the interval, never early, and without drift', async () => {
    const start = performance.now();
    const { missed } = ticking(INTERVAL_MS);
    for (let calls = 1; calls <= 20; calls++) {
      await missed.reaches(calls);
      const elapsed = performance.now() - start;
      // So many ticks have there been by now, one more if this thread was late.
      expect(total(missed.entries) * INTERVAL_MS).to.be.at.most(elapsed + 1);
    }
  });

  it('counts exactly the ticks that this thread has missed while it was blocked, in one call', async () => {
    const start = performance.now();
    const { missed } = ticking(INTERVAL_MS);
    await missed.reaches(2);
    const told = missed.entries.length;
    const ticksBefore = total(missed.entries);
    block(20 * INTERVAL_MS);
    await missed.reaches(told + 1);
    const elapsed = performance.now() - start;
    const [late] = missed.entries.slice(told);
    expect(late).to.be.at.least(18);
    expect(ticksBefore + 1 + (late as number)).to.be.within(20, elapsed / INTERVAL_MS + 0.1);
    const before = total(missed.entries);
    await missed.reaches(told + 10);
    expect(total(missed.entries)).to.be.at.least(before + 9);
  });

  it('counts from the call on, also if the thread blocks straight behind it', async () => {
    const { missed } = ticking(INTERVAL_MS);
    block(10 * INTERVAL_MS);
    await missed.reaches(1);
    expect(missed.entries[0]).to.be.at.least(9);
  });

  it('has a first delay of its own', async () => {
    const start = performance.now();
    const soon = ticking(60_000, { delayMs: 0 });
    const late = ticking(INTERVAL_MS, { delayMs: 80 });
    await soon.missed.reaches(1);
    await late.missed.reaches(1);
    expect(performance.now() - start).to.be.at.least(79);
    expect(soon.missed.entries).to.deep.equal([0]);
    await late.missed.reaches(3);
  });

  it('calls back once, and is gone then', async () => {
    const once = ticking(20, { once: true });
    const delayed = ticking(60_000, { once: true, delayMs: 20 });
    await Promise.all([once.missed.reaches(1), delayed.missed.reaches(1)]);
    block(60);
    await passes(50);
    expect([once.missed.entries, delayed.missed.entries]).to.deep.equal([[0], [0]]);
    expect(stage.reactor.removeTimer(once.id)).to.equal(false);
  });

  it('does not call back once it has been removed, not even for ticks that are under way', async () => {
    const { id, missed } = ticking(INTERVAL_MS);
    await missed.reaches(2);
    block(5 * INTERVAL_MS);
    expect(stage.reactor.removeTimer(id)).to.equal(true);
    expect(stage.reactor.removeTimer(id)).to.equal(false);
    const told = missed.entries.length;
    await passes(5 * INTERVAL_MS);
    expect(missed.entries.length).to.equal(told);
  });

  it('may be removed, and others added, in the callback', async () => {
    const log = new Log<string>();
    const id = stage.reactor.addTimer(INTERVAL_MS, () => {
      log.add('first');
      stage.reactor.removeTimer(id);
      stage.reactor.addTimer(INTERVAL_MS, () => log.add('second'), { once: true });
    });
    expect(await log.reaches(2)).to.deep.equal(['first', 'second']);
  });

  it('is called by pollSync(), in a thread that does not return to its event loop', () => {
    const { missed } = ticking(INTERVAL_MS);
    while (missed.entries.length < 3) stage.reactor.pollSync(1000);
  });

  it('says in stats how many events of timers there were', async () => {
    const before = stage.reactor.stats().timerEvents;
    await ticking(INTERVAL_MS).missed.reaches(3);
    expect(stage.reactor.stats().timerEvents - before).to.be.at.least(3);
  });

  it('asks the io worker for nothing when a timer is removed in the turn in which it was added', async () => {
    // What the test before has removed is gone by then.
    await passes(1);
    const before = stage.reactor.stats().turns;
    for (let i = 0; i < 1000; i++) {
      stage.reactor.removeTimer(stage.reactor.addTimer(1, () => undefined));
      if (i % 100 === 0) await Promise.resolve();
    }
    expect(stage.reactor.stats().commandRingBytes).to.equal(0);
    await new Promise((resolve) => setImmediate(resolve));
    expect(stage.reactor.stats().turns - before).to.be.at.most(4);
  });

  it('may be done a million times over without growth, and no id is used again', async () => {
    const child = new Child('million-timers');
    own.defer(() => child.kill());
    expect(await child.said('removed')).to.equal('1000000');
    expect(await child.said('fresh')).to.equal('true');
    // Half a million timers that were kept would be 300 MiB.
    expect(Number(await child.said('grown'))).to.be.below(150);
  });

  it('lets the ones that throw surface as uncaught, and goes on', async () => {
    const child = new Child('throwing-timer');
    own.defer(() => child.kill());
    expect(await child.end()).to.deep.include({ lines: ['uncaught 1', 'uncaught 2', 'done'], code: 0 });
  });

  it('keeps the process alive until it is removed, unless the reactor is unref()ed', async () => {
    const removed = new Child('exit-behaviour', 'timer-removed');
    const unreferenced = new Child('exit-behaviour', 'timer-unref');
    own.defer(() => removed.kill());
    own.defer(() => unreferenced.kill());
    expect((await removed.end()).lines).to.deep.equal(['tick', 'tick', 'tick', 'nothing to wait for']);
    expect((await unreferenced.end()).lines).to.deep.equal(['nothing to wait for']);
  });

  it('throws for bad arguments, and when the reactor is closed', async () => {
    const reactor = await own.spawn();
    const add = (...args: unknown[]): string | undefined => {
      try {
        reactor.removeTimer(reactor.addTimer(...(args as [number, TimerCallback, TimerOptions])));
        return undefined;
      } catch (error) {
        return (error as ReactorError).code;
      }
    };
    const nothing = (): void => undefined;
    for (const interval of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, '5', undefined]) {
      expect(add(interval, nothing), String(interval)).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    }
    expect(add(5, undefined)).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    for (const options of [{ delayMs: -1 }, { delayMs: '1' }, { once: 1 }, { often: true }, 5]) {
      expect(add(5, nothing, options), JSON.stringify(options)).to.equal('ERR_REACTOR_INVALID_OPTION');
    }
    expect(add(1.5, nothing, { delayMs: 0, once: true })).to.equal(undefined);
    reactor.destroy();
    expect(add(5, nothing)).to.equal('ERR_REACTOR_CLOSED');
  });

  it('goes on by the same clock when the io worker has been started again', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    const [ioWorker] = await started;
    const start = performance.now();
    const { missed } = ticking(INTERVAL_MS, {}, reactor);
    const once = ticking(1, { once: true }, reactor);
    const far = ticking(100, { once: true }, reactor);
    await missed.reaches(2);
    await once.missed.reaches(1);
    const respawned = next(reactor, 'respawn');
    await ioWorker.terminate();
    await respawned;
    const told = missed.entries.length;
    await missed.reaches(told + 3);
    const elapsed = performance.now() - start;
    expect(total(missed.entries)).to.be.within(Math.max(...missed.entries), elapsed / INTERVAL_MS + 0.1);
    await far.missed.reaches(1);
    expect([once.missed.entries, far.missed.entries]).to.deep.equal([[0], [0]]);
  });

  describe('in an attached thread', () => {
    /** A thread with a timer. */
    function start(intervalMs: number): { thread: Worker; open: () => void; said: Log<string>; missed: Log<number> } {
      const gate = new Int32Array(new SharedArrayBuffer(4));
      const workerData = { handle: stage.reactor.handle, gate, intervalMs };
      const thread = new Worker(new URL('../fixtures/timer-thread.js', import.meta.url), { workerData });
      own.defer(() => thread.terminate());
      const said = new Log<string>();
      const missed = new Log<number>();
      thread.on('message', (message: string | { missed: number }) => {
        if (typeof message === 'string') said.add(message);
        else missed.add(message.missed);
      });
      const open = (): void => {
        Atomics.store(gate, 0, 1);
        Atomics.notify(gate, 0);
      };
      return { thread, open, said, missed };
    }

    it('calls back there, and counts what it misses while others go on', async () => {
      const { thread, open, said, missed } = start(INTERVAL_MS);
      await missed.reaches(2);
      thread.postMessage('block');
      await said.reaches(1);
      const here = ticking(INTERVAL_MS);
      await here.missed.reaches(10);
      const told = missed.entries.length;
      open();
      await missed.reaches(told + 1);
      expect(missed.entries[told]).to.be.at.least(total(here.missed.entries.slice(0, 10)) - 2);
      thread.postMessage('remove');
      expect((await said.reaches(2))[1]).to.equal('removed');
    });

    it('is removed when the thread ends', async () => {
      const { thread, missed } = start(1);
      await missed.reaches(3);
      const { endedThreads } = stage.reactor.stats();
      thread.postMessage('exit');
      while (stage.reactor.stats().endedThreads === endedThreads) await passesHere();
      // A timer that ticks for nobody would keep the io worker's loop turning.
      for (let turns = -1; turns !== stage.reactor.stats().turns; await passesHere())
        turns = stage.reactor.stats().turns;
    });

    /** By this thread's own clock: the io worker must have nothing to do. */
    function passesHere(): Promise<void> {
      return new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
});
