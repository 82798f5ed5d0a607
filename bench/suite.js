// @ts-check
/**
 * The benchmark suite: `npm run bench`, `npm run bench -- --help`. Servers, load and clients are processes of their own. What counts is
 * the ratio to hand-written `net` with cork in the same round: absolute figures are those of the machine, and of the hour. Measure
 * while nothing else runs.
 */
import cliProgress from 'cli-progress';
import { measureEcho } from './suite/echo.js';
import { HELP, readOptions, UsageError } from './suite/options.js';
import { describeMachine, merged, readResults, thisMachine, writeResults } from './suite/results.js';
import { describe, ECHO_SCENARIOS, MEASUREMENTS, peersOf } from './suite/scenarios.js';
import { spread } from './suite/statistics.js';
import { ECHO_COLUMNS, echoCells, peerLabel, spreadCell, textTable } from './suite/tables.js';

/** @typedef {import('./suite/options.js').SuiteOptions} SuiteOptions */
/** @typedef {Omit<SuiteOptions, 'json'>} RunOptions */

for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  // Peers in another language are ended by who hears of the end of this process.
  process.once(name, () => process.exit(1));
}
try {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) console.log(HELP);
  else await run(options);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}

/** @param {SuiteOptions} options */
async function run({ json, ...options }) {
  const machine = thisMachine();
  const load = process.env['LOAD_GENERATOR'] ? 'native' : 'Node';
  console.log(`${describeMachine(machine)}; load from a ${load} process, median of ${options.rounds} rounds`);
  const before = readResults(json);
  /** @type {import('./suite/results.js').Results} */
  const results = { machine, date: '', options, echoes: [], measurements: [] };
  const conditions = () => {
    results.date = new Date().toISOString();
    return { rounds: options.rounds, seconds: options.seconds, date: results.date, load };
  };
  for (const scenario of ECHO_SCENARIOS.filter(({ id }) => options.scenarios.includes(id))) {
    const peers = await echo(scenario, options);
    if (peers.length > 0) results.echoes.push({ ...scenario, ...conditions(), peers });
    // Each time, since the next one may fail.
    writeResults(json, merged(before, results));
  }
  for (const measurement of MEASUREMENTS.filter(({ id }) => options.scenarios.includes(id))) {
    const rows = await measure(measurement, options);
    const { id, title, columns } = measurement;
    results.measurements.push({ id, title, columns, ...conditions(), rows });
    writeResults(json, merged(before, results));
  }
  console.log(`\nWritten to ${json}`);
}

/**
 * @param {import('./suite/scenarios.js').EchoScenario} scenario
 * @param {RunOptions} options
 */
async function echo(scenario, options) {
  const names = peersOf(scenario).filter((name) => options.peers.includes(name));
  if (names.length === 0) return [];
  // One more for the warm-up.
  const bar = startBar(scenario.id, names.length * (options.rounds + 1));
  try {
    const peers = await measureEcho(scenario, names, options, (note) => bar.begin(note));
    bar.stop();
    const rows = peers.map((result) => [peerLabel(result.peer), ...echoCells(result)]);
    console.log(`\n${scenario.id}: ${describe(scenario)}\n${textTable(['', ...ECHO_COLUMNS], rows)}`);
    return peers;
  } finally {
    bar.stop();
  }
}

/**
 * @param {import('./suite/scenarios.js').Measurement} measurement
 * @param {RunOptions} options
 * @returns {Promise<import('./suite/results.js').Row[]>}
 */
async function measure(measurement, { rounds, seconds }) {
  const { id, title, columns } = measurement;
  /** @type {Map<string, number[][]>} */
  const all = new Map();
  const bar = startBar(id, rounds);
  try {
    for (let round = 1; round <= rounds; round++) {
      bar.begin(`round ${round}`);
      for (const [name, values] of Object.entries(await measurement.round({ seconds }))) {
        all.set(name, [...(all.get(name) ?? []), [...values]]);
      }
    }
  } finally {
    bar.stop();
  }
  const rows = [...all].map(([name, each]) => ({
    name,
    rounds: each,
    cells: columns.map((_, column) => spread(each.map((values) => values[column] ?? Number.NaN))),
  }));
  const text = rows.map(({ name, cells }) => [peerLabel(name), ...cells.map(spreadCell)]);
  console.log(`\n${id}: ${title}\n${textTable(['', ...columns], text)}`);
  return rows;
}

/**
 * Shows nothing if there is no terminal. Stopped, it leaves nothing behind.
 * @param {string} name
 * @param {number} turns
 */
function startBar(name, turns) {
  const format = `${name.padEnd(18)} {bar} {value}/{total} {note}`;
  const options = { format, clearOnComplete: true, hideCursor: true, stream: process.stderr };
  const bar = new cliProgress.SingleBar(options, cliProgress.Presets.shades_classic);
  let begun = 0;
  bar.start(turns, 0, { note: '' });
  return {
    /** @param {string} note */
    begin: (note) => bar.update(begun++, { note }),
    stop: () => bar.stop(),
  };
}
