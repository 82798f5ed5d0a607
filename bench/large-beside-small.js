// @ts-check
/**
 * Does one connection with large messages at full speed harm the small ones of others? 50 connections send 64 bytes each 5 ms and wait for
 * the echo, with and without one more that sends messages of 1 MiB, four of them under way at any time; alternating. Run: node bench/large-beside-small.js [rounds] [net]
 * With `net`: the same of a server of node:net.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const rounds = Number(process.argv[2] ?? 5);
const peersModule = new URL('./large-beside-small-peers.js', import.meta.url);

const { port, close } = process.argv[3] === 'net' ? await startNet() : await startReactor();

async function startReactor() {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  server.on('message', (connection, data) => connection.send(data));
  return { port: server.address.port, close: () => reactor.close() };
}

/** Echoes bytes: it need not even know where a message ends. */
async function startNet() {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('data', (data) => {
      if (!socket.write(data)) socket.pause();
    });
    socket.on('drain', () => socket.resume());
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: /** @type {net.AddressInfo} */ (server.address()).port, close: () => server.close() };
}

/** @param {boolean} beside */
async function measure(beside) {
  const large = beside ? fork(peersModule, ['large', String(port)]) : undefined;
  if (large !== undefined) await once(large, 'message');
  const start = performance.now();
  const small = fork(peersModule, ['small', String(port)]);
  const [result] = await once(small, 'message');
  await once(small, 'exit');
  if (large === undefined) return { ...result, large: 0 };
  const seconds = (performance.now() - start) / 1000;
  large.send('stop');
  const [{ count }] = await once(large, 'message');
  await once(large, 'exit');
  return { ...result, large: count / seconds };
}

/** @param {number[]} values */
const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

await measure(true);
/** @type {{ alone: { p50: number, p99: number }, beside: { p50: number, p99: number, large: number } }[]} */
const results = [];
for (let round = 0; round < rounds; round++) {
  const alone = await measure(false);
  const beside = await measure(true);
  results.push({ alone, beside });
  console.log(
    `alone p50 ${alone.p50.toFixed(2)} p99 ${alone.p99.toFixed(2)} ms · ` +
      `beside p50 ${beside.p50.toFixed(2)} p99 ${beside.p99.toFixed(2)} ms, ${beside.large.toFixed(0)} large echoes/s`,
  );
}
const alone = median(results.map((result) => result.alone.p99));
const beside = median(results.map((result) => result.beside.p99));
console.log(
  `median p99: ${alone.toFixed(2)} ms alone, ${beside.toFixed(2)} ms beside: ${(beside / alone).toFixed(2)} x`,
);
await close();
