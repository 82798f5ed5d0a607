import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { consumeRecords, ringTraffic } from '../fixtures/ring-traffic.js';

/** Sends records through a ring from another thread, and checks each. */
export async function exchangeRecords(capacity: number, records: number, seed: number): Promise<void> {
  const traffic = ringTraffic(capacity, records, seed);
  const producer = new Worker(new URL('../fixtures/ring-producer-thread.js', import.meta.url), { workerData: traffic });
  const exited = once(producer, 'exit');
  await once(producer, 'online');
  expect(consumeRecords(traffic), `seed ${seed}`).to.equal(records);
  expect(await exited).to.deep.equal([0]);
}
