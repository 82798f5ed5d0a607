// @ts-check
// The echo server of SimpleReactor's README: sends every message back. It speaks the Python package's format, so that clients of
// either kind may come.
// Run: node examples/from-simple-reactor/server.js [port]. Prints where it listens; Ctrl-C ends it.
import { Reactor } from 'simple-reactor';

const reactor = await Reactor.spawn();
const server = await reactor.listen({
  host: '127.0.0.1',
  port: Number(process.argv[2] ?? 8080),
  codec: 'simple-reactor',
});

server.on('message', (connection, data) => {
  connection.send(data);
});

console.log(`listening on ${server.address.address}:${server.address.port}`);
process.once('SIGINT', () => reactor.close());
