// @ts-check
/** Resident memory of the server process for each connection that has echoed one message and is idle since. */
import { setTimeout as delay } from 'node:timers/promises';
import { withClients } from '../suite/clients-process.js';
import { startPeer } from '../suite/peer-process.js';

export const id = 'idle-memory';
export const title = 'Memory of 10,000 idle connections';
export const columns = ['bytes for each'];

const COUNT = 10_000;
const BATCH = 100;
const SETTLE_MS = 1000;

export async function round() {
  /** @type {Record<string, number[]>} */
  const rows = {};
  for (const name of ['net-cork', 'reactor-copy']) rows[name] = [await bytesForEach(name)];
  return rows;
}

/** @param {string} name */
async function bytesForEach(name) {
  const peer = await startPeer(name);
  try {
    await delay(SETTLE_MS);
    const before = await peer.usage();
    return await withClients(peer, { count: COUNT, batch: BATCH }, async ({ failed, cause }) => {
      if (failed > 0) {
        const hint = 'They need 10,000 open files in each of two processes: see `ulimit -n`.';
        throw new Error(`${failed} of ${COUNT} clients of ${name} could not connect (${cause}). ${hint}`);
      }
      await delay(SETTLE_MS);
      const after = await peer.usage();
      return ((after?.rssBytes ?? Number.NaN) - (before?.rssBytes ?? Number.NaN)) / COUNT;
    });
  } finally {
    await peer.stop();
  }
}
