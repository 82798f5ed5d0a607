import { expect } from 'chai';
import { ConnectionTable, codecTrait, slotState } from '../../src/shared/connection-table.js';
import type { SharedMemory } from '../../src/shared/shared-memory.js';
import { type Actor, explore, type Outcome } from './interleavings.js';

const SLOT = 0;
const LANE = 0;
const MEMORY_BYTES = 128;
const HIGH_WATER = 10;

function tableOf(memory: SharedMemory): ConnectionTable {
  return new ConnectionTable(memory);
}

function open(memory: SharedMemory, buffered: number): number {
  const table = tableOf(memory);
  const settings = {
    highWaterMark: HIGH_WATER,
    overflowLimit: 16 * HIGH_WATER,
    maxMessageBytes: 100,
    codec: codecTrait.RAW,
    dropOnOverflow: false,
  };
  const generation = table.open(SLOT, settings);
  table.charge(SLOT, buffered);
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
