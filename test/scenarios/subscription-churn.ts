import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { type Dispatch, Reactor } from '../../src/index.js';
import { until } from '../fixtures/events.js';
import { PeerProcess } from '../fixtures/peer-process.js';
import type { FloodReport } from '../fixtures/scenario-flood-peers.js';
import type { SubscriberData, SubscriberReport } from '../fixtures/scenario-subscriber.js';
import { AppThreads } from '../fixtures/scenario-tools.js';
import { total } from '../fixtures/scenario-totals.js';

/** Threads subscribe and unsubscribe as they please, while peers send as fast as they can. */
export async function subscribeAndLeave(options: {
  dispatch: Dispatch;
  threads: number;
  peers: number;
  bytes: number;
  ms: number;
  seed: number;
}): Promise<void> {
  const { dispatch, bytes, seed } = options;
  await using reactor = await Reactor.spawn({ maxConnections: 64, eventRingBytes: 512 * 1024 });
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, dispatch });
  // Who listens has an owner's subscription: only the others take part.
  await server.unsubscribe();
  const numbers = new Int32Array(new SharedArrayBuffer(4 * 64));
  const totals = new Int32Array(new SharedArrayBuffer(16));
  await using threads = new AppThreads();
  const subscribers = Array.from({ length: options.threads }, (_, thread) => {
    const data: SubscriberData = {
      handle: reactor.handle,
      server: server.id,
      seed: seed + 7919 * thread,
      bytes,
      iterates: thread % 2 === 1,
      next: numbers,
      totals,
    };
    return threads.start('scenario-subscriber', data);
  });
  await using peers = new PeerProcess('scenario-flood-peers', [server.address.port, options.peers, bytes].map(String));
  for (const subscriber of subscribers) subscriber.tell('go');

  const count = (of: number): number => Atomics.load(totals, of);
  await until(() => count(total.TAKEN) > 0);
  await pause(options.ms);
  // However slow the machine is.
  await until(() => count(total.SUBSCRIPTIONS) > 2 * options.threads && count(total.HANDED_OVER) > options.peers);
  for (const subscriber of subscribers) subscriber.tell('stay');
  await Promise.all(subscribers.map((subscriber) => subscriber.said('stays')));
  peers.tell('stop');
  const counts = await peers.next<FloodReport[]>();
  await until(() => totals[total.ENDED] === options.peers);
  const reports = await Promise.all(subscribers.map((subscriber) => subscriber.ask<SubscriberReport>('report')));

  expect(reports.flatMap(({ faults }) => faults)).to.deep.equal([]);
  expect(counts.filter(({ closed }) => closed)).to.deep.equal([]);
  const sent = counts.map((peer) => peer.sent).sort((a, b) => a - b);
  expect([...numbers.subarray(0, options.peers)].sort((a, b) => a - b)).to.deep.equal(sent);
  const sum = (values: readonly number[]): number => values.reduce((before, value) => before + value, 0);
  expect(sum(reports.map(({ taken }) => taken))).to.equal(sum(sent));
  expect(reactor.stats().heldConnections).to.equal(0);
}
