// @ts-check
// Says 'hello world' to the echo server.
// Run: node examples/echo/client.js [port]. Prints the echo: hello world.
import { Reactor } from 'simple-reactor';

const reactor = await Reactor.spawn();
const connection = await reactor.connect({ host: '127.0.0.1', port: Number(process.argv[2] ?? 7007) });

connection.on('message', (data) => {
  console.log(data.toString());
  // With its last connection closed, the reactor no longer keeps the process alive.
  connection.shutdown();
});
connection.send('hello world');
