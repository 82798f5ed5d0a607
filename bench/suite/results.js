// @ts-check
/** The file that charts and tables are made from. */
import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { ECHO_SCENARIOS, MEASUREMENTS } from './scenarios.js';

/** @typedef {{ cpu: string, cores: number, platform: string, node: string }} Machine */
/** @typedef {{ rounds: number, seconds: number, date: string, load: string }} Conditions  load: what has made it */
/** @typedef {import('./scenarios.js').EchoScenario & Conditions & { peers: import('./echo.js').PeerResult[] }} EchoResult */

/**
 * For each row and column all rounds, and their spread.
 * @typedef {{ name: string, rounds: number[][], cells: import('./statistics.js').Spread[] }} Row
 * @typedef {{ id: string, title: string, columns: readonly string[], rows: Row[] } & Conditions} MeasurementResult
 */

/**
 * The date is that of the last run. Each scenario has its own conditions, since one of them may be measured again.
 * @typedef {{ machine: Machine, date: string, options: object, echoes: EchoResult[], measurements: MeasurementResult[] }} Results
 */

/** @returns {Machine} */
export function thisMachine() {
  const cpus = os.cpus();
  return {
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: cpus.length,
    platform: `${os.platform()} ${os.arch()}`,
    node: process.version,
  };
}

/** @param {Machine} machine */
export function describeMachine({ cpu, cores, platform, node }) {
  return `${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${platform}, Node ${node}`;
}

/**
 * @param {string} path
 * @returns {Results | undefined} undefined if there is no such file
 */
export function readResults(path) {
  let text;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (/** @type {NodeJS.ErrnoException} */ (error).code === 'ENOENT') return undefined;
    throw error;
  }
  const results = JSON.parse(text);
  if (!Array.isArray(results?.echoes) || !Array.isArray(results.measurements)) {
    throw new Error(`${path} is not a file of results`);
  }
  return results;
}

/**
 * Scenarios that were not measured this time stay, if they are of the same machine and Node.
 * @param {Results | undefined} before
 * @param {Results} now
 * @returns {Results}
 */
export function merged(before, now) {
  if (before === undefined || describeMachine(before.machine) !== describeMachine(now.machine)) return now;
  return {
    ...now,
    echoes: [...withoutNew(before.echoes, now.echoes), ...now.echoes].sort(byOrderOf(ECHO_SCENARIOS)),
    measurements: [...withoutNew(before.measurements, now.measurements), ...now.measurements].sort(
      byOrderOf(MEASUREMENTS),
    ),
  };
}

/**
 * @param {string} path
 * @param {Results} results
 */
export function writeResults(path, results) {
  writeFileSync(path, `${JSON.stringify(results, undefined, 2)}\n`);
}

/** @param {readonly { id: string }[]} all */
function byOrderOf(all) {
  const place = (/** @type {string} */ wanted) => all.findIndex(({ id }) => id === wanted);
  return (/** @type {{ id: string }} */ a, /** @type {{ id: string }} */ b) => place(a.id) - place(b.id);
}

/**
 * @template {{ id: string }} T
 * @param {readonly T[]} before
 * @param {readonly T[]} now
 */
function withoutNew(before, now) {
  const ids = new Set(now.map(({ id }) => id));
  return before.filter(({ id }) => !ids.has(id));
}
