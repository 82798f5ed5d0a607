// @ts-check
/** Measures one echo scenario: all peers are there all the time, and take turns. */
import { putLoad } from './load.js';
import { startPeer } from './peer-process.js';
import { BASELINE } from './scenarios.js';
import { median, spread } from './statistics.js';

const WARM_UP_SECONDS = 1;

/** @typedef {import('./load.js').LoadResult} LoadResult */
/** @typedef {import('./statistics.js').Spread} Spread */

/**
 * Ratio: its rate to that of 'net-cork' in the same round; null if that was not measured.
 * @typedef {{ peer: string, rounds: LoadResult[], median: LoadResult, ratio: Spread | null }} PeerResult
 */

/**
 * @param {import('./scenarios.js').EchoScenario} scenario
 * @param {readonly string[]} names  of peers
 * @param {{ rounds: number, seconds: number }} options
 * @param {(note: string) => void} onRun  called before each run of a peer
 * @returns {Promise<PeerResult[]>}
 */
export async function measureEcho(scenario, names, { rounds, seconds }, onRun) {
  const { connections, bytes, window, workUs } = scenario;
  /** @type {import('./peer-process.js').Peer[]} */
  const peers = [];
  /** @type {Map<string, LoadResult[]>} */
  const results = new Map(names.map((name) => [name, []]));
  try {
    for (const name of names) {
      onRun(`${name}, warm-up`);
      const peer = await startPeer(name, workUs);
      peers.push(peer);
      // Its code is compiled by the first load, which would show in the first round only.
      await putLoad(peer, { connections, bytes, window, seconds: Math.min(seconds, WARM_UP_SECONDS) });
    }
    for (let round = 0; round < rounds; round++) {
      // Who comes first differs, in case one of them leaves the machine other than it was.
      const first = round % peers.length;
      for (const peer of [...peers.slice(first), ...peers.slice(0, first)]) {
        onRun(`${peer.name}, round ${round + 1}`);
        results.get(peer.name)?.push(await putLoad(peer, { connections, bytes, window, seconds }));
      }
    }
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
  }
  const base = results.get(BASELINE);
  return [...results].map(([peer, all]) => ({
    peer,
    rounds: all,
    median: medians(all),
    ratio: base === undefined ? null : spread(all.map(({ rate }, round) => rate / (base[round]?.rate ?? Number.NaN))),
  }));
}

/**
 * Except for what was lost: all of it counts.
 * @param {LoadResult[]} rounds
 * @returns {LoadResult}
 */
function medians(rounds) {
  const costs = rounds.flatMap(({ cpuPerMillion }) => cpuPerMillion ?? []);
  return {
    rate: median(rounds.map(({ rate }) => rate)),
    cpuPerMillion: costs.length === 0 ? null : median(costs),
    p50: median(rounds.map(({ p50 }) => p50)),
    p99: median(rounds.map(({ p99 }) => p99)),
    p999: median(rounds.map(({ p999 }) => p999)),
    lost: rounds.reduce((sum, { lost }) => sum + lost, 0),
  };
}
