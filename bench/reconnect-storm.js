// @ts-check
/**
 * How clients come back after an outage: `node bench/reconnect-storm.js [clients] [outage s]`. The server is killed and started again on
 * the same port; attempts are counted for each second. Exits 1 if more than 15 % of them fall into one second.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Reactor } from 'simple-reactor';

const MAX_SHARE = 0.15;

/** @param {number} port */
async function serve(port) {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port });
  process.on('disconnect', () => process.exit());
  process.send?.(server.address.port);
}

/** @param {number} port */
async function start(port) {
  const child = fork(fileURLToPath(import.meta.url), ['serve', String(port)]);
  const [listening] = await once(child, 'message');
  return { child, port: Number(listening) };
}

async function measure() {
  const clients = Number(process.argv[2] ?? 1000);
  const outageMs = Number(process.argv[3] ?? 10) * 1000;
  const first = await start(0);
  const reactor = await Reactor.spawn();
  const client = reactor.client({ reconnect: true });
  for (let i = 0; i < clients; i++) await client.connect({ host: '127.0.0.1', port: first.port });

  /** @type {number[]} */
  const dueAt = [];
  let back = 0;
  let backAt = 0;
  client.on('reconnecting', ({ delayMs }) => dueAt.push(performance.now() + delayMs));
  const all = new Promise((resolve) => {
    client.on('connection', () => {
      if (++back < clients) return;
      backAt = performance.now();
      resolve(undefined);
    });
  });
  const from = performance.now();
  first.child.kill('SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, outageMs));
  const second = await start(first.port);
  const upAt = performance.now();
  await all;

  const seconds = new Array(Math.ceil((backAt - from) / 1000)).fill(0);
  for (const at of dueAt) seconds[Math.min(seconds.length - 1, Math.floor((at - from) / 1000))]++;
  const largest = Math.max(...seconds) / dueAt.length;
  console.table(
    seconds.map((attempts, second) => ({ second, attempts, '%': +((100 * attempts) / dueAt.length).toFixed(1) })),
  );
  console.log(
    `${clients} clients, ${dueAt.length} attempts (stats: ${reactor.stats().reconnectAttempts}), at most ${(100 * largest).toFixed(1)} % in one second; all back ${((backAt - upAt) / 1000).toFixed(1)} s after the server`,
  );
  if (largest > MAX_SHARE) {
    console.error(`Missed: at most ${100 * MAX_SHARE} % of attempts in one second`);
    process.exitCode = 1;
  }
  await reactor.close();
  second.child.disconnect();
}

await (process.argv[2] === 'serve' ? serve(Number(process.argv[3])) : measure());
