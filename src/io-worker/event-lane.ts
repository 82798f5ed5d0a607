import type { Doorbell } from '../shared/doorbell.js';
import { eventKind, PART_HEADER_BYTES, type PartHeader, partOffset } from '../shared/event-record.js';
import { threadWord } from '../shared/lane.js';
import type { Ledger } from '../shared/ledger.js';
import { RingConsumer } from '../shared/ring-consumer.js';
import { RingProducer } from '../shared/ring-producer.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import type { StatusBoard } from '../shared/status-board.js';
import type { ChunkPool } from './chunk-pool.js';
import { InflationBudget } from './inflation-budget.js';
import { LaneNotices } from './lane-notices.js';
import { type KeptInput, LaneTrail } from './lane-trail.js';

/**
 * Each blocked connection holds what is left of one read, 64 KiB at most, or a message that was long when it had been
 * decompressed. From so many of them or so many bytes on, the connections of the lane are not read, and what their codecs find is not
 * taken: that bounds what a thread costs that does not return from its handler.
 */
const MAX_BLOCKED = 128;
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/** The same for connections with services, which are read on until something of theirs has to wait for the ring: then for each of them. */
const MAX_SERVED_BLOCKED = 256;
const MAX_SERVED_WAITING_BYTES = 16 * 1024 * 1024;

/** A long message is not read on while so much waits in the ring. */
const MAX_PART_BYTES = 128 * 1024;

/** So often, in records, the io worker looks how far the thread has come, if nothing else makes it look. */
const TRAIL_LOOK = 256;

const NOTHING = new Uint8Array(0);

/** Someone with events for the lane that did not fit. */
export interface BlockedSource {
  /** Tries again. True: everything is delivered. */
  retryDelivery(): boolean;
}

/** A connection whose events the thread gets, or that it watches, has paused, or has begun to send on. */
export interface LaneUser {
  /** The lane has become crowded, or is no longer. */
  updateLanePause(): void;
  laneDied(lane: EventLane): void;
}

export interface EventLaneParts {
  readonly index: number;
  readonly threadId: number;
  readonly commands: SharedMemory;
  readonly events: SharedMemory;
  readonly ledger: Ledger;
  readonly thread: SharedMemory;
  readonly doorbell: Doorbell;
  readonly board: StatusBoard;
  readonly chunkPool: ChunkPool;
  /** Which io worker this is, and how many there are. */
  readonly workers: { readonly own: number; readonly count: number };
}

/**
 * The io worker's end of a lane. When the event ring is full, those that have something to say wait here in order. Until
 * half of the ring is free nobody overtakes them, and the io worker may sleep: the app thread rings.
 */
export class EventLane {
  readonly index: number;
  readonly threadId: number;
  readonly commands: RingConsumer;
  readonly ledger: Ledger;
  /** Memory for what is kept of its input. */
  readonly chunkPool: ChunkPool;
  readonly #events: RingProducer;
  readonly #thread: SharedMemory;
  readonly #workers: EventLaneParts['workers'];
  readonly #doorbell: Doorbell;
  readonly #board: StatusBoard;
  readonly #trail: LaneTrail;
  readonly notices: LaneNotices = new LaneNotices(this);
  readonly inflation: InflationBudget = new InflationBudget();
  readonly #blocked = new Set<BlockedSource>();
  /** Bytes that wait with them. */
  #waitingBytes = 0;
  /** How many wait with something that peers have sent. */
  #inputsWaiting = 0;
  #overcrowded = false;
  #retrying = false;
  #crowded = false;
  #retired = false;
  /** Connections that know of this lane: what is to be put in order when its thread dies, however many others there are. */
  readonly involved: Set<LaneUser> = new Set();
  /** Pieces of a broadcast that is longer than a record. */
  broadcastParts: Buffer[] = [];
  onBlocked: () => void = () => {};
  /** An event has been put into the ring. */
  onEvent: () => void = () => {};
  /** Told when all connections of the lane must pause, and when they may go on. */
  onCrowded: () => void = () => {};

  constructor(parts: EventLaneParts) {
    this.index = parts.index;
    this.threadId = parts.threadId;
    this.commands = new RingConsumer(parts.commands);
    this.#trail = new LaneTrail(parts.events, parts.chunkPool);
    this.#events = new RingProducer(parts.events, (consumed) => this.#trail.settle(consumed));
    this.ledger = parts.ledger;
    this.chunkPool = parts.chunkPool;
    this.#thread = parts.thread;
    this.#workers = parts.workers;
    // The one before it may have died with connections.
    this.#thread.store(threadWord.CONNECTIONS + parts.workers.own, 0);
    this.#doorbell = parts.doorbell;
    this.#board = parts.board;
  }

  /** The thread is gone. */
  get isRetired(): boolean {
    return this.#retired;
  }

  /** The number of the last TIMER event that the thread has taken. */
  get timerEventsTaken(): number {
    return this.#thread.load(threadWord.TIMERS_TAKEN);
  }

  /** New connections start paused. */
  get isCrowded(): boolean {
    return this.#crowded;
  }

  /** So much waits that connections with services pause, too. */
  get isOvercrowded(): boolean {
    return this.#overcrowded;
  }

  /** Connections whose events the thread gets, from all io workers. */
  get connections(): number {
    let count = 0;
    for (let worker = 0; worker < this.#workers.count; worker++) {
      count += this.#thread.load(threadWord.CONNECTIONS + worker);
    }
    return count;
  }

  countConnection(by: 1 | -1): void {
    this.#thread.add(threadWord.CONNECTIONS + this.#workers.own, by);
  }

  /** Puts an event into the ring. False: it did not fit; `block` and try again when asked. */
  offer(
    kind: number,
    slot: number,
    generation: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    kept?: KeptInput,
  ): boolean {
    if (this.#isClosedToNew()) return false;
    const pad = (bytes.byteOffset + start) % 8;
    const offset = this.#events.claim(kind, slot, generation, end - start, pad);
    if (offset === -1) return false;
    this.#events.memory.copyIn(offset, bytes, start, end);
    return this.#publish(kind, offset, end - start, kept);
  }

  /** Like `offer`, for the first piece of a message. */
  offerPart(
    kind: number,
    slot: number,
    generation: number,
    part: PartHeader,
    bytes: Uint8Array,
    start: number,
    end: number,
    kept?: KeptInput,
  ): boolean {
    if (this.#isClosedToNew()) return false;
    const length = PART_HEADER_BYTES + end - start;
    const pad = (bytes.byteOffset + start) % 8;
    const offset = this.#events.claim(kind, slot, generation, length, pad);
    if (offset === -1) return false;
    const { memory } = this.#events;
    memory.writeU32(offset + partOffset.LENGTH, part.length);
    memory.writeU32(offset + partOffset.KIND, part.kind);
    memory.copyIn(offset + PART_HEADER_BYTES, bytes, start, end);
    return this.#publish(kind, offset, length, kept);
  }

  /** The thread is handing out events: more commands are likely to come in a moment. */
  get isInBatch(): boolean {
    return this.commands.isInBatch();
  }

  /** Gives the thread something to take, to see whether it is alive. */
  probe(): void {
    this.offer(eventKind.PROBE, 0, 0, NOTHING, 0, 0);
  }

  block(source: BlockedSource): void {
    this.#blocked.add(source);
    // Calls and timers put events into rings, too, while the loop sleeps: it must look for room.
    this.onBlocked();
    this.#checkOvercrowded();
    if (this.#crowded || (this.#blocked.size < MAX_BLOCKED && this.#waitingBytes < MAX_WAITING_BYTES)) return;
    this.#crowded = true;
    this.onCrowded();
  }

  /** So many bytes more, or less, wait with those that are blocked; and so many of them with something that a peer has sent. */
  countWaiting(bytes: number, inputs = 0): void {
    this.#waitingBytes += bytes;
    this.#inputsWaiting += inputs;
  }

  #checkOvercrowded(): void {
    if (this.#overcrowded) return;
    if (this.#inputsWaiting < MAX_SERVED_BLOCKED && this.#waitingBytes < MAX_SERVED_WAITING_BYTES) return;
    this.#overcrowded = true;
    this.#crowded = true;
    this.onCrowded();
  }

  unblock(source: BlockedSource): void {
    this.#blocked.delete(source);
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
      this.#overcrowded = false;
      this.#crowded = false;
      this.onCrowded();
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

  /** Long messages have as much of the ring as they should while others use it, too: short ones wait behind them. */
  get isFullOfParts(): boolean {
    return this.#events.usedBytes() > MAX_PART_BYTES && this.connections > 1;
  }

  /** Has input kept that the thread has taken out of the ring and not done with. */
  noteConsumed(): void {
    this.#events.noteConsumed();
  }

  /** The thread has died: has everything kept that it had not done with. */
  retire(): void {
    this.#retired = true;
    this.#trail.settle(this.#events.produced);
    this.#blocked.clear();
    this.broadcastParts = [];
  }

  #isClosedToNew(): boolean {
    return this.#retired || (this.#blocked.size > 0 && !this.#retrying);
  }

  #publish(kind: number, offset: number, length: number, kept: KeptInput | undefined): true {
    this.#events.publish();
    const position = this.#events.produced;
    if (kept !== undefined) {
      this.#trail.add(kept, position, kind, offset, length);
      // A ring may take hours to fill: until then it would hold on to connections that are long over.
      if (this.#trail.size % TRAIL_LOOK === 0) this.noteConsumed();
    }
    this.#board.noteProduced(this.index, position);
    if (this.#doorbell.ring()) this.#board.noteRung(this.index, Date.now());
    this.onEvent();
    return true;
  }
}
