// @ts-check
/** The other thread of the ring's micro-benchmarks: takes every record, and sends it back if there is a ring for that. */
import { workerData } from 'node:worker_threads';
import { Receiver, Sender } from './ring-ends.js';

const receiver = new Receiver(workerData.there);
const sender = workerData.back === undefined ? undefined : new Sender(workerData.back);
for (;;) {
  const record = receiver.receive();
  sender?.send(record);
}
