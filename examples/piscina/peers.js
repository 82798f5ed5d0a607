// @ts-check
// The peers of main.js: each sends all its questions at once, and checks the answers.
import { once } from 'node:events';
import { parentPort, workerData } from 'node:worker_threads';
import { Reactor } from 'simple-reactor';

/** n, and how many primes there are below it. */
const PRIMES = new Map([
  [100_000, 9592],
  [200_000, 17_984],
  [300_000, 25_997],
]);

const { port, peers, requestsPerPeer } = workerData;
const reactor = await Reactor.spawn();
const client = reactor.client();
let answers = 0;
let wrong = 0;
client.on('message', (_connection, data) => {
  const [below, primes] = data.toString().split(' ').map(Number);
  answers++;
  if (PRIMES.get(below ?? 0) !== primes) wrong++;
});

const questions = [...PRIMES.keys()];
for (let i = 0; i < peers; i++) {
  const connection = await client.connect({ host: '127.0.0.1', port });
  for (let j = 0; j < requestsPerPeer; j++) connection.send(String(questions[j % questions.length]));
}
while (answers < peers * requestsPerPeer) await once(client, 'message');
parentPort?.postMessage({ answers, wrong });
await reactor.close();
