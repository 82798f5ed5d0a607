// A subset of Redis whose protocol is a codec of its own, on the io worker. Run: node examples/redis-protocol/main.js
// With a port it stays: node examples/redis-protocol/main.js 6380, then redis-cli -p 6380.

import { once } from 'node:events';
import net from 'node:net';
import { Reactor } from 'simple-reactor';
import { startServer } from './server.js';

const port = process.argv[2] === undefined ? undefined : Number(process.argv[2]);
const reactor = await Reactor.spawn();
const server = await startServer(reactor, port ?? 0);
console.log(`listening on 127.0.0.1:${server.address.port}`);

if (port === undefined) {
  // Any client of Redis would do. This one sends a few commands in one write, cut in an awkward place, and prints the replies.
  const socket = net.connect(server.address.port, '127.0.0.1');
  socket.setNoDelay();
  await once(socket, 'connect');
  const commands =
    '*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nhello\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nINCR n\r\nNOPE\r\nQUIT\r\n';
  socket.write(commands.slice(0, 30));
  setImmediate(() => socket.write(commands.slice(30)));
  let replies = '';
  for await (const chunk of socket) replies += chunk;
  console.log(replies.trim().split('\r\n').join(' | '));
  await reactor.close();
}
