// @ts-check
// First the stress test: 100 connections between two processes, 'hello world' to and fro on each, every echo checked; in the
// last run the server's main thread is blocked for 2 s.
// Then the heartbeats: 50 connections to this library's server, 50 to one on `net`, and the main threads of both are blocked.
// Run: npm run demo. Takes about 20 s; prints tables and what was checked. Exits with code 1 if anything is wrong.
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect, isDeepStrictEqual } from 'node:util';
import { Child } from './channel.js';
import { HEARTBEAT } from './heartbeat-settings.js';
import { conclusions, heartbeatConclusions, heartbeatTable, startLifeBars, startProgressBar, table } from './report.js';

const CONNECTIONS = 100;
const BLOCK_MS = 2000;
const HEARTBEAT_CONNECTIONS = 50;
const HEARTBEAT_BLOCK_MS = 4000;
/** Before the block and behind it. */
const HEARTBEAT_CALM_MS = 1000;
const IN_FLIGHT_MS = 50;
const PATIENCE_MS = 120_000;
const REPORT_IT =
  'Run the demo again; if it happens again, please report it with this text and the output of `node --version`.';
const BUSY_OR_REPORT = `The machine may be too busy, or was asleep. ${REPORT_IT}`;

/** @type {Child[]} */
const children = [];
/** @type {Set<Child>} those that have been told to end */
const ending = new Set();
/** Aborted, with an error for the user, as soon as the demo cannot go on. */
const failure = new AbortController();
const { signal } = failure;
let stage = 'starting';

/**
 * @param {string} cause
 * @param {string} advice  what the user can do next
 */
function fail(cause, advice) {
  failure.abort(new Error(`The demo has failed while ${stage}: ${cause}. ${advice}`));
}

/** @type {Set<string>} */
const causes = new Set();
/** @param {import('./channel.js').ChildName} name */
function start(name) {
  const child = new Child(name);
  children.push(child);
  child.on('failure', (cause) => {
    causes.add(cause);
    // One failure brings others along, and the first to be told need not be the first that happened: name all.
    // The end of a process speaks for itself, and does not wait.
    setTimeout(() => fail([...causes].slice(0, 4).join('; '), REPORT_IT), 500).unref();
  });
  child.on('ended', (how) => {
    if (ending.has(child) && how === 'code 0') return;
    const advice = how.startsWith('code')
      ? 'Its own error is above: for ERR_MODULE_NOT_FOUND run `npm install`, which builds the package; report others.'
      : 'Somebody ended it; SIGKILL may come from the kernel for lack of memory, see its log. Then run the demo again.';
    fail(`the ${child.name} process ended (${how})`, advice);
  });
  return child;
}

/**
 * Nothing forces them to: a process without open connections ends by itself.
 * @param {Child[]} ended
 */
async function end(ended) {
  stage = 'ending';
  await Promise.all(
    ended.map((child) => {
      ending.add(child);
      child.command('close');
      return once(child, 'ended', { signal });
    }),
  );
}

for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(name, () => fail(`${name} was received`, 'Nothing is left running; start it again whenever you like.'));
}
const watchdog = setTimeout(() => {
  fail(`no progress for ${PATIENCE_MS / 1000} s`, BUSY_OR_REPORT);
}, PATIENCE_MS);

try {
  await stressTest();
  await heartbeats();
} catch (error) {
  console.error(signal.aborted ? signal.reason.message : error);
  process.exitCode = 1;
} finally {
  clearTimeout(watchdog);
  await Promise.all(children.map((child) => child.kill()));
}

async function stressTest() {
  const server = start('server');
  const client = start('client');
  const [[port]] = await Promise.all([once(server, 'listening', { signal }), once(client, 'ready', { signal })]);
  client.command('connect', { port, connections: CONNECTIONS });
  await once(client, 'connected', { signal });

  console.log(`${CONNECTIONS} connections to 127.0.0.1:${port}, 'hello world' to and fro on each of them:`);

  const sides = { server, client };
  const results = [await run(sides, 'short', 10_000), await run(sides, 'long', 200_000)];
  const blocked = await run(sides, 'blocked', 200_000, BLOCK_MS);
  results.push(blocked);
  console.log(`\n${table(results)}\n`);

  stage = 'checking the counts';
  const messages = results.reduce((sum, { roundTrips }) => sum + roundTrips, 0);
  const expected = { open: CONNECTIONS, opened: CONNECTIONS, sent: messages, received: messages };
  for (const child of [server, client]) {
    child.command('finish');
    const [counts] = await once(child, 'counts', { signal });
    if (!isDeepStrictEqual(counts, expected)) {
      fail(`the ${child.name} counts ${inspect(counts)}, and should count ${inspect(expected)}`, REPORT_IT);
    }
  }
  if (blocked.longest < 0.9 * BLOCK_MS || blocked.longest > 2 * BLOCK_MS) {
    const cause = `the longest round trip took ${blocked.longest} ms instead of about ${BLOCK_MS} ms`;
    fail(cause, BUSY_OR_REPORT);
  }
  signal.throwIfAborted();
  console.log(conclusions(CONNECTIONS, messages, blocked));

  await end([server, client]);
}

async function heartbeats() {
  stage = 'starting the heartbeats';
  const servers = { reactor: start('heartbeat-reactor'), net: start('heartbeat-net') };
  const both = Object.values(servers);
  const peers = start('heartbeat-peers');
  const [[reactorPort], [netPort]] = await Promise.all([
    once(servers.reactor, 'listening', { signal }),
    once(servers.net, 'listening', { signal }),
    once(peers, 'ready', { signal }),
  ]);
  peers.command('connect', { ports: { reactor: reactorPort, net: netPort }, connections: HEARTBEAT_CONNECTIONS });
  await once(peers, 'connected', { signal });
  watchdog.refresh();
  const { intervalMs, timeoutMs } = HEARTBEAT;
  console.log(`
${HEARTBEAT_CONNECTIONS} connections to a server of this library, ${HEARTBEAT_CONNECTIONS} to one on net. Both sides of each send a heartbeat
every ${intervalMs} ms and give up after ${timeoutMs} ms of silence. In ${HEARTBEAT_CALM_MS / 1000} s both servers' main threads begin to
compute something, for ${HEARTBEAT_BLOCK_MS / 1000} s:
`);

  stage = 'showing the heartbeats';
  const bars = startLifeBars(HEARTBEAT_CONNECTIONS);
  let note = '';
  peers.on('lives', (lives) => bars.update(lives, note));
  try {
    peers.command('count');
    await delay(HEARTBEAT_CALM_MS, undefined, { signal });
    const [{ net: calm }] = await once(peers, 'lives', { signal });
    if (calm.open < HEARTBEAT_CONNECTIONS) fail('the server on net had lost connections before', BUSY_OR_REPORT);

    const blocking = both.map((server) => once(server, 'blocking', { signal }));
    const unblocked = Promise.all(both.map((server) => once(server, 'unblocked', { signal })));
    // If the demo fails before, that is told once.
    unblocked.catch(() => {});
    for (const server of both) server.command('block', HEARTBEAT_BLOCK_MS);
    await Promise.all(blocking);
    // What was sent before has arrived by then.
    await delay(IN_FLIGHT_MS, undefined, { signal });
    peers.command('count');
    note = 'blocked';
    await unblocked;
    const [lives] = await once(peers, 'lives', { signal });
    note = '';
    await delay(HEARTBEAT_CALM_MS, undefined, { signal });
    const [{ reactor: after }] = await once(peers, 'lives', { signal });
    bars.stop();

    stage = 'checking the heartbeats';
    if (after.open < HEARTBEAT_CONNECTIONS) fail(`the reactor's peers saw ${inspect(after)}`, BUSY_OR_REPORT);
    if (lives.net.timedOut === 0) fail(`the peers of the server on net saw ${inspect(lives.net)}`, BUSY_OR_REPORT);
    signal.throwIfAborted();
    console.log(`${heartbeatTable(lives)}\n\n${heartbeatConclusions(lives)}`);
  } finally {
    bars.stop();
  }
  await end([peers, ...both]);
}

/**
 * @param {{ server: Child, client: Child }} sides
 * @param {string} name
 * @param {number} roundTrips  of all connections together
 * @param {number} [blockMs]  how long to block the server's main thread when a third is done
 */
async function run({ server, client }, name, roundTrips, blockMs = 0) {
  stage = `running '${name}'`;
  const bar = startProgressBar(name, roundTrips);
  let blockPending = blockMs > 0;
  /** @param {number} done */
  const onProgress = (done) => {
    watchdog.refresh();
    bar.update(done);
    if (!blockPending || done < roundTrips / 3) return;
    blockPending = false;
    server.command('block', blockMs);
    bar.update({ note: 'server blocked' });
    server.once('unblocked', () => bar.update({ note: '' }));
  };
  client.on('progress', onProgress);
  try {
    client.command('run', roundTrips);
    const [result] = await once(client, 'result', { signal });
    bar.update(roundTrips);
    return { name, ...result };
  } finally {
    client.off('progress', onProgress);
    bar.stop();
  }
}
