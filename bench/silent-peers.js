// @ts-check
/**
 * When is a peer that does not answer any more closed, and what do peers hear of an application that hangs? Checks against the clock:
 * - 100 peers of a process that is stopped (SIGSTOP): 'heartbeat-timeout' between 1 and 1.2 timeouts after the last byte;
 * - peers of a server whose thread stands still, with 'stop-heartbeat': the same, as they see it;
 * - with 'report': the time in 'busy' against the truth.
 * Run: node bench/silent-peers.js
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Reactor } from 'simple-reactor';

const TIMEOUT_MS = 2000;
const COUNT = 100;
const AFTER_MS = 1000;
const BLOCK_MS = 6000;
const heartbeat = { intervalMs: 500, timeoutMs: TIMEOUT_MS };

const [role = '', port = ''] = process.argv.slice(2);
if (role === 'peers') await peers();
else if (role !== '') await hang(/** @type {'report' | 'stop-heartbeat'} */ (role));
else {
  const met = [await stopped(), await hung('stop-heartbeat'), await hung('report')];
  process.exitCode = met.includes(false) ? 1 : 0;
}

async function peers() {
  const reactor = await Reactor.spawn();
  const client = reactor.client({ heartbeat });
  await Promise.all(Array.from({ length: COUNT }, () => client.connect({ host: '127.0.0.1', port: Number(port) })));
  process.send?.('connected');
}

/** @param {'report' | 'stop-heartbeat'} action */
async function hang(action) {
  const reactor = await Reactor.spawn({ log: false });
  const onStall = { afterMs: AFTER_MS, action };
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, heartbeat: { ...heartbeat, onStall } });
  process.send?.(server.address.port);
  await once(process, 'message');
  process.send?.(Date.now(), () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCK_MS));
}

/** @param {string} what @param {number[]} values @param {number} least @param {number} most */
function judge(what, values, least, most) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const isMet = values.length > 0 && low >= least && high <= most;
  console.log(
    `${what}: ${values.length} times, ${low.toFixed(3)} to ${high.toFixed(3)} (${least} to ${most}): ${isMet ? 'met' : 'missed'}`,
  );
  return isMet;
}

async function stopped() {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, heartbeat });
  const child = fork(new URL(import.meta.url), ['peers', String(server.address.port)]);
  await once(child, 'message');
  await new Promise((resolve) => setTimeout(resolve, 2 * heartbeat.intervalMs));
  /** @type {number[]} */
  const times = [];
  server.on('disconnect', (connection, reason) => {
    if (reason === 'heartbeat-timeout') times.push((Date.now() - connection.lastReceivedAt) / TIMEOUT_MS);
  });
  child.kill('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2 * TIMEOUT_MS));
  child.kill('SIGKILL');
  const isWhole = times.length === COUNT;
  await reactor.close({ timeoutMs: 0 });
  return judge('stopped process, closed after so many timeouts', times, 1, 1.2) && isWhole;
}

/** @param {'report' | 'stop-heartbeat'} action */
async function hung(action) {
  const child = fork(new URL(import.meta.url), [action]);
  const [to] = await once(child, 'message');
  const reactor = await Reactor.spawn();
  const client = reactor.client({ heartbeat });
  /** @type {{ ms: number, at: number }[]} */
  const told = [];
  /** @type {number[]} */
  const times = [];
  client.on('busy', (_connection, ms) => ms > 0 && told.push({ ms, at: Date.now() }));
  client.on('disconnect', (connection, reason) => {
    if (reason === 'heartbeat-timeout') times.push((Date.now() - connection.lastReceivedAt) / TIMEOUT_MS);
  });
  for (let i = 0; i < COUNT; i++) await client.connect({ host: '127.0.0.1', port: to });
  await new Promise((resolve) => setTimeout(resolve, 2 * heartbeat.intervalMs));
  child.send('hang');
  const [since] = await once(child, 'message');
  await new Promise((resolve) => setTimeout(resolve, BLOCK_MS - 500));
  child.kill('SIGKILL');
  await reactor.close({ timeoutMs: 0 });
  if (action === 'stop-heartbeat') {
    return judge("'stop-heartbeat', closed by peers after so many timeouts", times, 1, 1.2) && times.length === COUNT;
  }
  const shares = told.map(({ ms, at }) => ms / (at - since));
  return judge("'busy', its time as a share of the truth", shares, 0.8, 1.2);
}
