// @ts-check
// The echo client of SimpleReactor's README: 'hello world' to and fro on 100 connections, until 10,000 have come back.
// Run: node examples/from-simple-reactor/client.js [port]. Prints what it has counted and how long it took.
import { Reactor } from 'simple-reactor';

const CONNECTIONS = 100;
const MESSAGES = 10_000;
const MESSAGE = 'hello world';

const reactor = await Reactor.spawn();
const client = reactor.client({ codec: 'simple-reactor' });
let messages = 0;
let bytes = 0;
let startedAt = 0;

client.on('message', (connection, data) => {
  if (messages === MESSAGES) return;
  messages++;
  bytes += data.length;
  if (messages < MESSAGES) connection.send(data);
  else finish();
});
client.on('disconnect', (_connection, reason) => {
  if (messages < MESSAGES) throw new Error(`a connection ended after ${messages} messages: ${reason}`);
});

function finish() {
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`done: ${messages} messages, ${bytes} bytes, ${CONNECTIONS} connections, ${seconds.toFixed(2)} s`);
  reactor.close();
}

const port = Number(process.argv[2] ?? 8080);
const attempts = Array.from({ length: CONNECTIONS }, () => client.connect({ host: '127.0.0.1', port }));
const connections = await Promise.all(attempts);
startedAt = performance.now();
for (const connection of connections) connection.send(MESSAGE);
