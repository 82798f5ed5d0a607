import { type Credit, MAX_BUFFERED, NOT_OPEN, TOO_MUCH } from './connection-table.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What one thread has charged connections for and not yet put into its command ring, since that is full, or the message is
 * long, or the thread is just about to: a word of bytes for each slot of the connection table.
 *
 * ```
 *  byte 4 n   bytes owed to slot n        the thread; the io worker once the thread is dead
 * ```
 *
 * A thread may be terminated at any moment. Whatever it has charged is then either in the ring or in here, never in both and
 * never in neither: each change of the credit and each publication writes down the difference together with the change
 * (SharedMemory.addNoted and storeNoted), so that there is no moment in between at which the thread could stop. The io worker
 * takes what is in the ring, and gives back what is in here.
 */
export class Ledger {
  readonly memory: SharedMemory;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  static allocate(slots: number): Ledger {
    return new Ledger(SharedMemory.allocate(slots * Int32Array.BYTES_PER_ELEMENT));
  }

  /** Charges for bytes that are to be published. Returns what was buffered before; NOT_OPEN or TOO_MUCH: then nothing is charged. */
  charge(slot: number, credit: Credit, bytes: number): number {
    const before = credit.memory.addNoted(credit.bufferedWord, bytes, this.memory, slot);
    // The io worker closes by changing the state first and then counting what is buffered. We charge first and then look at the
    // state: one of us notices.
    const isOpen = credit.memory.load(credit.stateWord) === credit.openState;
    // Less than 0, which is much without a sign: others have gone too far at this very moment.
    if (isOpen && (before >>> 0) + bytes <= MAX_BUFFERED) return before;
    this.giveBack(slot, credit, bytes);
    return isOpen ? TOO_MUCH : NOT_OPEN;
  }

  /** Takes a charge back: these bytes will not be published. */
  giveBack(slot: number, credit: Credit, bytes: number): void {
    credit.memory.addNoted(credit.bufferedWord, -bytes, this.memory, slot);
  }

  /** What a thread that is dead has charged for and never put into its command ring. */
  *owed(): IterableIterator<{ slot: number; bytes: number }> {
    const slots = this.memory.byteLength / Int32Array.BYTES_PER_ELEMENT;
    for (let slot = 0; slot < slots; slot++) {
      const bytes = this.memory.read(slot);
      if (bytes !== 0) yield { slot, bytes };
    }
  }
}
