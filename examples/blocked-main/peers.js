// @ts-check
// The peers of main.js: each sends a number every 10 ms, whatever happens on the other side, and then ends.
import { setInterval } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Reactor } from 'simple-reactor';

const { port, peers, messagesPerPeer } = workerData;
const reactor = await Reactor.spawn();
const client = reactor.client();
const connections = [];
for (let i = 0; i < peers; i++) connections.push(await client.connect({ host: '127.0.0.1', port }));

client.on('disconnect', (connection, reason) => {
  if (reason !== 'local-shutdown') throw new Error(`connection ${connection.id} ended early: ${reason}`);
});

let number = 0;
for await (const _ of setInterval(10)) {
  for (const connection of connections) connection.send(String(number));
  number++;
  if (number === messagesPerPeer / 4) parentPort?.postMessage('under way');
  if (number === messagesPerPeer) break;
}
for (const connection of connections) connection.shutdown();
