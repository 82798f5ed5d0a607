import { setTimeout as pause } from 'node:timers/promises';
import { threadId } from 'node:worker_threads';
import { expect } from 'chai';
import { Reactor } from '../../src/index.js';
import { until } from '../fixtures/events.js';
import { PeerProcess } from '../fixtures/peer-process.js';
import type { EchoData } from '../fixtures/scenario-echo.js';
import type { RequestReport } from '../fixtures/scenario-requests.js';
import { type AppThread, AppThreads, footprint } from '../fixtures/scenario-tools.js';

const MIB = 1024 * 1024;
/** So large that one that is not given back shows. */
const RING_BYTES = 8 * MIB;
/** So many may wait to be given back; each kill leaves two behind. */
const SPARE_RINGS = 8;
const PEERS = 50;
const THREADS = 4;
/** Kills after which memory is looked at for the first time. */
const WARM_UP = 4;

/** Kills one of four worker threads every now and then, and starts another one, while peers keep all of them busy. */
export async function killThreads(options: {
  kills: number;
  everyMs: number;
  /** How long the io worker may take to collect its garbage, which it does only while it works; 0: that is not looked at. */
  settleMs: number;
}): Promise<RequestReport> {
  const rings = { eventRingBytes: RING_BYTES, commandRingBytes: RING_BYTES };
  await using reactor = await Reactor.spawn({ maxConnections: 256, ...rings });
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, dispatch: 'balance' });
  await using threads = new AppThreads();
  const start = async (): Promise<AppThread> => {
    const data: EchoData = { handle: reactor.handle, server: server.id, workMs: 0.02 };
    const thread = threads.start('scenario-echo', data);
    await thread.said('subscribed');
    return thread;
  };
  const live = await Promise.all(Array.from({ length: THREADS }, start));
  const { port } = server.address;
  await using peers = new PeerProcess('scenario-request-peers', [port, PEERS, 16, 1000].map(String));

  let before = await footprint();
  for (let kill = 0; kill < options.kills; kill++) {
    if (kill === WARM_UP) before = await footprint();
    await pause(options.everyMs);
    await threads.kill(live.shift() as AppThread);
    live.push(await start());
  }
  let after = await footprint();
  const deadline = performance.now() + options.settleMs;
  const holdsRings = (): boolean => after.addressSpace - before.addressSpace > SPARE_RINGS * RING_BYTES;
  while (holdsRings() && performance.now() < deadline) {
    await pause(100);
    after = await footprint();
  }

  peers.tell('stop');
  const report = await peers.next<RequestReport>();
  expect(report.faults).to.deep.equal([]);
  expect(report.lost, 'connections that were lost').to.equal(0);
  expect(report.answered - report.duplicates).to.equal(report.sent);
  expect(report.redelivered).to.be.at.least(report.duplicates);

  expect(after.heap - before.heap, 'bytes of the heap').to.be.below(4 * MIB);
  expect(after.arrayBuffers - before.arrayBuffers, 'bytes of array buffers').to.be.below(2 * MIB);
  if (options.settleMs > 0) {
    expect(holdsRings(), `address space: ${before.addressSpace}, then ${after.addressSpace}`).to.equal(false);
    expect(after.resident - before.resident, 'bytes of the process').to.be.below(160 * MIB);
  }

  await until(() => reactor.stats().endedThreads === options.kills);
  const { openConnections, heldConnections, closed, threads: attached } = reactor.stats();
  expect({ openConnections, heldConnections, closed }).to.deep.equal({
    openConnections: PEERS,
    heldConnections: 0,
    closed: 0,
  });
  const known = attached.map((thread) => thread.threadId).sort((a, b) => a - b);
  expect(known).to.deep.equal([threadId, ...live.map((thread) => thread.threadId)].sort((a, b) => a - b));
  return report;
}
