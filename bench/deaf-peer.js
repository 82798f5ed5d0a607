// @ts-check
/**
 * What one peer that never reads does to the others: `node bench/deaf-peer.js [rounds]`. 50 connections play ping-pong while
 * as much as its overflow limit allows waits for a deaf one and more is tried all the time; then the same without it.
 */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Reactor } from 'simple-reactor';

const ROUNDS = Number(process.argv[2] ?? 5);
const run = promisify(execFile);
const generator = fileURLToPath(new URL('load-generator.js', import.meta.url));
const median = (/** @type {number[]} */ values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0, overflow: 'drop' });
server.on('message', (connection, data) => connection.send(data));
const { port } = server.address;

async function load() {
  const { stdout } = await run(process.execPath, [generator, ...[port, 50, 64, 1, 2].map(String)]);
  return JSON.parse(stdout);
}

/** @type {{ without: number[], with: number[] }} */
const p99 = { without: [], with: [] };
const megabyte = Buffer.alloc(1024 * 1024);
for (let round = 0; round < ROUNDS; round++) {
  p99.without.push((await load()).p99);

  const accepted = once(server, 'connection');
  const deaf = net.connect(port, '127.0.0.1');
  deaf.pause();
  const [connection] = await accepted;
  while (connection.droppedMessages === 0) connection.send(megabyte);
  const trying = setInterval(() => connection.send(megabyte), 1);
  p99.with.push((await load()).p99);
  clearInterval(trying);
  const closed = once(connection, 'close');
  deaf.destroy();
  connection.destroy();
  await closed;
}
console.table({
  'without a deaf peer': { 'p99 us (median)': median(p99.without), all: p99.without.join(' ') },
  'with a deaf peer': { 'p99 us (median)': median(p99.with), all: p99.with.join(' ') },
});
await reactor.close();
