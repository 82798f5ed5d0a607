// @ts-check
/** What 1,000 idle connections cost: `node bench/idle.js`. Counts the turns of the io worker's loop and the CPU time. */
import { once } from 'node:events';
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const CONNECTIONS = 1000;
const SECONDS = 5;

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
const { port } = server.address;
const sockets = await Promise.all(
  Array.from({ length: CONNECTIONS }, async () => {
    const socket = net.connect(port, '127.0.0.1').resume();
    await once(socket, 'connect');
    return socket;
  }),
);
while (server.connectionCount < CONNECTIONS) await once(server, 'connection');
await new Promise((resolve) => setTimeout(resolve, 1000));

const turns = reactor.stats().turns;
const cpu = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, SECONDS * 1000));
const { user, system } = process.cpuUsage(cpu);
const percent = ((user + system) / 1e6 / SECONDS) * 100;
console.log(
  `${CONNECTIONS} idle connections, ${SECONDS} s: ${reactor.stats().turns - turns} turns of the io worker, ${percent.toFixed(2)} % of a core`,
);
for (const socket of sockets) socket.destroy();
await reactor.close();
