// @ts-check
// The demo's client process: all the connections, and the clock.
import { createHistogram } from 'node:perf_hooks';
import { Reactor } from 'simple-reactor';
import { handleCommands, letProcessEnd, tellMain } from './channel.js';
import { PingPong } from './ping-pong.js';

const PROGRESS_INTERVAL_MS = 50;
const MICROSECONDS = 1000;

const reactor = await Reactor.spawn();
const client = reactor.client();
/** @type {PingPong[]} */
let players = [];
/** Connections may end from now on. */
let over = false;

let run = newRun(0);

client.on('disconnect', (_connection, reason) => {
  if (!over) tellMain('failure', `the client lost a connection (${reason})`);
});
reactor.on('error', (error) => tellMain('failure', `the client's io worker ended: ${error.message}`));

/** @param {number} roundTrips */
function newRun(roundTrips) {
  return { roundTrips, done: 0, aboveOneSecond: 0, latencies: createHistogram(), startedAt: performance.now() };
}

/** @param {number} milliseconds */
function onRoundTrip(milliseconds) {
  run.latencies.record(Math.max(1, Math.round(milliseconds * MICROSECONDS)));
  if (milliseconds > 1000) run.aboveOneSecond++;
  run.done++;
  if (run.done === run.roundTrips) tellMain('result', result());
}

function result() {
  const { roundTrips, latencies, aboveOneSecond, startedAt } = run;
  const seconds = (performance.now() - startedAt) / 1000;
  /** @param {number} percentage */
  const percentile = (percentage) => latencies.percentile(percentage) / MICROSECONDS;
  return {
    roundTrips,
    seconds,
    p50: percentile(50),
    p99: percentile(99),
    p999: percentile(99.9),
    longest: latencies.max / MICROSECONDS,
    aboveOneSecond,
  };
}

let told = 0;
setInterval(() => {
  if (run.done !== told) tellMain('progress', run.done);
  told = run.done;
}, PROGRESS_INTERVAL_MS).unref();

handleCommands({
  async connect(/** @type {{ port: number, connections: number }} */ { port, connections }) {
    const attempts = Array.from({ length: connections }, () => client.connect({ host: '127.0.0.1', port }));
    players = (await Promise.all(attempts)).map(
      (connection, i) => new PingPong(connection, i, onRoundTrip, (cause) => tellMain('failure', cause)),
    );
    tellMain('connected');
  },
  run(/** @type {number} */ roundTrips) {
    run = newRun(roundTrips);
    for (const player of players) player.play(roundTrips / players.length);
  },
  finish() {
    over = true;
    const sent = players.reduce((sum, player) => sum + player.sent, 0);
    const received = players.reduce((sum, player) => sum + player.received, 0);
    tellMain('counts', { open: client.connectionCount, opened: reactor.stats().connected, sent, received });
  },
  async close() {
    await reactor.close();
    letProcessEnd();
  },
});
tellMain('ready');
