import { expect } from 'chai';
import { CommandWriter } from '../../src/main/command-writer.js';
import type { ConnectionContext } from '../../src/main/connection-host.js';
import { SendPath, sendOutcome } from '../../src/main/send-path.js';
import { commandKind } from '../../src/shared/command-record.js';
import { ConnectionTable, framing, MAX_BUFFERED } from '../../src/shared/connection-table.js';
import { Doorbell } from '../../src/shared/doorbell.js';
import { frameKind } from '../../src/shared/frame-format.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { ringBytes } from '../../src/shared/ring-layout.js';
import { RingProducer } from '../../src/shared/ring-producer.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const SLOT = 1;
const SLOTS = 4;
const MIB = 1024 * 1024;
const RING_BYTES = 64 * 1024;

/** When a thread looks, nothing is buffered: the others charge a moment later. */
class EarlyTable extends ConnectionTable {
  override recentlyBuffered(): number {
    return 0;
  }
}

for (const dropOnOverflow of [true, false]) {
  describe(`SendPath, when many threads send much at the same moment, overflow ${dropOnOverflow ? "'drop'" : "'close'"}`, () => {
    let table: EarlyTable;
    let ledger: Ledger;
    let ring: RingConsumer;
    let path: SendPath;

    beforeEach(() => {
      table = new EarlyTable(ConnectionTable.allocate(SLOTS).memory);
      ledger = Ledger.allocate(SLOTS);
      const memory = SharedMemory.allocate(ringBytes(RING_BYTES));
      const doorbell = new Doorbell(SharedMemory.allocate(64), 0, () => undefined);
      const nothing = (): void => undefined;
      const commands = new CommandWriter(new RingProducer(memory), table, ledger, doorbell, nothing, nothing);
      ring = new RingConsumer(memory);
      const generation = table.open(SLOT, {
        highWaterMark: 32 * MIB,
        overflowLimit: 512 * MIB,
        maxMessageBytes: 512 * MIB,
        framing: framing.MESSAGES,
        minMessageBytes: 0,
        hasRequests: true,
        maxRequests: 1024,
        dropOnOverflow,
        borrowed: false,
        allowHalfOpen: false,
      });
      const context = { table, commands, lane: 0 } as unknown as ConnectionContext;
      path = new SendPath(context, SLOT, generation, { onDrain: nothing, onWait: nothing, onFlush: nothing });
    });

    // Just below; beyond 2^31, where the word is less than 0, and where it is the number that means something else.
    for (const others of [MAX_BUFFERED, 2 ** 31 - 10, 2 ** 31, 2 ** 31 + 100, 3 * 2 ** 30]) {
      for (const bytes of [100, RING_BYTES]) {
        it(`takes back ${bytes} bytes on top of ${others}, and sends nothing of them`, () => {
          table.charge(SLOT, others | 0);
          expect(path.sendWithId('request()', frameKind.REQUEST, 1, Buffer.alloc(bytes))).to.equal(
            sendOutcome.OVERFLOW,
          );
          expect(table.buffered(SLOT)).to.equal(others | 0);
          expect([...ledger.owed()]).to.deep.equal([]);
          const kinds: number[] = [];
          for (; ring.next(); ring.release()) kinds.push(ring.kind);
          expect(kinds).to.deep.equal(dropOnOverflow ? [] : [commandKind.DESTROY]);
          // It goes on as if nothing had been.
          table.uncharge(SLOT, others | 0);
          expect(path.send('x')).to.equal(dropOnOverflow);
        });
      }
    }
  });
}
