// @ts-check
/** Peers in processes of their own, and what they are asked while they run. */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** @typedef {{ what: 'usage' } | { what: 'block', ms: number }} Question */
/** @typedef {{ cpuSeconds: number, atMs: number, rssBytes: number }} Usage  of all threads; the time is by the clock of who answers */

/**
 * @typedef {object} Peer
 * @property {string} name
 * @property {number} port
 * @property {() => Promise<Usage | undefined>} usage  undefined: this platform does not tell
 * @property {(ms: number) => void} [block]  its main thread stands still for so long
 * @property {() => Promise<void>} stop
 */

/** Servers that are not part of this repository, and the environment variables that name their programs. */
export const FOREIGN_PEERS = new Map([
  ['muduo', 'MUDUO_ECHO'],
  ['muduo-batched', 'MUDUO_BATCHED_ECHO'],
]);

const PEERS_FILE = fileURLToPath(new URL('../peers.js', import.meta.url));
const START_MS = 10_000;
const POLL_MS = 20;
/** What /proc counts in, on all of Linux. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/**
 * @param {string} name  one of PEERS
 * @returns {Promise<Peer>} that listens
 */
export function startPeer(name, workUs = 0) {
  const variable = FOREIGN_PEERS.get(name);
  return variable === undefined ? startForked(name, workUs) : startForeign(name, process.env[variable] ?? '');
}

/**
 * @param {string} name
 * @param {number} workUs
 * @returns {Promise<Peer>}
 */
async function startForked(name, workUs) {
  const port = await freePort();
  const child = fork(PEERS_FILE, [name, String(port), String(workUs)]);
  const ended = watchEnd(child, name);
  await Promise.race([once(child, 'message'), ended]);
  return {
    name,
    port,
    async usage() {
      child.send({ what: 'usage' });
      const [usage] = await Promise.race([once(child, 'message'), ended]);
      return usage;
    },
    block: (ms) => void child.send({ what: 'block', ms }),
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.disconnect();
      await once(child, 'exit');
    },
  };
}

/**
 * A server in another language: `BINARY PORT`.
 * @param {string} name
 * @param {string} binary
 * @returns {Promise<Peer>}
 */
async function startForeign(name, binary) {
  const port = await freePort();
  const child = spawn(binary, [String(port)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = watchEnd(child, `${name} (${binary})`);
  // It hears nothing of our end.
  const kill = () => void child.kill();
  process.once('exit', kill);
  await Promise.race([accepts(port, name), ended]);
  return {
    name,
    port,
    usage: () => usageOf(child.pid ?? 0),
    async stop() {
      process.off('exit', kill);
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill();
      await once(child, 'exit');
    },
  };
}

/**
 * Rejects when the process cannot be started or ends.
 * @param {import('node:child_process').ChildProcess} child
 * @param {string} name
 * @returns {Promise<never>}
 */
function watchEnd(child, name) {
  const ended = new Promise((_, reject) => {
    child.once('error', (error) => reject(new Error(`The peer ${name} cannot be started: ${error.message}`)));
    child.once('exit', (code, signal) => reject(new Error(`The peer ${name} has ended (${signal ?? `code ${code}`})`)));
  });
  // At the end of the run nobody waits for it.
  ended.catch(() => {});
  return /** @type {Promise<never>} */ (ended);
}

/**
 * @param {number} port
 * @param {string} name
 */
async function accepts(port, name) {
  for (const end = Date.now() + START_MS; Date.now() < end; await delay(POLL_MS)) {
    const socket = net.connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      // Not yet.
    } finally {
      socket.destroy();
    }
  }
  throw new Error(`The peer ${name} does not accept connections on port ${port} after ${START_MS / 1000} s`);
}

/**
 * @param {number} pid
 * @returns {Promise<Usage | undefined>}
 */
async function usageOf(pid) {
  if (process.platform !== 'linux') return undefined;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // Fields are counted from behind the name, which may itself have spaces and parentheses.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const [user = 0, system = 0, rssPages = 0] = [fields[11], fields[12], fields[21]];
  const cpuSeconds = (user + system) / TICKS_PER_SECOND;
  return { cpuSeconds, atMs: performance.now(), rssBytes: rssPages * PAGE_BYTES };
}

async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}
