// @ts-check
/** What the suite can measure, by the names that its options take. */
import * as blockedMain from '../measurements/blocked-main.js';
import * as connectStorm from '../measurements/connect-storm.js';
import * as idleMemory from '../measurements/idle-memory.js';
import * as sendCost from '../measurements/send-cost.js';
import * as spawnToListening from '../measurements/spawn-to-listening.js';

/** @typedef {{ id: string, connections: number, bytes: number, window: number, workUs: number }} EchoScenario */

/**
 * Something else than echoes: every round gives a figure for each subject (a row) and each column.
 * @typedef {{
 *   id: string,
 *   title: string,
 *   columns: readonly string[],
 *   round(options: { seconds: number }): Promise<Record<string, readonly number[]>>,
 * }} Measurement
 */

/** What the others are compared with. */
export const BASELINE = 'net-cork';

/** @type {Record<string, string>} Names of peers, and what they are called where there is room. */
export const PEERS = {
  net: 'net',
  'net-cork': 'net, cork',
  'net-postmessage': 'net + postMessage',
  'net-comlink': 'net + comlink',
  'reactor-copy': 'reactor, copy',
  'reactor-borrow': 'reactor, borrow',
  'reactor-service': 'reactor, service',
  muduo: 'muduo (C++)',
  'muduo-batched': 'muduo (C++), batched',
};

/** Handlers of these work; the others would only show the same again. */
const WORKING_PEERS = ['net-cork', 'reactor-copy', 'reactor-borrow'];

/** @type {readonly EchoScenario[]} */
export const ECHO_SCENARIOS = [
  echo(100, 16, 1),
  echo(100, 64, 32),
  echo(10, 64, 256),
  echo(100, 1024, 8),
  echo(10, 16_384, 8),
  echo(1, 64, 1),
  echo(100, 64, 32, 5),
  echo(100, 1024, 8, 20),
];

/** @type {readonly Measurement[]} */
export const MEASUREMENTS = [idleMemory, connectStorm, blockedMain, spawnToListening, sendCost];

/** @param {EchoScenario} scenario */
export function peersOf({ workUs }) {
  return workUs === 0 ? Object.keys(PEERS) : WORKING_PEERS;
}

/** @param {Pick<EchoScenario, 'connections' | 'bytes' | 'window' | 'workUs'>} scenario */
export function describe({ connections, bytes, window, workUs }) {
  const load = `${connections} x ${bytes.toLocaleString('en')} bytes x ${window}`;
  return workUs === 0 ? load : `${load}, ${workUs} us of work`;
}

/**
 * @param {number} connections
 * @param {number} bytes
 * @param {number} window
 * @returns {EchoScenario}
 */
function echo(connections, bytes, window, workUs = 0) {
  const id = `${connections}x${bytes}x${window}`;
  return { id: workUs === 0 ? id : `${id}+${workUs}us`, connections, bytes, window, workUs };
}
