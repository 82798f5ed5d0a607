import { expect } from 'chai';
import { Reactor } from '../../src/index.js';
import { Log } from '../fixtures/events.js';
import { PeerProcess } from '../fixtures/peer-process.js';
import type { SenderData } from '../fixtures/scenario-sender.js';
import type { SequenceReport } from '../fixtures/scenario-sequence-peers.js';
import { AppThreads } from '../fixtures/scenario-tools.js';

/** Threads send on the same connections, `count` messages each on each of them. */
export async function sendFromManyThreads(options: {
  threads: number;
  connections: number;
  count: number;
  longEvery: number;
}): Promise<void> {
  const { threads, connections, count, longEvery } = options;
  await using reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  const ids = new Log<number>();
  server.on('connection', (connection) => ids.add(connection.id));
  const { port } = server.address;
  await using peers = new PeerProcess('scenario-sequence-peers', [port, connections, threads].map(String));
  const reported = peers.next<SequenceReport>();
  await ids.reaches(connections);

  await using pool = new AppThreads();
  const senders = Array.from({ length: threads }, (_, thread) => {
    const data: SenderData = { handle: reactor.handle, connections: ids.entries, thread, count, longEvery };
    return pool.start('scenario-sender', data);
  });
  await Promise.all(senders.map((sender) => sender.said('ready')));
  for (const sender of senders) sender.tell('go');
  await Promise.all(senders.map((sender) => sender.said('done')));

  expect([...server.connections()].map((connection) => connection.bufferedAmount)).to.deep.equal(
    ids.entries.map(() => 0),
  );
  await server.close();
  const { counts, faults } = await reported;
  expect(faults).to.deep.equal([]);
  expect(counts).to.deep.equal(ids.entries.map(() => senders.map(() => count)));
}
