// @ts-check
/**
 * Do 2,000 half-open handshakes and a storm of connections over the limit harm those who are honest? 50 connections send 64 bytes each 5 ms
 * and wait for the echo: alone, while the attack, from another address, goes on beside them against a server of its own, which takes what it
 * takes of this machine, and while it goes on against their own server; alternating. SLOWLORIS_ATTACK names a program that attacks in place of
 * slowloris-attack.js, as slowloris-attack.c does for a fraction of the processor time.
 * Run: node bench/slowloris.js [rounds] [half-open] [connections per second]
 */
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Reactor } from 'simple-reactor';

const rounds = Number(process.argv[2] ?? 5);
const halfOpen = Number(process.argv[process.argv[2] === 'decoy' ? 4 : 3] ?? 2000);
const perSecond = Number(process.argv[4] ?? 500);
const FIRST_FRAME_MS = 5000;
/** The ratio that is still good. */
const TARGET = 2;

const isDecoy = process.argv[2] === 'decoy';
const reactor = await Reactor.spawn();
const server = await reactor.listen({
  host: '127.0.0.1',
  port: 0,
  limits: { maxConnectionsPerAddress: halfOpen, firstFrameTimeoutMs: FIRST_FRAME_MS },
});
server.on('message', (connection, data) => connection.send(data));
const port = String(server.address.port);
if (isDecoy) {
  process.send?.(port);
  await once(process, 'disconnect');
  process.exit();
}
const decoy = fork(new URL(import.meta.url), ['decoy', '-', String(halfOpen)]);
const [decoyPort] = await once(decoy, 'message');

/** @returns {Promise<{ p50: number, p99: number }>} */
async function honest() {
  const small = fork(new URL('./large-beside-small-peers.js', import.meta.url), ['small', port]);
  const [result] = await once(small, 'message');
  await once(small, 'exit');
  return result;
}

/** @param {string} port whom it attacks */
async function attacked(port) {
  const { SLOWLORIS_ATTACK } = process.env;
  const program =
    SLOWLORIS_ATTACK === undefined
      ? [process.execPath, fileURLToPath(new URL('./slowloris-attack.js', import.meta.url))]
      : [SLOWLORIS_ATTACK];
  const [command = '', ...args] = [...program, port, String(halfOpen), String(perSecond)];
  const attack = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(attack, 'exit');
  const lines = createInterface(attack.stdout)[Symbol.asyncIterator]();
  if ((await lines.next()).done === true) throw new Error('The attack has ended before it stood');
  attack.stdin.write('storm\n');
  const result = await honest();
  const open = reactor.stats().openConnections;
  attack.stdin.end();
  const { value: counts = '' } = await lines.next();
  const [cut, storm, refused] = counts.split(' ').map(Number);
  await exited;
  while (reactor.stats().openConnections > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  return { ...result, cut, storm, refused, open };
}

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

await honest();
/** @type {{ alone: number[], beside: number[], attacked: number[] }} */
const p99 = { alone: [], beside: [], attacked: [] };
for (let round = 0; round < rounds; round++) {
  const alone = await honest();
  const beside = await attacked(decoyPort);
  const before = reactor.stats().overLimit;
  const under = await attacked(port);
  p99.beside.push(beside.p99);
  p99.alone.push(alone.p99);
  p99.attacked.push(under.p99);
  console.log(
    `alone p50 ${alone.p50.toFixed(2)} p99 ${alone.p99.toFixed(2)} ms · beside it p99 ${beside.p99.toFixed(2)} ms · ` +
      `attacked p50 ${under.p50.toFixed(2)} p99 ${under.p99.toFixed(2)} ms, ${under.open} open, ${under.cut} cut, ` +
      `${under.storm} more tried, ${reactor.stats().overLimit - before} turned away`,
  );
}
const ratio = median(p99.attacked) / median(p99.alone);
const besideRatio = median(p99.attacked) / median(p99.beside);
console.log(
  `median p99: ${median(p99.alone).toFixed(2)} ms alone, ${median(p99.attacked).toFixed(2)} ms attacked: ` +
    `${ratio.toFixed(2)} x (at most ${TARGET} x is the aim); ${median(p99.beside).toFixed(2)} ms beside an attack on another server: ` +
    `${besideRatio.toFixed(2)} x`,
);
decoy.disconnect();
await reactor.close({ timeoutMs: 0 });
