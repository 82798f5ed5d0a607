// @ts-check
/**
 * Echo throughput against hand-written `net` with cork: `npm run bench [rounds]`. Servers and load generator are processes
 * of their own; the servers take turns, and what counts is the ratio of medians. Measure while nothing else runs.
 */
import { execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const ROUNDS = Number(process.argv[2] ?? 5);
const SECONDS = 2;
const BASE_PORT = 21_000;
const PEERS = ['net, cork', 'reactor, copy', 'reactor, borrow', 'reactor, service'];
const SCENARIOS = [
  { connections: 100, bytes: 16, window: 1 },
  { connections: 100, bytes: 64, window: 32 },
  { connections: 100, bytes: 1024, window: 8 },
  { connections: 10, bytes: 16_384, window: 8 },
];

const run = promisify(execFile);
const file = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
const median = (/** @type {number[]} */ values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const servers = await Promise.all(
  PEERS.map(async (name, index) => {
    const child = fork(file('peers.js'), [name, String(BASE_PORT + index)]);
    await once(child, 'message');
    return { name, child, port: BASE_PORT + index };
  }),
);
console.log(`${os.cpus()[0]?.model.trim()}, ${os.cpus().length} cores, Node ${process.version}, median of ${ROUNDS}`);
for (const { connections, bytes, window } of SCENARIOS) {
  /** @type {Map<string, { rate: number, p50: number, p99: number, lost: number }[]>} */
  const results = new Map(PEERS.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { name, port } of servers) {
      const args = [port, connections, bytes, window, SECONDS].map(String);
      const { stdout } = await run(process.execPath, [file('load-generator.js'), ...args]);
      results.get(name)?.push(JSON.parse(stdout));
    }
  }
  console.log(`\n${connections} connections x ${bytes} bytes x window ${window}`);
  const base = median((results.get('net, cork') ?? []).map((result) => result.rate));
  console.table(
    Object.fromEntries(
      [...results].map(([name, all]) => {
        const rate = median(all.map((result) => result.rate));
        return [
          name,
          {
            'messages/s': rate,
            'x net': Number((rate / base).toFixed(2)),
            'p50 us': median(all.map((result) => result.p50)),
            'p99 us': median(all.map((result) => result.p99)),
            lost: all.reduce((sum, result) => sum + result.lost, 0),
          },
        ];
      }),
    ),
  );
}
for (const { child } of servers) child.disconnect();
