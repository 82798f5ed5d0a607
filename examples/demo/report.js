// @ts-check
// What the demo prints: bars while something runs, tables, and what follows from them.
import cliProgress from 'cli-progress';

/** @typedef {import('./channel.js').RunResult & { name: string }} NamedResult */
/** @typedef {Record<import('./channel.js').ServerKind, import('./channel.js').Life>} Lives */

const NAME_WIDTH = 8;
const COLUMNS = ['run', 'round trips', 'seconds', 'per second', 'p50 ms', 'p99 ms', 'p99.9 ms', 'longest ms'];

/**
 * Shows nothing if stdout is not a terminal.
 * @param {string} name
 * @param {number} roundTrips
 */
export function startProgressBar(name, roundTrips) {
  const format = `${name.padEnd(NAME_WIDTH)} {bar} {percentage}% {note}`;
  const bar = new cliProgress.SingleBar({ format, stream: process.stdout }, cliProgress.Presets.shades_classic);
  bar.start(roundTrips, 0, { note: '' });
  return bar;
}

/** @param {NamedResult[]} results */
export function table(results) {
  const rows = results.map(({ name, roundTrips, seconds, p50, p99, p999, longest }) => [
    name,
    withCommas(roundTrips),
    seconds.toFixed(2),
    withCommas(Math.round(roundTrips / seconds)),
    ...[p50, p99, p999, longest].map((milliseconds) => milliseconds.toFixed(2)),
  ]);
  return [COLUMNS, ...rows].map((cells) => line(COLUMNS, cells)).join('\n');
}

/**
 * @param {string[]} columns
 * @param {string[]} cells
 */
function line(columns, [name = '', ...figures]) {
  const aligned = figures.map((figure, i) => figure.padStart(columns[i + 1]?.length ?? 0));
  return [name.padEnd(NAME_WIDTH), ...aligned].join('  ');
}

/**
 * To be printed once all of it has been checked.
 * @param {number} connections
 * @param {number} messages
 * @param {NamedResult} blocked
 */
export function conclusions(connections, messages, blocked) {
  const longest = (blocked.longest / 1000).toFixed(2);
  const share = ((100 * blocked.aboveOneSecond) / blocked.roundTrips).toFixed(2);
  return `\
All ${connections} connections lived from the first round trip to the last.
${withCommas(messages)} messages sent, as many echoed, as many echoes received, each the right one at
its time: nothing was lost, doubled or overtaken.
While the server's main thread was blocked, ${blocked.aboveOneSecond} round trips waited for it, the longest
for ${longest} s. Nobody was disconnected.
(Who waits for an echo sends nothing: the block meets one round trip of each connection,
${share} % of all. Percentiles below that do not show it.)`;
}

const LIFE_COLUMNS = [
  'server',
  'connections',
  'open',
  'timed out',
  'signs of life',
  'longest silence ms',
  'round trip ms',
];

/**
 * Shows nothing if stdout is not a terminal.
 * @param {number} connections
 */
export function startLifeBars(connections) {
  if (!process.stdout.isTTY) return { update() {}, stop() {} };
  const format = '{name} {bar} {value}/{total} open, {signs} signs of life, silence {silence} ms {note}';
  const options = { format, barsize: 14, stream: process.stdout };
  const bars = new cliProgress.MultiBar(options, cliProgress.Presets.shades_classic);
  const start = { signs: 0, silence: 0, note: '' };
  const bar = {
    reactor: bars.create(connections, connections, { name: 'reactor'.padEnd(NAME_WIDTH), ...start }),
    net: bars.create(connections, connections, { name: 'net'.padEnd(NAME_WIDTH), ...start }),
  };
  return {
    /**
     * @param {Lives} lives
     * @param {string} note
     */
    update({ reactor, net }, note) {
      bar.reactor.update(reactor.open, { signs: reactor.signs, silence: reactor.silence, note });
      bar.net.update(net.open, { signs: net.signs, silence: net.silence, note });
    },
    stop: () => bars.stop(),
  };
}

/**
 * What was counted while the main threads were blocked.
 * @param {Lives} lives
 */
export function heartbeatTable({ reactor, net }) {
  /**
   * @param {string} name
   * @param {import('./channel.js').Life} life
   */
  const row = (name, { connections, open, timedOut, signs, silence, roundTrip }) => [
    name,
    ...[connections, open, timedOut, signs, silence].map(withCommas),
    roundTrip?.toFixed(2) ?? '-',
  ];
  return [LIFE_COLUMNS, row('reactor', reactor), row('net', net)].map((cells) => line(LIFE_COLUMNS, cells)).join('\n');
}

/**
 * To be printed once all of it has been checked.
 * @param {Lives} lives
 */
export function heartbeatConclusions({ reactor, net }) {
  return `\
While the main threads were blocked, ${reactor.open} of ${reactor.connections} peers kept their connection to the reactor, and ${net.open} of
${net.connections} theirs to net: ${net.timedOut} of those heard nothing for so long that they gave up.
The same peers, the same heartbeats. On net they come from the main thread, here from the io worker.`;
}

/** @param {number} value */
function withCommas(value) {
  return value.toLocaleString('en-US');
}
