// @ts-check
/**
 * A server's main thread stands still for 20 s while 1,000 connections have a heartbeat of 1 s and a timeout of 2 s on both sides: how many
 * are lost, and how late are the pings? The same peers, the same heartbeat, first with a server of this library, then with one on `net`.
 * Run: node bench/heartbeats.js [connections] [seconds]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';

const connections = Number(process.argv[2] ?? 1000);
const seconds = Number(process.argv[3] ?? 20);
/** p99.9 of how late a ping is, in ms. */
const TARGET_MS = 20;

const WARM_MS = 3000;

/** @param {number | undefined} value */
const ms = (value) => value?.toFixed(1);

/** @typedef {import('simple-reactor').ReactorStats['pingLateness']} Lateness */

/** @param {Lateness} now @param {Lateness} before */
function countsSince(now, before) {
  const known = new Map(before.histogram.map(({ belowMs, count }) => [belowMs, count]));
  return now.histogram.map(({ belowMs, count }) => ({ belowMs, count: count - (known.get(belowMs) ?? 0) }));
}

/** The upper end of the bucket that it lies in. @param {Lateness['histogram']} counts @param {number} share */
function percentile(counts, share) {
  let left = share * counts.reduce((total, { count }) => total + count, 0);
  for (const { belowMs, count } of counts) {
    left -= count;
    if (left <= 0) return belowMs;
  }
  return undefined;
}

/** @param {string[]} args */
async function start(...args) {
  const child = fork(new URL('./heartbeats-processes.js', import.meta.url), args);
  const [told] = await once(child, 'message');
  return { child, told };
}

/** @param {import('node:child_process').ChildProcess} child @param {unknown} question */
async function ask(child, question) {
  child.send(/** @type {import('node:child_process').Serializable} */ (question));
  const [answer] = await once(child, 'message');
  return answer;
}

let failed = false;
for (const kind of ['reactor', 'net']) {
  const server = await start(kind);
  const peers = await start('peers', String(server.told), String(connections));
  // Everything is warm, and what connecting has cost is over.
  await new Promise((resolve) => setTimeout(resolve, WARM_MS));
  const before = { server: await ask(server.child, {}), peers: await ask(peers.child, {}) };
  const ofServer = await ask(server.child, { block: seconds });
  const ofPeers = await ask(peers.child, {});
  console.log(
    `${kind}: main thread blocked for ${seconds} s, ${connections} connections, ${connections - ofPeers.open} lost ` +
      `(${ofPeers.timedOut} timed out)`,
  );
  for (const [side, stats] of Object.entries({ server: ofServer, peers: ofPeers })) {
    if (stats.pingLateness === undefined) continue;
    const counts = countsSince(stats.pingLateness, before[/** @type {'server' | 'peers'} */ (side)].pingLateness);
    const [p50, p99, p999] = [0.5, 0.99, 0.999].map((share) => percentile(counts, share));
    const pings = counts.reduce((total, { count }) => total + count, 0);
    console.log(
      `  ${side}: ${pings} pings meanwhile, late by less than p50 ${ms(p50)} p99 ${ms(p99)} p99.9 ${ms(p999)} ms`,
    );
    // Of the peers of a server that is dead to them it says nothing.
    if (kind === 'reactor' && !((p999 ?? Number.NaN) < TARGET_MS)) failed = true;
  }
  if (kind === 'reactor' ? ofPeers.open < connections : ofPeers.open > 0) failed = true;
  for (const { child } of [peers, server]) {
    child.disconnect();
    await once(child, 'exit');
  }
}
console.log(failed ? 'missed' : `met: none lost here, all on net, p99.9 below ${TARGET_MS} ms`);
process.exitCode = failed ? 1 : 0;
