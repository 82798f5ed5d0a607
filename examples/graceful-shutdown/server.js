// @ts-check
// A server that ends well on SIGTERM: no new connections, goodbye to the others, what is under way is finished, the rest is cut after a
// second, and the report says what that cost. `node server.js [PORT]`; a platform's SIGTERM (docker stop, Kubernetes, systemd) does the rest.
import { Reactor } from 'simple-reactor';

const DRAIN_MS = 1000;

const reactor = await Reactor.spawn();
const server = await reactor.listen({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 0),
  highWaterMark: 16 * 1024 * 1024,
});

server.on('request', (_connection, data, reply) => {
  // Work that takes a while: the answer must leave although the server is told to end meanwhile.
  setTimeout(() => reply(`done: ${data}`), 300);
});
server.on('message', (connection, data) => {
  // Who asks for much and reads nothing of it is the one that will be cut.
  if (data.toString() === 'much') connection.send(Buffer.alloc(12 * 1024 * 1024));
});
console.log(`listening on port ${server.address.port}`);

process.once('SIGTERM', async () => {
  console.log(`SIGTERM with ${server.connectionCount} connections`);
  const { connections, cut, unsentBytes, unreadMessages } = await reactor.close({ timeoutMs: DRAIN_MS });
  console.log(
    `closed ${connections} connections, ${cut} of them cut: ${unsentBytes} bytes unsent, ${unreadMessages} messages unread`,
  );
  // Nothing keeps the process alive any more: it ends by itself, with code 0.
});
