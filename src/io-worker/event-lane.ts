import type { Doorbell } from '../shared/doorbell.js';
import { RingConsumer } from '../shared/ring-consumer.js';
import { RingProducer } from '../shared/ring-producer.js';
import type { SharedMemory } from '../shared/shared-memory.js';

/**
 * Each blocked connection holds what is left of one read, 64 KiB at most. From this many on, the sockets of all connections
 * of the lane are not read, so that what a thread that does not return from its handler costs is bounded by 8 MiB.
 */
const MAX_BLOCKED = 128;

/** Someone with events for the lane that did not fit. */
export interface BlockedSource {
  /** Tries again. True: everything is delivered. */
  retryDelivery(): boolean;
}

/**
 * The io worker's end of a lane. When the event ring is full, the connections that have something to say wait here in
 * order. Until half of the ring is free nobody overtakes them, and the io worker may sleep: the app thread rings.
 */
export class EventLane {
  readonly index: number;
  readonly commands: RingConsumer;
  readonly #events: RingProducer;
  readonly #doorbell: Doorbell;
  readonly #blocked = new Set<BlockedSource>();
  #retrying = false;
  #crowded = false;
  /** Told when all connections of the lane must pause, and when they may go on. */
  onCrowded: (crowded: boolean) => void = () => {};

  constructor(index: number, commands: SharedMemory, events: SharedMemory, doorbell: Doorbell) {
    this.index = index;
    this.commands = new RingConsumer(commands);
    this.#events = new RingProducer(events);
    this.#doorbell = doorbell;
  }

  /** Puts an event into the ring. False: it did not fit; `block` and try again when asked. */
  offer(kind: number, slot: number, generation: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#isClosedToNew()) return false;
    const pad = (bytes.byteOffset + start) % 8;
    const offset = this.#events.claim(kind, slot, generation, end - start, pad);
    if (offset === -1) return false;
    this.#events.memory.copyIn(offset, bytes, start, end);
    return this.#publish();
  }

  /** Like `offer`, with a u32 in front. */
  offerPrefixed(
    kind: number,
    slot: number,
    generation: number,
    prefix: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    if (this.#isClosedToNew()) return false;
    const offset = this.#events.claim(kind, slot, generation, 4 + end - start);
    if (offset === -1) return false;
    this.#events.memory.write(offset >> 2, prefix);
    this.#events.memory.copyIn(offset + 4, bytes, start, end);
    return this.#publish();
  }

  block(source: BlockedSource): void {
    this.#blocked.add(source);
    if (this.#blocked.size < MAX_BLOCKED || this.#crowded) return;
    this.#crowded = true;
    this.onCrowded(true);
  }

  unblock(source: BlockedSource): void {
    this.#blocked.delete(source);
  }

  /** New connections start paused. */
  get isCrowded(): boolean {
    return this.#crowded;
  }

  /** Lets waiting sources try again if there is room. True if any did. */
  retryBlocked(): boolean {
    if (this.#blocked.size === 0 || !this.#events.wantSpace(this.#events.capacity / 2)) return false;
    this.#retrying = true;
    for (const source of this.#blocked) {
      if (!source.retryDelivery()) break;
      this.#blocked.delete(source);
    }
    this.#retrying = false;
    if (this.#blocked.size > 0) return true;
    this.#events.spaceFound();
    if (this.#crowded) {
      this.#crowded = false;
      this.onCrowded(false);
    }
    return true;
  }

  /** True if the io worker has nothing to do for this lane until it is rung. */
  isIdle(): boolean {
    if (!this.commands.isEmpty()) return false;
    return this.#blocked.size === 0 || !this.#events.wantSpace(this.#events.capacity / 2);
  }

  /** Called when commands have been consumed: the app thread may wait for the space. */
  ringIfSpaceWanted(): void {
    if (this.commands.spaceWanted()) this.#doorbell.ring();
  }

  #isClosedToNew(): boolean {
    return this.#blocked.size > 0 && !this.#retrying;
  }

  #publish(): true {
    this.#events.publish();
    this.#doorbell.ring();
    return true;
  }
}
