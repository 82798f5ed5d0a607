// @ts-check
// Sends every message back to whoever sent it.
// Run: node examples/echo/server.js [port]. Prints where it listens; Ctrl-C ends it.
import { Reactor } from 'simple-reactor';

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: Number(process.argv[2] ?? 7007) });

server.on('message', (connection, data) => {
  connection.send(data);
});

console.log(`listening on ${server.address.address}:${server.address.port}`);
process.once('SIGINT', () => reactor.close());
