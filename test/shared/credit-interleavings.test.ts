import { expect } from 'chai';
import { ConnectionTable, framing, NOT_OPEN, slotState } from '../../src/shared/connection-table.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { RING_DATA_OFFSET } from '../../src/shared/ring-layout.js';
import { RingProducer } from '../../src/shared/ring-producer.js';
import type { SharedMemory } from '../../src/shared/shared-memory.js';
import { type Actor, explore, type Outcome } from './interleavings.js';

const SLOT = 0;
const LANE = 0;
const MEMORY_BYTES = 128;
const HIGH_WATER = 10;

function tableOf(memory: SharedMemory): ConnectionTable {
  return new ConnectionTable(memory);
}

function open(memory: SharedMemory, buffered: number, slot = SLOT): number {
  const table = tableOf(memory);
  const settings = {
    highWaterMark: HIGH_WATER,
    overflowLimit: 16 * HIGH_WATER,
    maxMessageBytes: 100,
    framing: framing.BYTES,
    minMessageBytes: 0,
    hasRequests: false,
    maxRequests: 1024,
    dropOnOverflow: false,
    borrowed: false,
    allowHalfOpen: false,
  };
  const generation = table.open(slot, settings);
  table.charge(slot, buffered);
  return generation;
}

function exploreTable(actors: readonly Actor<unknown>[], buffered: number, check: (outcome: Outcome) => void): number {
  const { outcomes } = explore({
    memoryBytes: MEMORY_BYTES,
    actors,
    prepare: (memory) => open(memory, buffered),
    check: (outcome) => {
      expect(outcome.blocked).to.deep.equal([]);
      check(outcome);
    },
  });
  return outcomes;
}

/** The order of steps of TcpConnection.send() in the app thread: charge, look at the state, undo. */
function sender(name: string, bytes: number): Actor<boolean> {
  return {
    name,
    run(memory) {
      const table = tableOf(memory);
      if (table.state(SLOT, 1) !== slotState.OPEN) return false;
      table.charge(SLOT, bytes);
      if (table.state(SLOT, 1) === slotState.OPEN) return true;
      table.uncharge(SLOT, bytes);
      return false;
    },
  };
}

/** The order of steps of TcpConnection's close in the io worker. Returns what it reports as unsent. */
const closer: Actor<number> = {
  name: 'closer',
  run(memory) {
    const table = tableOf(memory);
    table.setState(SLOT, 1, slotState.CLOSED);
    return table.buffered(SLOT);
  },
};

/** Waits for drain as send() and ready() do. Returns whether it has to be told. */
function waiter(name: string, lane: number): Actor<boolean> {
  return { name, run: (memory) => tableOf(memory).awaitDrain(SLOT, lane) };
}

/** Writes in two pieces as the io worker does. Returns the lanes that it tells of the drain. */
function writer(pieces: readonly number[]): Actor<number> {
  return {
    name: 'writer',
    run(memory) {
      const table = tableOf(memory);
      let told = 0;
      for (const bytes of pieces) {
        if (table.uncharge(SLOT, bytes) <= table.lowWater(SLOT)) told |= table.takeDrainWaiters(SLOT);
      }
      return told;
    },
  };
}

// For whole senders there is a ring in the same memory. Its data ends in front of the slot; the ledger's word for that slot
// is where the ring's control words leave room.
const RING_CAPACITY = 256;
const RING_SLOT = (RING_DATA_OFFSET + RING_CAPACITY) / 128;
const SEND = 1;

/** Sends as CommandWriter does: `queued` messages wait in the thread first, as if the ring had been full. */
function ringSender(name: string, lengths: readonly number[], queued: boolean): Actor<number> {
  return {
    name,
    run(memory) {
      const credit = tableOf(memory).credit(RING_SLOT, 1);
      const ring = new RingProducer(memory);
      const ledger = new Ledger(memory);
      let accepted = 0;
      for (const length of lengths) {
        if (queued) {
          if (ledger.charge(RING_SLOT, credit, length) === NOT_OPEN) continue;
          memory.copyIn(ring.claim(SEND, RING_SLOT, 1, length), new Uint8Array(length), 0, length);
        } else {
          const extended = ring.extend(SEND, RING_SLOT, 1, length);
          const offset = extended === -1 ? ring.claim(SEND, RING_SLOT, 1, length, 0, true) : extended;
          memory.copyIn(offset, new Uint8Array(length), 0, length);
          if (ledger.charge(RING_SLOT, credit, length) === NOT_OPEN) {
            ring.cancel();
            continue;
          }
        }
        ring.publishCharged(ledger, length);
        accepted += length;
      }
      return accepted;
    },
  };
}

/** What the io worker gives back when that thread is gone: what is in its ring, and what its ledger says. */
function settle(memory: SharedMemory): { buffered: number; inRing: number } {
  const table = tableOf(memory);
  const ring = new RingConsumer(memory);
  let inRing = 0;
  while (ring.next()) {
    inRing += ring.length;
    table.uncharge(RING_SLOT, ring.length);
    ring.release();
  }
  table.uncharge(RING_SLOT, memory.load(RING_SLOT));
  return { buffered: table.buffered(RING_SLOT), inRing };
}

function exploreSender(
  sender: Actor<unknown>,
  others: readonly Actor<unknown>[],
  check: (outcome: Outcome) => void,
): number {
  const { outcomes } = explore({
    memoryBytes: RING_DATA_OFFSET + RING_CAPACITY + 128,
    actors: [sender, ...others],
    kill: sender.name,
    prepare: (memory) => open(memory, 0, RING_SLOT),
    check,
  });
  return outcomes;
}

describe('every interleaving of the credit', () => {
  it('counts every byte that send() accepted as unsent when the connection closes', () => {
    const outcomes = exploreTable([sender('a', 3), sender('b', 5), closer], 0, ({ results, memory, trace }) => {
      const accepted = (results.get('a') === true ? 3 : 0) + (results.get('b') === true ? 5 : 0);
      expect(results.get('closer'), trace.join()).to.be.at.least(accepted);
      expect(tableOf(memory).buffered(SLOT), trace.join()).to.equal(accepted);
    });
    expect(outcomes).to.be.greaterThan(3);
  });

  it('tells exactly those that wait for drain, once there is one', () => {
    for (const pieces of [[12], [6, 6], [8, 1, 3], [3, 3, 6]]) {
      exploreTable([waiter('a', 0), waiter('b', 1), writer(pieces)], 12, ({ results, trace }) => {
        const told = results.get('writer') as number;
        expect((told & 1) !== 0, `a: ${trace.join()}`).to.equal(results.get('a'));
        expect((told & 2) !== 0, `b: ${trace.join()}`).to.equal(results.get('b'));
      });
    }
  });

  it('adds and subtracts without loss, whoever does', () => {
    exploreTable([sender('a', 3), sender('b', 5), writer([7])], 7, ({ memory }) => {
      expect(tableOf(memory).buffered(SLOT)).to.equal(8);
    });
  });

  it('tells both of two senders that fill it up and wait, whenever the io worker writes', () => {
    const fills = (name: string, lane: number): Actor<boolean> => ({
      name,
      run(memory) {
        const table = tableOf(memory);
        if (table.charge(SLOT, 8) + 8 <= HIGH_WATER) return false;
        return table.awaitDrain(SLOT, lane);
      },
    });
    let waited = 0;
    exploreTable([fills('a', 0), fills('b', 1), writer([4, 8, 8])], 4, ({ results, memory, trace }) => {
      const told = results.get('writer') as number;
      const table = tableOf(memory);
      // What the writer took off before it was charged for shows as less than nothing, in between only.
      expect(table.buffered(SLOT), trace.join()).to.equal(0);
      for (const [name, bit] of [
        ['a', 1],
        ['b', 2],
      ] as const) {
        if (results.get(name) !== true) continue;
        waited++;
        const waitsOn = (table.takeDrainWaiters(SLOT) & bit) !== 0;
        expect((told & bit) !== 0 || waitsOn, `${name}: ${trace.join()}`).to.equal(true);
        expect(waitsOn, `${name} waits for ever: ${trace.join()}`).to.equal(false);
      }
    });
    expect(waited).to.be.greaterThan(0);
  });

  for (const queued of [false, true]) {
    const way = queued ? 'by way of its queue' : 'straight into the ring';
    it(`is settled exactly when a thread dies at any step of sending ${way}`, () => {
      let deaths = 0;
      exploreSender(ringSender('a', [3, 5], queued), [], ({ killed, memory, trace }) => {
        if (killed !== undefined) deaths++;
        expect(settle(memory).buffered, trace.join()).to.equal(0);
      });
      expect(deaths).to.be.greaterThan(3);
    });

    it(`is settled exactly when it dies beside another sender and a close ${way}`, () => {
      const other: Actor<boolean> = {
        name: 'b',
        run(memory) {
          const table = tableOf(memory);
          table.charge(RING_SLOT, 7);
          if (table.state(RING_SLOT, 1) === slotState.OPEN) return true;
          table.uncharge(RING_SLOT, 7);
          return false;
        },
      };
      const close: Actor<number> = {
        name: 'closer',
        run(memory) {
          const table = tableOf(memory);
          table.setState(RING_SLOT, 1, slotState.CLOSED);
          return table.buffered(RING_SLOT);
        },
      };
      exploreSender(ringSender('a', [3, 5], queued), [other, close], ({ results, killed, memory, trace }) => {
        const accepted = results.get('b') === true ? 7 : 0;
        const { buffered, inRing } = settle(memory);
        expect(buffered, trace.join()).to.equal(accepted);
        const sent = killed === undefined ? (results.get('a') as number) : inRing;
        expect(results.get('closer'), trace.join()).to.be.at.least(accepted + sent);
      });
    });
  }

  it('would find credit that is charged and published in two', () => {
    const careless: Actor<void> = {
      name: 'a',
      run(memory) {
        const ring = new RingProducer(memory);
        ring.claim(SEND, RING_SLOT, 1, 3);
        tableOf(memory).charge(RING_SLOT, 3);
        ring.publish();
      },
    };
    let leaked = false;
    exploreSender(careless, [], ({ memory }) => {
      if (settle(memory).buffered !== 0) leaked = true;
    });
    expect(leaked).to.equal(true);
  });

  it('would find a waiter that does not look again', () => {
    const careless: Actor<boolean> = {
      name: 'a',
      run(memory) {
        const table = tableOf(memory);
        if (table.buffered(SLOT) <= table.lowWater(SLOT)) return false;
        memory.or(2, 1 << LANE);
        return true;
      },
    };
    let forgotten = false;
    exploreTable([careless, writer([12])], 12, ({ results }) => {
      if (results.get('a') === true && results.get('writer') === 0) forgotten = true;
    });
    expect(forgotten).to.equal(true);
  });
});
