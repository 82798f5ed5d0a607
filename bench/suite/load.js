// @ts-check
/** Puts a load on a peer, from a process of its own, and reads what came of it. */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {import('./peer-process.js').Peer} Peer */
/** @typedef {import('./peer-process.js').Usage} Usage */
/** @typedef {{ connections: number, bytes: number, window: number, seconds: number }} Load */

/**
 * Messages in a second, CPU seconds of the peer for a million of them (null: unknown), times in microseconds; what was lost: connections,
 * or frames that were not those sent.
 * @typedef {{ rate: number, cpuPerMillion: number | null, p50: number, p99: number, p999: number, lost: number }} LoadResult
 */

const GENERATOR = fileURLToPath(new URL('../load-generator.js', import.meta.url));
/** By then another generator has warmed up; it does not say when. */
const FOREIGN_WARM_UP_MS = 250;
const PATIENCE_MS = 30_000;
const LEAST_WATCHED = 0.5;

/**
 * @param {Peer} peer
 * @param {Load} load
 * @param {() => void} onMeasuring  warm-up is over
 * @returns {Promise<LoadResult>}
 */
export async function putLoad(peer, load, onMeasuring = () => {}) {
  const { child, measuring } = startGenerator(peer.port, load);
  const timer = setTimeout(() => child.kill('SIGKILL'), load.seconds * 1000 + PATIENCE_MS);
  const closed = once(child, 'close');
  const told = lineOf(child, `The load generator against ${peer.name} on port ${peer.port}`);
  try {
    // If it fails early, that is what there is to say.
    await Promise.race([measuring, told]);
    const before = await peer.usage();
    onMeasuring();
    const line = await told;
    const after = await peer.usage();
    await closed;
    const result = parse(line);
    return { ...result, cpuPerMillion: cpuPerMillion(before, after, result.rate, load.seconds) };
  } finally {
    clearTimeout(timer);
    child.kill('SIGKILL');
  }
}

/**
 * What is divided are two rates, since it is not known how many messages passed between the two questions. A peer that had no time to
 * answer the first one until the end has not been watched.
 * @param {Usage | undefined} before
 * @param {Usage | undefined} after
 * @param {number} rate
 * @param {number} seconds
 */
function cpuPerMillion(before, after, rate, seconds) {
  if (before === undefined || after === undefined || rate === 0) return null;
  const watched = (after.atMs - before.atMs) / 1000;
  if (watched < seconds * LEAST_WATCHED) return null;
  return ((after.cpuSeconds - before.cpuSeconds) / watched / rate) * 1e6;
}

/**
 * @param {number} port
 * @param {Load} load
 * @returns {{ child: import('node:child_process').ChildProcess, measuring: Promise<unknown> }}
 */
function startGenerator(port, { connections, bytes, window, seconds }) {
  const args = [port, connections, bytes, window, seconds].map(String);
  const foreign = process.env['LOAD_GENERATOR'];
  if (foreign !== undefined && foreign !== '') {
    const child = spawn(foreign, [...args, 'frame'], { stdio: ['ignore', 'pipe', 'inherit'] });
    return { child, measuring: delay(FOREIGN_WARM_UP_MS) };
  }
  const child = fork(GENERATOR, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] });
  return { child, measuring: once(child, 'message') };
}

/**
 * What it prints. Rejects if it ends without.
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} who
 * @returns {Promise<string>}
 */
function lineOf(child, who) {
  const line = new Promise((resolve, reject) => {
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      output += text;
      if (output.includes('\n')) resolve(output.trim());
    });
    child.once('error', (error) => reject(new Error(`${who} cannot be started: ${error.message}`)));
    child.once('close', (code, signal) => {
      reject(new Error(`${who} has ended (${signal ?? `code ${code}`}) without a result`));
    });
  });
  line.catch(() => {});
  return line;
}

/** @param {string} line such as `conns=100 bytes=64 window=32 msgs/s=986489 MiB/s=60.2 p50=3138us ... dead=0 bad=0` */
function parse(line) {
  const fields = new Map(line.split(/\s+/).map((field) => /** @type {[string, string]} */ (field.split('=', 2))));
  const [rate, p50, p99, p999, dead, bad] = ['msgs/s', 'p50', 'p99', 'p99.9', 'dead', 'bad'].map((name) => {
    const value = Number.parseFloat(fields.get(name) ?? '');
    if (Number.isNaN(value)) throw new Error(`The load generator did not tell ${name}: '${line}'`);
    return value;
  });
  return {
    rate: Number(rate),
    p50: Number(p50),
    p99: Number(p99),
    p999: Number(p999),
    lost: Number(dead) + Number(bad),
  };
}
