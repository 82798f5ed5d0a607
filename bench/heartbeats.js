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
  await ask(server.child, { block: seconds });
  const ofServer = await ask(server.child, {});
  const ofPeers = await ask(peers.child, {});
  console.log(
    `${kind}: main thread blocked for ${seconds} s, ${connections} connections, ${connections - ofPeers.open} lost ` +
      `(${ofPeers.timedOut} timed out)`,
  );
  for (const [side, stats] of Object.entries({ server: ofServer, peers: ofPeers })) {
    if (stats.pings === undefined) continue;
    const { p50, p99, p999, max } = stats.pingLateness;
    console.log(
      `  ${side}: ${stats.pings} pings, late by p50 ${p50.toFixed(1)} p99 ${p99.toFixed(1)} p99.9 ${p999.toFixed(1)} max ${max.toFixed(1)} ms`,
    );
    // Peers of a server that is dead to them see its end, not its pings.
    if (kind === 'reactor' && p999 >= TARGET_MS) failed = true;
  }
  if (kind === 'reactor' ? ofPeers.open < connections : ofPeers.open > 0) failed = true;
  for (const { child } of [peers, server]) {
    child.disconnect();
    await once(child, 'exit');
  }
}
console.log(failed ? 'missed' : `met: none lost here, all on net, p99.9 below ${TARGET_MS} ms`);
process.exitCode = failed ? 1 : 0;
