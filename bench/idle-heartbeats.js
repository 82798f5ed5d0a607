// @ts-check
/**
 * What 10,000 connections cost on which nothing but heartbeats passes: the processor time of the server's process, its peers being another
 * one; and beside it that of a server on `net` which only writes as many pings and reads the answers.
 * Run: node bench/idle-heartbeats.js [connections] [seconds]
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const connections = Number(process.argv[2] ?? 10_000);
const seconds = Number(process.argv[3] ?? 60);
const AT_ONCE = 50;
/** Of one core. */
const TARGET_PERCENT = 5;
/** As by default. */
const heartbeat = { intervalMs: 10_000, timeoutMs: 30_000 };

/** @param {number} port @param {boolean} isBoth */
async function peers(port, isBoth) {
  const reactor = await Reactor.spawn();
  const client = reactor.client({ heartbeat: isBoth && heartbeat });
  for (let left = connections; left > 0; left -= AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(left, AT_ONCE) }, () => client.connect({ host: '127.0.0.1', port })),
    );
  }
  process.send?.('connected');
  await once(process, 'disconnect');
  process.exit();
}

/** A ping of the native codec, with whatever clock. */
const PING = Buffer.from([10, 0, 0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]);

/**
 * The percentage of a core that this process needs while the peers are connected.
 * @param {number} port @param {'both' | 'server'} sides @param {() => void} onSettled
 */
async function load(port, sides, onSettled) {
  const child = fork(new URL(import.meta.url), [String(connections), 'peers', String(port), sides]);
  await once(child, 'message');
  // By then pings are spread as they will be.
  await new Promise((resolve) => setTimeout(resolve, 2 * heartbeat.intervalMs));
  onSettled();
  const cpu = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  const { user, system } = process.cpuUsage(cpu);
  return { child, percent: ((user + system) / 1e6 / seconds) * 100 };
}

async function measureNet() {
  let pings = 0;
  const server = net.createServer({ noDelay: true }, (socket) => {
    const ping = () => {
      pings++;
      socket.write(PING);
      timer = setTimeout(ping, (0.9 + 0.1 * Math.random()) * heartbeat.intervalMs);
    };
    let timer = setTimeout(ping, Math.random() * heartbeat.intervalMs);
    socket.on('data', () => undefined);
    socket.on('error', () => undefined);
    socket.on('close', () => clearTimeout(timer));
  });
  server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 });
  await once(server, 'listening');
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  const { child, percent } = await load(port, 'server', () => {
    pings = 0;
  });
  console.log(
    `${connections} connections on net: ${percent.toFixed(2)} % of a core, ${(pings / seconds).toFixed(0)} pings a second`,
  );
  child.disconnect();
  await once(child, 'exit');
  server.close();
}

/** @param {'both' | 'server'} sides */
async function measure(sides) {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, heartbeat });
  let pings = 0;
  const { child, percent } = await load(server.address.port, sides, () => {
    pings = reactor.stats().pings;
  });
  console.log(
    `${server.connectionCount} connections, heartbeat of ${sides === 'both' ? 'both sides' : 'the server'}: ${percent.toFixed(2)} % of a core, ` +
      `${((reactor.stats().pings - pings) / seconds).toFixed(0)} pings a second, p99.9 ${reactor.stats().pingLateness.p999.toFixed(1)} ms late`,
  );
  const isWhole = server.connectionCount === connections;
  child.disconnect();
  await once(child, 'exit');
  await reactor.close({ timeoutMs: 0 });
  return isWhole && percent < TARGET_PERCENT;
}

if (process.argv[3] === 'peers') await peers(Number(process.argv[4]), process.argv[5] === 'both');
else {
  await measureNet();
  const met = [await measure('both'), await measure('server')];
  await measureNet();
  if (met.includes(false)) {
    console.log(`missed: at most ${TARGET_PERCENT} % of a core, and no connection lost`);
    process.exitCode = 1;
  }
}
