// Code of yours on the io worker: it goes on while the main thread stands still. Run: node examples/io-service/main.js

import { once } from 'node:events';
import { Reactor } from 'simple-reactor';

const BLOCKED_MS = 1000;

const reactor = await Reactor.spawn();

// The server answers probes, the client sends one every 10 ms. Neither needs this thread for that.
const server = await reactor.listen({
  host: '127.0.0.1',
  port: 0,
  services: [new URL('./answer-service.js', import.meta.url)],
});
server.on('serviceError', ({ service, hook, error }) => console.log(`${service} failed in ${hook}: ${error.message}`));
server.on('message', (connection, data) => connection.send(`the application has got "${data}"`));

const rounds = new Int32Array(new SharedArrayBuffer(4));
const connection = await reactor.connect({
  host: '127.0.0.1',
  port: server.address.port,
  services: [{ module: new URL('./probe-service.js', import.meta.url), options: { everyMs: 10, rounds } }],
});

const before = Atomics.load(rounds, 0);
const until = Date.now() + BLOCKED_MS;
while (Date.now() < until);
const done = Atomics.load(rounds, 0) - before;
console.log(`blocked for ${BLOCKED_MS} ms; meanwhile the io worker has done ${done} rounds`);
if (done < 10) process.exitCode = 1;

// What services do not handle goes to the application as always.
connection.send('hello');
const [answer] = await once(connection, 'message');
console.log(`${answer}`);

connection.send('time');
const [time] = await once(connection, 'message');
console.log(`the service says: ${time}`);

await reactor.close();
