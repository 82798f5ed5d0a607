import { expect } from 'chai';
import fc from 'fast-check';
import { MAX_GENERATION, MAX_SLOTS } from '../../src/shared/connection-id.js';
import {
  ConnectionTable,
  framing,
  MAX_LANES,
  type SlotSettings,
  slotState,
} from '../../src/shared/connection-table.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const settings: SlotSettings = {
  highWaterMark: 1000,
  overflowLimit: 16_000,
  maxMessageBytes: 500,
  framing: framing.MESSAGES,
  minMessageBytes: 0,
  hasRequests: true,
  maxRequests: 1024,
  dropOnOverflow: false,
  borrowed: false,
  allowHalfOpen: false,
};

describe('ConnectionTable', () => {
  describe('state', () => {
    it('is free in a slot that was never used', () => {
      const table = ConnectionTable.allocate(2);
      expect(table.state(1, 0)).to.equal(slotState.FREE);
      expect(table.state(1, 1)).to.equal(slotState.CLOSED);
    });

    it('is that of one generation, and closed for all others', () => {
      const table = ConnectionTable.allocate(2);
      const first = table.open(1, settings);
      expect(first).to.equal(1);
      expect(table.state(1, first)).to.equal(slotState.OPEN);
      table.setState(1, first, slotState.CLOSING);
      expect(table.state(1, first)).to.equal(slotState.CLOSING);
      table.setState(1, first, slotState.CLOSED);
      expect(table.state(1, first)).to.equal(slotState.CLOSED);
      const second = table.open(1, settings);
      expect(second).to.equal(2);
      expect([0, 1, 2, 3].map((generation) => table.state(1, generation))).to.deep.equal([
        slotState.CLOSED,
        slotState.CLOSED,
        slotState.OPEN,
        slotState.CLOSED,
      ]);
    });

    it('belongs to the last generation in the slot also after that has closed, until the slot is opened again', () => {
      const table = ConnectionTable.allocate(2);
      const current = (): boolean[] => [0, 1, 2, 3].map((generation) => table.isCurrent(1, generation));
      expect(current()).to.deep.equal([true, false, false, false]);
      table.open(1, settings);
      for (const state of [slotState.OPEN, slotState.CLOSING, slotState.CLOSED]) {
        table.setState(1, 1, state);
        expect(current()).to.deep.equal([false, true, false, false]);
      }
      table.open(1, settings);
      expect(current()).to.deep.equal([false, false, true, false]);
      table.setState(1, MAX_GENERATION, slotState.OPEN);
      expect(table.isCurrent(1, MAX_GENERATION)).to.equal(true);
    });

    it('is kept for the highest generation, after which the slot is worn out', () => {
      const table = ConnectionTable.allocate(1);
      table.setState(0, MAX_GENERATION - 1, slotState.CLOSED);
      expect(table.open(0, settings)).to.equal(MAX_GENERATION);
      for (const state of Object.values(slotState)) {
        table.setState(0, MAX_GENERATION, state);
        expect(table.state(0, MAX_GENERATION)).to.equal(state);
        expect(table.state(0, MAX_GENERATION - 1)).to.equal(slotState.CLOSED);
      }
      expect(table.open(0, { ...settings, highWaterMark: 7 })).to.equal(-1);
      expect(table.highWater(0)).to.equal(1000);
    });

    it('is read from shared memory: another table on the same memory sees it', () => {
      const table = ConnectionTable.allocate(3);
      const other = new ConnectionTable(new SharedMemory(table.memory.buffer));
      const generation = table.open(2, settings);
      other.charge(2, 70);
      table.noteReceived(2, 123.5, 9);
      expect(other.slots).to.equal(3);
      expect(other.state(2, generation)).to.equal(slotState.OPEN);
      expect(table.buffered(2)).to.equal(70);
      expect(other.counts(2)).to.include({ lastReceivedAt: 123.5, bytesReceived: 9 });
    });
  });

  describe('settings', () => {
    it('are those of the last open()', () => {
      const table = ConnectionTable.allocate(1);
      const read = (): unknown[] => [
        table.highWater(0),
        table.lowWater(0),
        table.overflowLimit(0),
        table.maxMessage(0),
        table.framing(0),
        table.dropsOnOverflow(0),
      ];
      table.open(0, settings);
      expect(read()).to.deep.equal([1000, 500, 16_000, 500, framing.MESSAGES, false]);
      table.open(0, { ...settings, highWaterMark: 7, framing: framing.BYTES, dropOnOverflow: true });
      expect(read()).to.deep.equal([7, 3, 16_000, 500, framing.BYTES, true]);
    });

    it('hold the largest values that options allow', () => {
      const table = ConnectionTable.allocate(1);
      const highWaterMark = 64 * 1024 * 1024;
      table.open(0, { ...settings, highWaterMark, overflowLimit: 16 * highWaterMark, maxMessageBytes: 2 ** 30 - 2 });
      expect(table.highWater(0)).to.equal(highWaterMark);
      expect(table.overflowLimit(0)).to.equal(2 ** 30);
      expect(table.maxMessage(0)).to.equal(2 ** 30 - 2);
    });
  });

  describe('credit', () => {
    it('is what was charged and not uncharged: charge() tells what was before, uncharge() what is now', () => {
      const table = ConnectionTable.allocate(1);
      expect(table.charge(0, 100)).to.equal(0);
      expect(table.charge(0, 50)).to.equal(100);
      expect(table.buffered(0)).to.equal(150);
      expect(table.uncharge(0, 30)).to.equal(120);
      expect(table.uncharge(0, 120)).to.equal(0);
      expect(table.buffered(0)).to.equal(0);
    });

    it('is never reset: a sender may just have charged for the connection before', () => {
      const table = ConnectionTable.allocate(1);
      const first = table.open(0, settings);
      table.charge(0, 100);
      table.setState(0, first, slotState.CLOSED);
      table.open(0, settings);
      expect(table.buffered(0)).to.equal(100);
      table.charge(0, 10);
      expect(table.uncharge(0, 100)).to.equal(10);
      expect(table.buffered(0)).to.equal(10);
    });

    it('is back at 0 whatever was charged and uncharged in between, and however often the slot was reused', () => {
      const amount = fc.integer({ min: 1, max: 1_000_000 });
      fc.assert(
        fc.property(fc.array(fc.oneof(amount, fc.constant('reopen' as const), fc.constant('pay' as const))), (plan) => {
          const table = ConnectionTable.allocate(2);
          const owed: number[] = [];
          for (const step of plan) {
            if (step === 'reopen') table.open(1, settings);
            else if (step === 'pay') table.uncharge(1, owed.shift() ?? 0);
            else {
              table.charge(1, step);
              owed.push(step);
            }
            expect(table.buffered(1)).to.equal(owed.reduce((sum, bytes) => sum + bytes, 0));
          }
          for (const bytes of owed) table.uncharge(1, bytes);
          expect(table.buffered(1)).to.equal(0);
          expect(table.buffered(0)).to.equal(0);
        }),
      );
    });
  });

  describe('drain', () => {
    function openTable(buffered: number): ConnectionTable {
      const table = ConnectionTable.allocate(2);
      table.open(1, settings);
      table.charge(1, buffered);
      return table;
    }

    it('is waited for while more than the low-water mark is buffered, and told once', () => {
      const table = openTable(501);
      expect(table.awaitDrain(1, 3)).to.equal(true);
      expect(table.awaitDrain(1, 5)).to.equal(true);
      expect(table.awaitDrain(1, 3)).to.equal(true);
      expect(table.takeDrainWaiters(1)).to.equal((1 << 3) | (1 << 5));
      expect(table.takeDrainWaiters(1)).to.equal(0);
    });

    it('is not waited for when as little as the low-water mark is buffered already', () => {
      const table = openTable(500);
      expect(table.awaitDrain(1, 3)).to.equal(false);
      expect(table.takeDrainWaiters(1)).to.equal(0);
    });

    it('leaves the other lanes waiting when one finds nothing to wait for', () => {
      const table = openTable(501);
      table.awaitDrain(1, 3);
      table.uncharge(1, 1);
      expect(table.awaitDrain(1, 4)).to.equal(false);
      expect(table.takeDrainWaiters(1)).to.equal(1 << 3);
    });

    it('can be waited for by every lane there is', () => {
      const table = openTable(501);
      for (let lane = 0; lane < MAX_LANES; lane++) {
        expect(table.awaitDrain(1, lane)).to.equal(true);
        expect(table.takeDrainWaiters(1) >>> 0).to.equal(2 ** lane);
      }
      table.uncharge(1, 1);
      for (let lane = 0; lane < MAX_LANES; lane++) expect(table.awaitDrain(1, lane)).to.equal(false);
      expect(table.takeDrainWaiters(1)).to.equal(0);
    });

    it('is on its way if the io worker took the request in the meantime', () => {
      for (const lane of [0, 31]) {
        /** The io worker drains and answers while the sender, having asked, looks at what is buffered. */
        class Memory extends SharedMemory {
          meanwhile: (() => void) | undefined;
          override load(word: number): number {
            const { meanwhile } = this;
            this.meanwhile = undefined;
            meanwhile?.();
            return super.load(word);
          }
        }
        const memory = new Memory(new SharedArrayBuffer(128));
        const table = new ConnectionTable(memory);
        table.open(0, settings);
        table.charge(0, 501);
        let taken = 0;
        memory.meanwhile = () => {
          table.uncharge(0, 501);
          taken = table.takeDrainWaiters(0);
        };
        expect(table.awaitDrain(0, lane)).to.equal(true);
        expect(taken >>> 0).to.equal(2 ** lane);
      }
    });

    it('is forgotten when the slot is opened again', () => {
      const table = openTable(501);
      table.awaitDrain(1, 3);
      table.open(1, settings);
      expect(table.takeDrainWaiters(1)).to.equal(0);
    });

    it('is waited for slot by slot', () => {
      const table = openTable(501);
      table.open(0, settings);
      table.charge(0, 501);
      table.awaitDrain(0, 1);
      expect(table.takeDrainWaiters(1)).to.equal(0);
      expect(table.takeDrainWaiters(0)).to.equal(1 << 1);
    });
  });

  describe('counters', () => {
    it('add up for one connection and start at 0 with the next', () => {
      const table = ConnectionTable.allocate(3);
      const none = {
        lastReceivedAt: 0,
        bytesReceived: 0,
        bytesSent: 0,
        messagesReceived: 0,
        droppedMessages: 0,
        roundTripMs: 0,
      };
      table.open(1, settings);
      expect(table.counts(1)).to.deep.equal(none);
      table.noteReceived(1, 1_700_000_000_000.5, 2 ** 40);
      table.noteReceived(1, 1_700_000_000_001.5, 5);
      table.noteSent(1, 7);
      table.noteSent(1, 2 ** 41);
      table.noteMessages(1, 3);
      table.noteMessages(1, 4);
      table.noteDropped(1);
      table.noteDropped(1);
      expect(table.counts(1)).to.deep.equal({
        lastReceivedAt: 1_700_000_000_001.5,
        bytesReceived: 2 ** 40 + 5,
        bytesSent: 2 ** 41 + 7,
        messagesReceived: 7,
        droppedMessages: 2,
        roundTripMs: 0,
      });
      expect([table.counts(0), table.counts(2)]).to.deep.equal([none, none]);
      table.open(1, settings);
      expect(table.counts(1)).to.deep.equal(none);
    });

    it('of one slot are left alone when its neighbours are opened and used', () => {
      const table = ConnectionTable.allocate(3);
      for (const slot of [0, 1, 2]) {
        table.open(slot, settings);
        table.charge(slot, 600);
        table.noteReceived(slot, 10, 20);
        table.noteSent(slot, 30);
        table.noteMessages(slot, 40);
        table.awaitDrain(slot, 2);
      }
      const before = Buffer.from(table.memory.view(128, 128));
      for (const slot of [0, 2]) {
        table.open(slot, { ...settings, highWaterMark: 9, overflowLimit: 8, maxMessageBytes: 7 });
        table.charge(slot, 1);
        table.noteReceived(slot, 1, 1);
        table.noteSent(slot, 1);
        table.noteMessages(slot, 1);
        table.noteDropped(slot);
        table.awaitDrain(slot, 1);
        table.setState(slot, 2, slotState.CLOSED);
      }
      expect(Buffer.from(table.memory.view(128, 128))).to.deep.equal(before);
    });
  });

  describe('memory', () => {
    it('is 128 bytes a slot', () => {
      expect(ConnectionTable.allocate(10).memory.byteLength).to.equal(1280);
      expect(ConnectionTable.allocate(10).slots).to.equal(10);
    });

    it('has no more slots than an id can name', () => {
      expect(ConnectionTable.allocate(MAX_SLOTS + 1).slots).to.equal(MAX_SLOTS);
    });

    it('is address space only, as long as slots are not used', () => {
      const before = process.memoryUsage.rss();
      const table = ConnectionTable.allocate(MAX_SLOTS);
      expect(table.memory.byteLength).to.equal(256 * 1024 * 1024);
      for (const slot of [0, MAX_SLOTS - 1]) {
        const generation = table.open(slot, settings);
        table.charge(slot, 5);
        expect(table.state(slot, generation)).to.equal(slotState.OPEN);
        expect(table.buffered(slot)).to.equal(5);
      }
      expect(process.memoryUsage.rss() - before).to.be.lessThan(64 * 1024 * 1024);
    });
  });
});
