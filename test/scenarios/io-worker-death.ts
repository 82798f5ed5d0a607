import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { type Dispatch, Reactor, type TcpServer } from '../../src/index.js';
import { next, rejection } from '../fixtures/events.js';
import { RawPeer } from '../fixtures/raw-peer.js';
import { sabotages } from '../fixtures/scenario-sabotage.js';
import { Survivor, type SurvivorReport } from '../fixtures/scenario-survivor.js';
import type { SurvivorData } from '../fixtures/scenario-survivor-thread.js';
import { type AppThread, AppThreads, footprint } from '../fixtures/scenario-tools.js';

const MIB = 1024 * 1024;
const CLIENTS = 5;
const HOST = '127.0.0.1';
/** So large that one that is not given back shows. */
const RING_BYTES = 8 * MIB;
const PARTY = { maxConnections: 256, eventRingBytes: RING_BYTES, commandRingBytes: RING_BYTES };

/** This thread and others that use one reactor. */
class Party {
  readonly reactor: Reactor;
  readonly server: TcpServer;
  readonly here: Survivor;
  readonly threads: readonly AppThread[];

  private constructor(reactor: Reactor, server: TcpServer, here: Survivor, threads: readonly AppThread[]) {
    this.reactor = reactor;
    this.server = server;
    this.here = here;
    this.threads = threads;
  }

  static async gather(reactor: Reactor, threads: AppThreads, count: number, dispatch: Dispatch): Promise<Party> {
    const server = await reactor.listen({ host: HOST, port: 0, dispatch });
    const allAnswer = dispatch === 'all';
    const here = new Survivor(reactor, server, CLIENTS, allAnswer);
    await server.subscribe();
    const data: SurvivorData = { handle: reactor.handle, server: server.id, clients: CLIENTS, allAnswer };
    const others = Array.from({ length: count }, () => threads.start('scenario-survivor-thread', data));
    here.start();
    await Promise.all(others.map((thread) => thread.said('well')));
    return new Party(reactor, server, here, others);
  }

  /** All do the same at once. */
  all<T>(word: 'respawned' | 'isWell' | 'useStaleConnections' | 'report' | 'failed', value?: number): Promise<T[]> {
    const here = Promise.resolve(this.here[word](value ?? 0)) as Promise<T>;
    return Promise.all([here, ...this.threads.map((thread) => thread.ask<T>(word, value))]);
  }
}

/** The io worker dies again and again, while several threads are at work. */
export async function killIoWorkers(options: { threads: number; crashes: number; dispatch: Dispatch }): Promise<void> {
  const { crashes, dispatch } = options;
  const people = options.threads + 1;
  let ioWorker = next<[Worker]>(process, 'worker');
  await using reactor = await Reactor.spawn(PARTY);
  let [victim] = await ioWorker;
  await using threads = new AppThreads();
  const party = await Party.gather(reactor, threads, options.threads, dispatch);
  const { port } = party.server.address;

  let first: SurvivorReport[] = [];
  for (let crash = 1; crash <= crashes; crash++) {
    const { id } = [...party.server.connections()][0] as { id: number };
    ioWorker = next<[Worker]>(process, 'worker');
    const exited = next(victim, 'exit');
    (sabotages[crash % sabotages.length] as (typeof sabotages)[number])(victim, id);
    await exited;
    await party.all('respawned', crash);
    [victim] = await ioWorker;
    await party.all('useStaleConnections');
    await party.all('isWell');
    expect(party.server.address.port).to.equal(port);
    expect(reactor.stats().ioWorkerStarts).to.deep.equal([crash + 1]);
    await greetAndLeave(port);

    // What threads have asked of the dead one went by way of this thread, which has to collect it first.
    await footprint();
    const reports = await party.all<SurvivorReport>('report');
    checkReports(reports, people, dispatch, crash);
    if (crash === 1) first = reports;
    else checkMemory(first, reports);
  }
}

/** A plain peer is served. */
async function greetAndLeave(port: number): Promise<void> {
  const peer = (await RawPeer.connect(port)).read().send(Buffer.alloc(100, 1));
  await peer.texts.reaches(1);
  peer.socket.resetAndDestroy();
  await peer.closed;
}

function checkReports(reports: readonly SurvivorReport[], people: number, dispatch: Dispatch, crashes: number): void {
  expect(reports.flatMap(({ faults }) => faults)).to.deep.equal([]);
  expect(reports.flatMap(({ errors }) => errors)).to.deep.equal([]);
  expect(reports.map(({ respawns }) => respawns)).to.deep.equal(reports.map(() => crashes));
  expect(reports.map(({ clients }) => clients)).to.deep.equal(reports.map(() => CLIENTS));
  const sum = (of: (report: SurvivorReport) => number): number => reports.reduce((total, each) => total + of(each), 0);
  // Everything that came before the crash has ended with it; a plain peer may have gone since.
  const open = people * CLIENTS * (dispatch === 'all' ? people : 1);
  const plain = sum(({ ended }) => (ended['peer-reset'] ?? 0) + (ended['peer-end'] ?? 0));
  expect(plain).to.be.at.most(crashes * people);
  expect(sum(({ accepted }) => accepted)).to.be.within(open, open + people);
  expect(sum(({ opened, clients, accepted }) => opened - clients - accepted)).to.equal(
    sum(({ ended }) => ended['io-worker-crash'] ?? 0) + plain,
  );
  for (const { ended } of reports) expect(ended['io-worker-crash']).to.be.at.least(crashes * CLIENTS);
  for (const { ended } of reports) expect(Object.keys(ended)).to.not.include.members(['local-destroy', 'orphaned']);
}

/** What belonged to a dead io worker is given back in each thread. */
function checkMemory(before: readonly SurvivorReport[], after: readonly SurvivorReport[]): void {
  for (const [index, { footprint: now }] of after.entries()) {
    const { heap = 0, arrayBuffers = 0 } = before[index]?.footprint ?? {};
    expect(now.arrayBuffers - arrayBuffers, 'bytes of array buffers').to.be.below(RING_BYTES);
    expect(now.heap - heap, 'bytes of the heap').to.be.below(4 * MIB);
  }
}

/** With `respawn: false` it is over in every thread. */
export async function killForGood(options: { threads: number }): Promise<void> {
  const ioWorker = next<[Worker]>(process, 'worker');
  await using reactor = await Reactor.spawn({ ...PARTY, respawn: false });
  const [victim] = await ioWorker;
  await using threads = new AppThreads();
  const party = await Party.gather(reactor, threads, options.threads, 'balance');
  const closed = next(party.server, 'close');
  const { port } = party.server.address;

  const failed = party.all<readonly string[]>('failed');
  void victim.terminate();
  const errors = await failed;

  expect(errors).to.deep.equal(errors.map(() => ['ERR_REACTOR_IO_WORKER_CRASH']));
  const reports = await party.all<SurvivorReport>('report');
  for (const { clients, accepted, opened, ended, faults } of reports) {
    expect({ clients, accepted, faults, ended }).to.deep.equal({
      clients: 0,
      accepted: 0,
      faults: [],
      ended: { 'io-worker-crash': opened },
    });
  }
  await closed;
  const error = await rejection(reactor.listen({ host: HOST, port }));
  expect(error.code).to.equal('ERR_REACTOR_IO_WORKER_CRASH');
}
