// @ts-check
// What the demo prints: a progress bar for each run, a table of all of them, and what follows.
import cliProgress from 'cli-progress';

/** @typedef {import('./channel.js').RunResult & { name: string }} NamedResult */

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
  return [COLUMNS, ...rows].map(line).join('\n');
}

/** @param {string[]} cells */
function line([name = '', ...figures]) {
  const aligned = figures.map((figure, i) => figure.padStart(COLUMNS[i + 1]?.length ?? 0));
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

/** @param {number} value */
function withCommas(value) {
  return value.toLocaleString('en-US');
}
