import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import { abortError, Waiters } from '../../src/main/waiters.js';
import { ReactorError } from '../../src/shared/reactor-error.js';

function listenersOf(signal: AbortSignal): number {
  return getEventListeners(signal, 'abort').length;
}

/** What a promise came to. */
async function outcome<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  );
}

async function rejection(promise: Promise<unknown>): Promise<ReactorError> {
  const result = await outcome(promise);
  if (!('error' in result)) throw new Error('It was not rejected');
  expect(result.error).to.be.instanceOf(ReactorError);
  return result.error as ReactorError;
}

describe('Waiters', () => {
  it('resolves all who wait, in order, with the value', async () => {
    const waiters = new Waiters<number>();
    const order: string[] = [];
    const waits = ['first', 'second', 'third'].map(async (name) => {
      order.push(`${name}: ${await waiters.wait('wait()', undefined)}`);
    });
    expect(waiters.isEmpty).to.equal(false);
    waiters.resolveAll(7);
    expect(waiters.isEmpty).to.equal(true);
    await Promise.all(waits);
    expect(order).to.deep.equal(['first: 7', 'second: 7', 'third: 7']);
  });

  it('rejects all who wait with the same error', async () => {
    const waiters = new Waiters<number>();
    const error = new Error('over');
    const waits = [waiters.wait('wait()', undefined), waiters.wait('wait()', new AbortController().signal)].map(
      outcome,
    );
    waiters.rejectAll(error);
    expect(waiters.isEmpty).to.equal(true);
    for (const result of await Promise.all(waits)) expect(result).to.deep.equal({ error });
  });

  it('calls who does not wait with a promise at once, not in a microtask', () => {
    const waiters = new Waiters<number>();
    const log: string[] = [];
    const waiter = { resolve: (value: number) => void log.push(`${value}`), reject: () => void log.push('rejected') };
    waiters.add(waiter);
    waiters.resolveAll(7);
    waiters.add(waiter);
    waiters.rejectAll(new Error('over'));
    waiters.resolveAll(8);
    expect(log).to.deep.equal(['7', 'rejected']);
  });

  it('is empty when nobody waits, and then resolves and rejects nobody', () => {
    const waiters = new Waiters<void>();
    expect(waiters.isEmpty).to.equal(true);
    waiters.resolveAll();
    waiters.rejectAll(new Error('nobody hears this'));
    expect(waiters.isEmpty).to.equal(true);
  });

  it('lets those who come later wait for the next time', async () => {
    const waiters = new Waiters<number>();
    const first = waiters.wait('wait()', undefined);
    const second = first.then(() => waiters.wait('wait()', undefined));
    waiters.resolveAll(1);
    expect(await first).to.equal(1);
    await Promise.resolve();
    expect(waiters.isEmpty).to.equal(false);
    waiters.resolveAll(2);
    expect(await second).to.equal(2);
  });

  it('rejects the one whose signal is aborted, with its reason as cause, and leaves the others waiting', async () => {
    const waiters = new Waiters<number>();
    const controller = new AbortController();
    const aborted = waiters.wait('wait()', controller.signal);
    const other = waiters.wait('wait()', new AbortController().signal);
    const reason = new Error('enough');
    controller.abort(reason);
    const error = await rejection(aborted);
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    expect(error.cause).to.equal(reason);
    expect(waiters.isEmpty).to.equal(false);
    waiters.resolveAll(3);
    expect(await other).to.equal(3);
  });

  it('is empty once the only one who waited has been aborted', async () => {
    const waiters = new Waiters<void>();
    const controller = new AbortController();
    const aborted = outcome(waiters.wait('wait()', controller.signal));
    controller.abort();
    expect(waiters.isEmpty).to.equal(true);
    waiters.resolveAll();
    expect(await aborted).to.have.property('error');
  });

  it('rejects at once when the signal has been aborted already', async () => {
    const waiters = new Waiters<void>();
    const signal = AbortSignal.abort('too late');
    const waiting = waiters.wait('wait()', signal);
    expect(waiters.isEmpty).to.equal(true);
    expect(listenersOf(signal)).to.equal(0);
    const error = await rejection(waiting);
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    expect(error.cause).to.equal('too late');
  });

  it('leaves no listener on the signal, whichever way the wait ends', async () => {
    const ends: Record<string, (waiters: Waiters<void>, controller: AbortController) => void> = {
      resolved: (waiters) => waiters.resolveAll(),
      rejected: (waiters) => waiters.rejectAll(new Error('over')),
      aborted: (_waiters, controller) => controller.abort(),
    };
    for (const [name, end] of Object.entries(ends)) {
      const waiters = new Waiters<void>();
      const controller = new AbortController();
      const waits = [waiters.wait('wait()', controller.signal), waiters.wait('wait()', controller.signal)].map(outcome);
      expect(listenersOf(controller.signal), name).to.equal(2);
      end(waiters, controller);
      expect(listenersOf(controller.signal), name).to.equal(0);
      await Promise.all(waits);
    }
  });

  it('does not care about an abort after the wait has ended', async () => {
    const waiters = new Waiters<number>();
    const controller = new AbortController();
    const waiting = waiters.wait('wait()', controller.signal);
    waiters.resolveAll(5);
    controller.abort();
    expect(await waiting).to.equal(5);
  });

  it('rejects each of several waits on one signal', async () => {
    const waiters = new Waiters<void>();
    const controller = new AbortController();
    const waits = [waiters.wait('wait()', controller.signal), waiters.wait('wait()', controller.signal)];
    controller.abort();
    for (const wait of waits) expect((await rejection(wait)).code).to.equal('ERR_REACTOR_ABORTED');
    expect(waiters.isEmpty).to.equal(true);
  });
});

describe('abortError()', () => {
  it('is a ReactorError whose cause is what the signal was aborted with', () => {
    const error = abortError('wait()', AbortSignal.abort());
    expect(error).to.be.instanceOf(ReactorError);
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    expect(error.cause).to.have.property('name', 'AbortError');
    expect(error.message).to.equal('wait(): the operation was aborted');
  });
});
