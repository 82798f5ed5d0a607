// @ts-check
/**
 * What a pool of logic threads brings when each message costs work: `node bench/logic-threads.js [rounds]`. The same server with 1
 * and with 2 logic threads, and `net` that works in its only thread; they take turns, the figures are medians. Measure while
 * nothing else runs, and remember that io worker and load generator need their cores, too.
 */
import os from 'node:os';
import { putLoad } from './suite/load.js';
import { startPeer } from './suite/peer-process.js';
import { median } from './suite/statistics.js';

const ROUNDS = Number(process.argv[2] ?? 5);
const WORK_US = 20;
const LOAD = { connections: 100, bytes: 64, window: 8, seconds: 2 };
const PEERS = ['net-cork', 'reactor-pool-1', 'reactor-pool-2'];

/** @type {Map<string, number[]>} */
const rates = new Map(PEERS.map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round++) {
  for (const name of PEERS) {
    const peer = await startPeer(name, WORK_US);
    const { rate } = await putLoad(peer, LOAD);
    rates.get(name)?.push(rate);
    await peer.stop();
  }
}
console.log(`${os.cpus()[0]?.model.trim()}, ${os.cpus().length} cores, Node ${process.version}, median of ${ROUNDS}`);
console.log(`${WORK_US} us of work a message, ${LOAD.connections} x ${LOAD.bytes} bytes x window ${LOAD.window}`);
console.table(
  Object.fromEntries(
    PEERS.map((name) => {
      const all = rates.get(name) ?? [];
      return [name, { 'messages/s': median(all), lowest: Math.min(...all), highest: Math.max(...all) }];
    }),
  ),
);
