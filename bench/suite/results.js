// @ts-check
/** The file that charts and tables are made from. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { dirname } from 'node:path';

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
  return JSON.parse(text);
}

/**
 * Scenarios that were not measured this time stay in the file, if they are of the same machine and Node.
 * @param {string} path
 * @param {Results} results
 * @returns {number} how many stay
 */
export function writeResults(path, results) {
  const before = readResults(path);
  const isSame = before !== undefined && describeMachine(before.machine) === describeMachine(results.machine);
  const echoes = isSame ? withoutNew(before.echoes, results.echoes) : [];
  const measurements = isSame ? withoutNew(before.measurements, results.measurements) : [];
  const all = {
    ...results,
    echoes: [...echoes, ...results.echoes],
    measurements: [...measurements, ...results.measurements],
  };
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${JSON.stringify(all, undefined, 2)}\n`);
  return echoes.length + measurements.length;
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
