// @ts-check
/** What `npm run bench` is told, checked. */
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { FOREIGN_PEERS } from './peer-process.js';
import { readResults } from './results.js';
import { ECHO_SCENARIOS, MEASUREMENTS, PEERS, peersOf } from './scenarios.js';

/** @typedef {{ rounds: number, seconds: number, scenarios: string[], peers: string[], json: string }} SuiteOptions */

export const LATEST = fileURLToPath(new URL('../results/latest.json', import.meta.url));
const MAX_ROUNDS = 1000;
const MIN_SECONDS = 0.1;
const MAX_SECONDS = 600;

export const HELP = `npm run bench -- [options]

  --rounds N          how often each peer has its turn (default 5)
  --seconds N         how long a turn is measured (default 2)
  --scenarios A,B     default: all of ${[...ECHO_SCENARIOS, ...MEASUREMENTS].map(({ id }) => id).join(', ')}
  --peers A,B         default: all of ${Object.keys(PEERS).join(', ')}
  --json FILE         where results go (default bench/results/latest.json)
  --help

  MUDUO_ECHO=BINARY           adds the peer muduo: an echo server, started as \`BINARY PORT\`, one send a message
  MUDUO_BATCHED_ECHO=BINARY   adds the peer muduo-batched: the same with one send for all messages of a read
  LOAD_GENERATOR=BINARY       in place of the one in JavaScript: \`BINARY PORT CONNECTIONS BYTES WINDOW SECONDS frame\``;

/** Its message is all that there is to say. */
export class UsageError extends Error {}

/**
 * @param {string[]} args
 * @returns {SuiteOptions | undefined} undefined: only help is wanted
 */
export function readOptions(args) {
  const { values } = parse(args);
  if (values.help) return undefined;
  checkBinary('LOAD_GENERATOR');
  const missing = new Map([...FOREIGN_PEERS].filter(([, variable]) => !checkBinary(variable)));
  const everyPeer = Object.keys(PEERS);
  const peers = namesOf('--peers', values.peers, everyPeer);
  if (values.peers !== undefined) checkPrograms(peers, missing);
  const ids = [...ECHO_SCENARIOS, ...MEASUREMENTS].map(({ id }) => id);
  const scenarios = namesOf('--scenarios', values.scenarios, ids);
  if (values.scenarios !== undefined) checkPeers(scenarios, peers);
  return {
    rounds: numberOf('--rounds', values.rounds, { least: 1, most: MAX_ROUNDS, isWhole: true }),
    seconds: numberOf('--seconds', values.seconds, { least: MIN_SECONDS, most: MAX_SECONDS, isWhole: false }),
    scenarios,
    peers: peers.filter((name) => !missing.has(name)),
    json: checkFile(values.json),
  };
}

/** @param {string[]} args */
function parse(args) {
  try {
    return parseArgs({
      args,
      options: {
        rounds: { type: 'string', default: '5' },
        seconds: { type: 'string', default: '2' },
        scenarios: { type: 'string' },
        peers: { type: 'string' },
        json: { type: 'string', default: LATEST },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(`${/** @type {Error} */ (error).message}\n\n${HELP}`);
  }
}

/**
 * @param {string} option
 * @param {string} text
 * @param {{ least: number, most: number, isWhole: boolean }} bounds
 */
function numberOf(option, text, { least, most, isWhole }) {
  const value = Number(text);
  const isAllowed = text.trim() !== '' && value >= least && value <= most && (!isWhole || Number.isInteger(value));
  if (isAllowed) return value;
  throw new UsageError(
    `${option} must be a ${isWhole ? 'whole number' : 'number'} from ${least} to ${most}, got '${text}'`,
  );
}

/**
 * In the order of `all`.
 * @param {string} option
 * @param {string | undefined} text
 * @param {readonly string[]} all
 */
function namesOf(option, text, all) {
  if (text === undefined) return [...all];
  const names = text.split(',').map((name) => name.trim());
  for (const name of names) {
    if (!all.includes(name)) throw new UsageError(`${option}: there is no '${name}'; there are ${all.join(', ')}`);
  }
  return all.filter((name) => names.includes(name));
}

/** @param {string} variable */
function checkBinary(variable) {
  const path = process.env[variable];
  if (path === undefined || path === '') return false;
  try {
    accessSync(path, constants.X_OK);
    if (statSync(path).isFile()) return true;
  } catch {
    // It is said below.
  }
  throw new UsageError(`${variable} must name a program, got '${path}'`);
}

/**
 * @param {readonly string[]} peers
 * @param {ReadonlyMap<string, string>} missing
 */
function checkPrograms(peers, missing) {
  for (const [name, variable] of missing) {
    if (!peers.includes(name)) continue;
    throw new UsageError(`--peers: ${name} needs the environment variable ${variable}, the path of an echo server`);
  }
}

/**
 * @param {readonly string[]} scenarios
 * @param {readonly string[]} peers
 */
function checkPeers(scenarios, peers) {
  for (const scenario of ECHO_SCENARIOS.filter(({ id }) => scenarios.includes(id))) {
    const all = peersOf(scenario);
    if (all.some((name) => peers.includes(name))) continue;
    throw new UsageError(`--peers: ${scenario.id} has none of ${peers.join(', ')}; it has ${all.join(', ')}`);
  }
}

/** Now, not when a quarter of an hour has been spent on results. @param {string} path */
function checkFile(path) {
  try {
    if (path === LATEST) mkdirSync(dirname(path), { recursive: true });
    accessSync(dirname(path), constants.W_OK);
    readResults(path);
  } catch (error) {
    const why = /** @type {Error} */ (error).message;
    throw new UsageError(
      `--json must name a file that can be written, or one of earlier results, got '${path}': ${why}`,
    );
  }
  return path;
}
