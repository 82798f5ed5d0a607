// @ts-check
/** Echo servers on `net`, from the simplest one to what one writes to have the application in a thread of its own. */

import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { copyOf, listenForFrames } from './frame-server.js';
import { work } from './work.js';

/** @type {import('../peers.js').Serve} One write for each message. */
export function plain({ port, workUs }) {
  return onMainThread(port, workUs, false);
}

/** @type {import('../peers.js').Serve} The best that one writes by hand: one write for all messages of a chunk. */
export function corked({ port, workUs }) {
  return onMainThread(port, workUs, true);
}

/** @type {import('../peers.js').Serve} The sockets in a worker; each message is posted to this thread, and its answer back. */
export async function posted({ port, workUs }) {
  const worker = startWorker(port, 'postMessage');
  await once(worker, 'message');
  worker.on('message', ({ id, frame }) => {
    work(workUs);
    worker.postMessage({ id, frame });
  });
}

/** @type {import('../peers.js').Serve} The same, where the worker calls a function of this thread's for each message. */
export async function called({ port, workUs }) {
  const worker = startWorker(port, 'comlink');
  await once(worker, 'message');
  const application = {
    onMessage(/** @type {Uint8Array} */ frame) {
      work(workUs);
      return frame;
    },
  };
  comlink.expose(application, nodeEndpoint(/** @type {any} */ (worker)));
}

/**
 * @param {number} port
 * @param {number} workUs
 * @param {boolean} cork
 */
function onMainThread(port, workUs, cork) {
  return listenForFrames(
    port,
    (socket, bytes, start, end) => {
      work(workUs);
      socket.write(copyOf(bytes, start, end));
    },
    { cork },
  );
}

/**
 * @param {number} port
 * @param {'postMessage' | 'comlink'} way
 */
function startWorker(port, way) {
  return new Worker(new URL('./net-in-worker.js', import.meta.url), { workerData: { port, way } });
}
