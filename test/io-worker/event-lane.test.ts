import { expect } from 'chai';
import { ChunkPool } from '../../src/io-worker/chunk-pool.js';
import { EventLane } from '../../src/io-worker/event-lane.js';
import { Doorbell } from '../../src/shared/doorbell.js';
import { eventKind } from '../../src/shared/event-record.js';
import { allocateLane, allocateThreadWords, MIN_LANE_RING_BYTES, threadWord } from '../../src/shared/lane.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';
import { StatusBoard } from '../../src/shared/status-board.js';

const thread = allocateThreadWords();

/** The lane of one thread to one of two io workers. */
function make(own: number): { lane: EventLane; events: RingConsumer } {
  const memory = allocateLane({
    commandRingBytes: MIN_LANE_RING_BYTES,
    eventRingBytes: MIN_LANE_RING_BYTES,
    slots: 8,
  });
  const lane = new EventLane({
    index: 0,
    threadId: 1,
    commands: new SharedMemory(memory.commands),
    events: new SharedMemory(memory.events),
    ledger: new Ledger(new SharedMemory(memory.ledger)),
    thread,
    doorbell: new Doorbell(thread, threadWord.ASLEEP, () => undefined),
    board: StatusBoard.allocate(),
    chunkPool: new ChunkPool(),
    workers: { own, count: 2 },
  });
  return { lane, events: new RingConsumer(new SharedMemory(memory.events)) };
}

describe('EventLane', () => {
  it('counts the connections of its thread over all io workers, and forgets those of one that has died', () => {
    const [first, second] = [make(0).lane, make(1).lane];
    for (let i = 0; i < 3; i++) first.countConnection(1);
    for (let i = 0; i < 5; i++) second.countConnection(1);
    expect([first.connections, second.connections]).to.deep.equal([8, 8]);
    const successor = make(0).lane;
    expect([successor.connections, second.connections]).to.deep.equal([5, 5]);
  });

  it('does not hold on to what its thread has done with, however large the ring', () => {
    const { lane, events } = make(0);
    const asked: number[] = [];
    const keeper = {
      isDone(upTo: number): boolean {
        asked.push(upTo);
        return true;
      },
      keep: () => undefined,
    };
    for (let upTo = 1; upTo <= 2000; upTo++) {
      lane.offer(eventKind.CHUNK, 0, 1, Buffer.from('x'), 0, 1, { keeper, upTo, isSuspect: false });
      while (events.next()) events.release();
    }
    expect(asked.length).to.be.above(1000);
  });
});
