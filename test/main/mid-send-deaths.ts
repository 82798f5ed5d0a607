import { setImmediate as nextTurn } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { ConnectionTable, framing } from '../../src/shared/connection-table.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { ringBytes } from '../../src/shared/ring-layout.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';
import type { MidSendData } from '../fixtures/mid-send-thread.js';
import { random } from '../fixtures/scenario-tools.js';

const SLOTS = [0, 1] as const;

/**
 * Terminates threads while they send, and looks whether each byte that they have charged for is in the ring or in the ledger.
 * That is so only if V8 stops a thread where the source says that it does, and nowhere else.
 * Returns how many of them had something in the ledger.
 */
export async function dieInSend(threads: number, seed: number): Promise<number> {
  const below = random(seed);
  let owing = 0;
  for (let thread = 0; thread < threads; thread++) {
    if (await dieOnce(below(2 ** 31), below(8) === 0 ? 0 : below(400) / 100)) owing++;
  }
  return owing;
}

async function dieOnce(seed: number, afterMs: number): Promise<boolean> {
  const table = ConnectionTable.allocate(SLOTS.length);
  for (const slot of SLOTS) {
    table.open(slot, {
      highWaterMark: 1024,
      overflowLimit: 16 * 1024,
      maxMessageBytes: 4096,
      framing: framing.MESSAGES,
      minMessageBytes: 0,
      hasRequests: true,
      maxRequests: 1024,
      dropOnOverflow: false,
      borrowed: false,
      allowHalfOpen: false,
    });
  }
  const ledger = Ledger.allocate(SLOTS.length);
  const ring = SharedMemory.allocate(ringBytes(4096));
  const words = SharedMemory.allocate(8);
  const data: MidSendData = {
    ring: ring.buffer,
    table: table.memory.buffer,
    ledger: ledger.memory.buffer,
    words: words.buffer,
    slots: SLOTS,
    seed,
  };
  const worker = new Worker(new URL('../fixtures/mid-send-thread.js', import.meta.url), { workerData: data });
  const errors: Error[] = [];
  worker.on('error', (error) => errors.push(error as Error));
  const commands = new RingConsumer(ring);
  const take = (): void => {
    while (commands.next()) {
      table.uncharge(commands.slot, commands.length);
      commands.release();
    }
  };
  try {
    while (words.load(1) === 0 && errors.length === 0) await nextTurn();
    const end = performance.now() + afterMs;
    do {
      take();
      await nextTurn();
    } while (performance.now() < end);
  } finally {
    await worker.terminate();
  }
  expect(errors).to.deep.equal([]);
  take();
  const owed = new Map([...ledger.owed()].map(({ slot, bytes }) => [slot, bytes]));
  for (const slot of SLOTS) expect(table.buffered(slot), `slot ${slot}, seed ${seed}`).to.equal(owed.get(slot) ?? 0);
  return owed.size > 0;
}
