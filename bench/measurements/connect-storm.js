// @ts-check
/** 10,000 clients connect at the same moment, and each wants one echo. Both servers have a backlog of 4096. */
import { withClients } from '../suite/clients-process.js';
import { startPeer } from '../suite/peer-process.js';

export const id = 'connect-storm';
export const title = '10,000 clients connect at once';
export const columns = ['ms until all have their echo', 'p99 ms', 'failed'];

const COUNT = 10_000;

export async function round() {
  /** @type {Record<string, number[]>} */
  const rows = {};
  for (const name of ['net-cork', 'reactor-copy', 'reactor-service']) {
    const peer = await startPeer(name);
    try {
      rows[name] = await withClients(peer, { count: COUNT, batch: COUNT }, async ({ totalMs, p99Ms, failed }) => [
        totalMs,
        p99Ms,
        failed,
      ]);
    } finally {
      await peer.stop();
    }
  }
  return rows;
}
