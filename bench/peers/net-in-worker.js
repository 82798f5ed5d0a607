// @ts-check
/** The worker thread of the peers 'net-postmessage' and 'net-comlink': all of the sockets, none of the application. */

import { parentPort, workerData } from 'node:worker_threads';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { listenForFrames } from './frame-server.js';

if (parentPort === null) throw new Error('net-in-worker.js is for a worker thread: see net-peers.js');
const port = parentPort;
/** @type {{ port: number, way: 'postMessage' | 'comlink' }} */
const { port: tcpPort, way } = workerData;

if (way === 'postMessage') await postEach();
else await callForEach();
port.postMessage('listening');

async function postEach() {
  /** @type {Map<number, import('node:net').Socket>} */
  const sockets = new Map();
  /** @type {WeakMap<import('node:net').Socket, number>} */
  const ids = new WeakMap();
  let lastId = 0;
  port.on('message', ({ id, frame }) => sockets.get(id)?.write(frame));
  await listenForFrames(
    tcpPort,
    (socket, bytes, start, end) => {
      let id = ids.get(socket);
      if (id === undefined) {
        id = ++lastId;
        const own = id;
        ids.set(socket, own);
        sockets.set(own, socket);
        socket.once('close', () => sockets.delete(own));
      }
      port.postMessage({ id, frame: unpooled(bytes, start, end) });
    },
    { cork: false },
  );
}

async function callForEach() {
  /** @type {comlink.Remote<{ onMessage(frame: Uint8Array): Uint8Array }>} */
  const application = comlink.wrap(nodeEndpoint(/** @type {import('node:worker_threads').MessagePort} */ (port)));
  await listenForFrames(
    tcpPort,
    async (socket, bytes, start, end) => {
      const answer = await application.onMessage(unpooled(bytes, start, end));
      if (!socket.destroyed) socket.write(answer);
    },
    { cork: false },
  );
}

/**
 * Posting a part of a larger buffer would clone all of that buffer.
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} end
 */
function unpooled(bytes, start, end) {
  return new Uint8Array(bytes.subarray(start, end));
}
