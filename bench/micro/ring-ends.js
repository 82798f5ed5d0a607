// @ts-check
/** A ring between two threads as the library has it, with a doorbell; both threads block when there is nothing to do. */
import { Doorbell, SleepWord } from '../../build/src/shared/doorbell.js';
import { RingConsumer } from '../../build/src/shared/ring-consumer.js';
import { ringBytes } from '../../build/src/shared/ring-layout.js';
import { RingProducer } from '../../build/src/shared/ring-producer.js';
import { SharedMemory } from '../../build/src/shared/shared-memory.js';

const CAPACITY = 1024 * 1024;
const RECORD_KIND = 1;
const BELL_BYTES = 128;
/** About as long as it takes to block and to be woken. */
const SPINS = 2000;
const PARK_MS = 1000;

/** @typedef {{ ring: SharedArrayBuffer, bell: SharedArrayBuffer }} Shared */

/** @returns {Shared} */
export function allocateRing() {
  return { ring: SharedMemory.allocate(ringBytes(CAPACITY)).buffer, bell: SharedMemory.allocate(BELL_BYTES).buffer };
}

export class Sender {
  #producer;
  #doorbell;

  /** @param {Shared} shared */
  constructor({ ring, bell }) {
    this.#producer = new RingProducer(new SharedMemory(ring));
    this.#doorbell = new Doorbell(new SharedMemory(bell), 0, () => {});
  }

  /** @param {Uint8Array} record */
  send(record) {
    let offset = -1;
    while (offset === -1) offset = this.#producer.claim(RECORD_KIND, 0, 0, record.length);
    this.#producer.memory.copyIn(offset, record, 0, record.length);
    this.#producer.publish();
    this.#doorbell.ring();
  }

  /** Waits until the other side has taken everything. */
  drain() {
    while (this.#producer.usedBytes() > 0);
  }
}

export class Receiver {
  #consumer;
  #sleep;
  #target = new Uint8Array(64);

  /** @param {Shared} shared */
  constructor({ ring, bell }) {
    this.#consumer = new RingConsumer(new SharedMemory(ring));
    this.#sleep = new SleepWord(new SharedMemory(bell), 0);
  }

  /** Waits for a record. The bytes are valid until the next call. */
  receive() {
    while (!this.#spin()) {
      this.#sleep.announcePark();
      if (this.#consumer.isEmpty()) this.#sleep.park(PARK_MS);
      else this.#sleep.awake();
    }
    const { memory, offset, length } = this.#consumer;
    memory.copyOut(offset, length, this.#target, 0);
    this.#consumer.release();
    return this.#target;
  }

  #spin() {
    for (let i = 0; i < SPINS; i++) if (this.#consumer.next()) return true;
    return false;
  }
}
