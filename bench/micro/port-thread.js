// @ts-check
/** The other thread of the micro-benchmarks of postMessage: answers every so many messages, with the last of them. */
import { parentPort, workerData } from 'node:worker_threads';

let received = 0;
parentPort?.on('message', (message) => {
  if (++received % workerData.answerEach === 0) parentPort?.postMessage(message);
});
