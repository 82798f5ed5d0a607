// @ts-check
/** From one thread to another: rings against postMessage. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { allocateRing, Receiver, Sender } from './ring-ends.js';

const ROUND_TRIPS = 100;

/**
 * @param {import('./tasks.js').Tasks} tasks
 * @param {number} batch
 */
export async function addThreadTasks(tasks, batch) {
  const record = new Uint8Array(64).fill(1);
  /** @type {Worker[]} */
  const workers = [];
  const start = async (/** @type {string} */ file, /** @type {object} */ workerData) => {
    const worker = new Worker(new URL(file, import.meta.url), { workerData });
    workers.push(worker);
    await once(worker, 'online');
    return worker;
  };

  const oneWay = allocateRing();
  await start('./ring-thread.js', { there: oneWay });
  const sender = new Sender(oneWay);
  tasks.add('ring, one way', batch, () => {
    for (let i = 0; i < batch; i++) sender.send(record);
    sender.drain();
  });

  const posted = await start('./port-thread.js', { answerEach: batch });
  tasks.add('postMessage, one way', batch, async () => {
    for (let i = 0; i < batch; i++) posted.postMessage(record);
    await once(posted, 'message');
  });

  const [there, back] = [allocateRing(), allocateRing()];
  await start('./ring-thread.js', { there, back });
  const [asking, answers] = [new Sender(there), new Receiver(back)];
  tasks.add('ring, round trip', ROUND_TRIPS, () => {
    for (let i = 0; i < ROUND_TRIPS; i++) {
      asking.send(record);
      answers.receive();
    }
  });

  const echoing = await start('./port-thread.js', { answerEach: 1 });
  tasks.add('postMessage, round trip', ROUND_TRIPS, async () => {
    for (let i = 0; i < ROUND_TRIPS; i++) {
      echoing.postMessage(record);
      await once(echoing, 'message');
    }
  });

  return () => Promise.all(workers.map((worker) => worker.terminate()));
}
