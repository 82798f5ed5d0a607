import { expect } from 'chai';
import { CommandWriter } from '../../src/main/command-writer.js';
import { commandKind } from '../../src/shared/command-record.js';
import { ConnectionTable } from '../../src/shared/connection-table.js';
import { Doorbell } from '../../src/shared/doorbell.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { ringBytes } from '../../src/shared/ring-layout.js';
import { RingProducer } from '../../src/shared/ring-producer.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const SLOTS = 8;
const RING_BYTES = 64 * 1024;

describe('CommandWriter', () => {
  let writer: CommandWriter;
  let ring: RingConsumer;

  beforeEach(() => {
    const memory = SharedMemory.allocate(ringBytes(RING_BYTES));
    writer = new CommandWriter(
      new RingProducer(memory),
      ConnectionTable.allocate(SLOTS),
      Ledger.allocate(SLOTS),
      new Doorbell(SharedMemory.allocate(64), 0, () => undefined),
      () => undefined,
      () => undefined,
    );
    ring = new RingConsumer(memory);
  });

  it('refuses commands that are longer than a record, but for messages: their pieces would go to the peer', () => {
    const tooMany = Array.from({ length: RING_BYTES / 4 }, (_, id) => id);
    for (const call of [
      () => writer.released(1, 1, tooMany),
      () => writer.removeTimers(tooMany),
      () => writer.joinGroup(1, 1, Buffer.alloc(RING_BYTES)),
      () => writer.leaveGroup(1, 1, Buffer.alloc(RING_BYTES)),
    ]) {
      expect(call).to.throw().with.property('code', 'ERR_REACTOR_INTERNAL');
    }
    writer.pause(1, 1);
    expect(ring.next()).to.equal(true);
    expect(ring.kind).to.equal(commandKind.PAUSE);
    ring.release();
    expect(ring.next()).to.equal(false);
    expect(writer.isEmpty).to.equal(true);
  });
});
