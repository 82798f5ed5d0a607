import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { expect } from 'chai';
import { Reactor, type TcpConnection, type TcpServer } from '../../src/index.js';
import { next, until } from '../fixtures/events.js';
import { PeerProcess } from '../fixtures/peer-process.js';
import type { RecklessData } from '../fixtures/scenario-reckless.js';
import type { RequestReport } from '../fixtures/scenario-requests.js';
import type { StampReport } from '../fixtures/scenario-stamp-peers.js';
import { StampCheck } from '../fixtures/scenario-stamps.js';
import { AppThreads, random } from '../fixtures/scenario-tools.js';

const SLOTS = 64;
const PEERS = 12;
const AT_ONCE = 3;
const HOST = '127.0.0.1';

/** Terminates threads at random moments, whatever they do, and then looks for anything that they have left. */
export async function terminateThreads(terminations: number, seed: number): Promise<void> {
  const below = random(seed);
  await using reactor = await Reactor.spawn({ maxConnections: SLOTS });
  const sink = await reactor.listen({ host: HOST, port: 0 });
  const faults = checkStamps(sink);
  const service = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
  await using sinkPeers = new PeerProcess('scenario-stamp-peers', [sink.address.port, PEERS].map(String));
  const stamps = sinkPeers.next<StampReport>();
  while (sink.connectionCount < PEERS) await once(sink, 'connection');
  const sunk = [...sink.connections()];
  await using servicePeers = new PeerProcess(
    'scenario-request-peers',
    [service.address.port, PEERS, 8, 500].map(String),
  );

  const progress = new Int32Array(new SharedArrayBuffer(4 * terminations));
  await using threads = new AppThreads();
  let started = 0;
  const terminate = async (): Promise<void> => {
    while (started < terminations) {
      const thread = started++;
      const data: RecklessData = {
        handle: reactor.handle,
        thread,
        seed: below(2 ** 31),
        sink: sink.id,
        port: sink.address.port,
        connections: sunk.map((connection) => connection.id),
        service: service.id,
        progress,
      };
      const reckless = threads.start('scenario-reckless', data);
      // Some while they attach, most while they are at work.
      const attached = below(4) > 0;
      if (attached) await until(() => progress[thread] === 2 || reckless.errors.length > 0);
      else await until(() => progress[thread] !== 0 || reckless.errors.length > 0);
      await pause(below(attached ? 30 : 4));
      await threads.kill(reckless);
      expect(reckless.errors.map((error) => error.stack)).to.deep.equal([]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, terminate));

  const attached = progress.filter((step) => step === 2).length;
  expect(attached).to.be.above(terminations / 3);
  await until(() => reactor.stats().threads.length === 1);
  expect(reactor.stats().threads[0]?.threadId).to.equal(threadId);
  expect(reactor.stats().endedThreads).to.be.within(attached, terminations);

  // The last one takes over what is held, and finishes it.
  const answering = threads.start('scenario-echo', { handle: reactor.handle, server: service.id, workMs: 0 });
  await answering.said('subscribed');
  servicePeers.tell('stop');
  const requests = await servicePeers.next<RequestReport>();
  expect(requests.faults).to.deep.equal([]);
  expect(requests.lost).to.equal(0);
  expect(requests.answered - requests.duplicates).to.equal(requests.sent);
  expect(reactor.stats().heldConnections).to.equal(0);

  await until(() => sunk.every((connection) => connection.bufferedAmount === 0));
  expect(sunk.map((connection) => connection.state)).to.deep.equal(sunk.map(() => 'open'));
  await sink.close();
  checkReport(await stamps);
  expect(faults).to.deep.equal([]);
  // It dies first, and its connections are held; or it dies while it has still to hear of their ends.
  const closed = below(2) === 0 ? service.close() : undefined;
  await closed;
  await threads.kill(answering);
  await service.close();
  await until(() => reactor.stats().openConnections === 0);
  expect(reactor.stats().refused).to.equal(0);

  await attachAll(reactor, threads);
  await fillTable(reactor);
}

/** Checks stamped messages that come to a server. */
function checkStamps(server: TcpServer): string[] {
  const faults: string[] = [];
  const checks = new Map<TcpConnection, StampCheck>();
  server.on('message', (connection, message) => {
    const check = checks.get(connection) ?? new StampCheck();
    checks.set(connection, check);
    try {
      check.take(message);
    } catch (error) {
      faults.push((error as Error).message);
    }
  });
  server.on('disconnect', (connection) => checks.delete(connection));
  return faults;
}

function checkReport({ counts, faults }: StampReport): void {
  expect(faults).to.deep.equal([]);
  // Broadcasts come to all or to none.
  const broadcasts = counts.map((of) => [...of].filter(([key]) => key.endsWith(' 1')).sort());
  for (const each of broadcasts) expect(each).to.deep.equal(broadcasts[0]);
  expect(counts.reduce((total, of) => total + of.size, 0)).to.be.above(0);
}

/** As many threads as there may be, besides this one. */
async function attachAll(reactor: Reactor, threads: AppThreads): Promise<void> {
  const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'all' });
  const attached = Array.from({ length: 30 }, () =>
    threads.start('scenario-echo', { handle: reactor.handle, server: server.id, workMs: 0 }),
  );
  await Promise.all(attached.map((thread) => thread.said('subscribed')));
  expect(reactor.stats().threads.length).to.equal(31);
  await Promise.all(attached.map((thread) => threads.kill(thread)));
  await server.close();
}

/** Every slot can be used again. */
async function fillTable(reactor: Reactor): Promise<void> {
  const server = await reactor.listen({ host: HOST, port: 0 });
  const sockets = Array.from({ length: SLOTS }, () => net.connect(server.address.port, HOST));
  // A hello comes, or the connection is refused.
  await Promise.all(sockets.map((socket) => Promise.race([next(socket, 'data'), next(socket, 'close')])));
  expect(reactor.stats().refused, 'connections that found no slot').to.equal(0);
  // A peer may have its hello before this thread has taken the news of the connection.
  while (server.connectionCount < SLOTS) await once(server, 'connection');
  const buffered = [...server.connections()].map((connection) => connection.bufferedAmount);
  expect(buffered).to.deep.equal(sockets.map(() => 0));
  for (const socket of sockets) socket.destroy();
}
