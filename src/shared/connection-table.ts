import { MAX_GENERATION, MAX_SLOTS } from './connection-id.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What every thread can know about a connection without asking anyone: one slot of 128 bytes for each.
 *
 * ```
 *  byte  0  STATE           generation << 3 | state                                io worker
 *        4  BUFFERED        bytes accepted by send() and not yet with the kernel   senders add, io worker subtracts
 *        8  DRAIN_WAITERS   a bit for each lane that wants to hear of 'drain'      senders set, io worker takes
 *       12  HIGH_WATER      bytes; low water is half of it                         io worker, before the slot opens
 *       16  OVERFLOW        bytes                                                  "
 *       20  MAX_MESSAGE     bytes; the longest message send() may take             "
 *       24  TRAITS          framing | DROP_ON_OVERFLOW | BORROWED | ...            "
 *       28  DROPPED         messages dropped by overflow 'drop'                    senders add, io worker adds
 *       32  DONE            messages that the application has done with, wraps     the thread that gets the events
 *       36  MAX_REQUESTS    that one thread may have waiting for an answer         io worker, before the slot opens
 *       40  MIN_MESSAGE     bytes; the shortest message send() may take            "
 *       44  ASKERS          a bit for each lane whose thread has made a request       who makes one sets, io worker clears
 *       48  REQUESTS        requests made on it, wraps: no two have the same id    whoever makes one adds
 *       64  LAST_RECEIVED   ms since the epoch, f64                                io worker
 *       72  BYTES_RECEIVED  f64                                                    io worker
 *       80  BYTES_SENT      f64, handed to the kernel                              io worker
 *       88  MESSAGES_RECEIVED f64                                                  io worker
 *       96  ROUND_TRIP      ms from the last ping to its pong, f64; 0: not measured  io worker
 * ```
 *
 * BUFFERED belongs to the slot, not to the connection, and is never reset. Each sender adds what it puts into its ring,
 * and the io worker subtracts exactly that, when the bytes are with the kernel or when it drops them because their
 * connection is gone. A reset on reuse would race with a sender that has just added for the previous connection.
 *
 * BUFFERED is an int32: the limits on options keep what one thread may have buffered far below 2 GiB. Several that send at the same
 * moment, each when it finds nothing there, can get beyond MAX_BUFFERED: the later ones take theirs back (ledger.ts).
 *
 * The f64 columns are for people and metrics: one writer, plain accesses, and on a 32-bit machine a reader might see one
 * half-written.
 */
const SLOT_BYTES = 128;
const SLOT_WORDS = SLOT_BYTES / 4;
const SLOT_DOUBLES = SLOT_BYTES / 8;

const slotWord = {
  STATE: 0,
  BUFFERED: 1,
  DRAIN_WAITERS: 2,
  HIGH_WATER: 3,
  OVERFLOW: 4,
  MAX_MESSAGE: 5,
  TRAITS: 6,
  DROPPED: 7,
  DONE: 8,
  MAX_REQUESTS: 9,
  MIN_MESSAGE: 10,
  ASKERS: 11,
  REQUESTS: 12,
} as const;

const slotDouble = {
  LAST_RECEIVED: 8,
  BYTES_RECEIVED: 9,
  BYTES_SENT: 10,
  MESSAGES_RECEIVED: 11,
  ROUND_TRIP: 12,
} as const;

/** Drain waiters are a bit each, in one word. */
export const MAX_LANES = 32;

export const slotState = { FREE: 0, OPEN: 1, CLOSING: 2, CLOSED: 3 } as const;
export type SlotState = (typeof slotState)[keyof typeof slotState];

const STATE_BITS = 3;
const STATE_MASK = 2 ** STATE_BITS - 1;

/** What is in the records of a connection: frames (frame-format.ts), each a message; or bytes as they are. */
export const framing = { MESSAGES: 0, BYTES: 1 } as const;
export type Framing = (typeof framing)[keyof typeof framing];
const FRAMING_MASK = 0xff;
const DROP_ON_OVERFLOW: number = 1 << 8;
const BORROWED: number = 1 << 9;
const HALF_OPEN: number = 1 << 10;
/** The codec carries requests and answers. */
const REQUESTS: number = 1 << 11;

export interface SlotSettings {
  readonly highWaterMark: number;
  readonly overflowLimit: number;
  readonly maxMessageBytes: number;
  readonly minMessageBytes: number;
  readonly maxRequests: number;
  readonly framing: Framing;
  readonly hasRequests: boolean;
  readonly dropOnOverflow: boolean;
  readonly borrowed: boolean;
  readonly allowHalfOpen: boolean;
}

/** Where a connection's credit is kept, and what its state word says while it is open. */
export interface Credit {
  readonly memory: SharedMemory;
  readonly bufferedWord: number;
  readonly stateWord: number;
  readonly openState: number;
}

/** Instead of what was buffered before: the connection is not open, and nothing has been charged. */
export const NOT_OPEN: number = -(2 ** 31);

/** The same: more would be buffered than MAX_BUFFERED. */
export const TOO_MUCH = -1;

/** Three of the longest messages: what comes on top until it is taken back still leaves BUFFERED what it is. */
export const MAX_BUFFERED: number = 1.5 * 2 ** 30;

/** What has passed through one connection. */
export interface ConnectionCounts {
  /** ms since the epoch, 0: never */
  readonly lastReceivedAt: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  readonly messagesReceived: number;
  readonly droppedMessages: number;
  /** ms, 0: not measured */
  readonly roundTripMs: number;
}

/** Of a connection that nothing is known of any more. */
export const NO_COUNTS: ConnectionCounts = Object.freeze({
  lastReceivedAt: 0,
  bytesReceived: 0,
  bytesSent: 0,
  messagesReceived: 0,
  droppedMessages: 0,
  roundTripMs: 0,
});

function traitsOf(settings: SlotSettings): number {
  return (
    settings.framing |
    (settings.dropOnOverflow ? DROP_ON_OVERFLOW : 0) |
    (settings.borrowed ? BORROWED : 0) |
    (settings.allowHalfOpen ? HALF_OPEN : 0) |
    (settings.hasRequests ? REQUESTS : 0)
  );
}

export class ConnectionTable {
  readonly memory: SharedMemory;
  readonly slots: number;
  /** Every connection's generation is above this: a table that follows another one must not give out its ids again. */
  readonly firstGeneration: number;
  readonly #doubles: Float64Array;

  constructor(memory: SharedMemory, firstGeneration = 0) {
    this.memory = memory;
    this.slots = memory.byteLength / SLOT_BYTES;
    this.firstGeneration = firstGeneration;
    this.#doubles = new Float64Array(memory.buffer);
  }

  /** Pages of slots that were never used cost address space, not memory. */
  static allocate(slots: number, firstGeneration = 0): ConnectionTable {
    return new ConnectionTable(SharedMemory.allocate(Math.min(slots, MAX_SLOTS) * SLOT_BYTES), firstGeneration);
  }

  // ---- the io worker's ----

  /** Returns the generation of the connection that has the slot from now on, or -1 if the slot is worn out. */
  open(slot: number, settings: SlotSettings): number {
    const base = slot * SLOT_WORDS;
    const generation = Math.max(this.memory.load(base + slotWord.STATE) >>> STATE_BITS, this.firstGeneration) + 1;
    if (generation > MAX_GENERATION) return -1;
    this.memory.store(base + slotWord.HIGH_WATER, settings.highWaterMark);
    this.memory.store(base + slotWord.OVERFLOW, settings.overflowLimit);
    this.memory.store(base + slotWord.MAX_MESSAGE, settings.maxMessageBytes);
    this.memory.store(base + slotWord.TRAITS, traitsOf(settings));
    this.memory.store(base + slotWord.MAX_REQUESTS, settings.maxRequests);
    this.memory.store(base + slotWord.MIN_MESSAGE, settings.minMessageBytes);
    this.memory.store(base + slotWord.DRAIN_WAITERS, 0);
    this.memory.store(base + slotWord.DROPPED, 0);
    this.memory.store(base + slotWord.DONE, 0);
    this.memory.store(base + slotWord.REQUESTS, 0);
    this.memory.store(base + slotWord.ASKERS, 0);
    this.#doubles.fill(0, slot * SLOT_DOUBLES + slotDouble.LAST_RECEIVED, (slot + 1) * SLOT_DOUBLES);
    // Last: from here on senders that know the id find everything else in place.
    this.setState(slot, generation, slotState.OPEN);
    return generation;
  }

  setState(slot: number, generation: number, state: SlotState): void {
    this.memory.store(slot * SLOT_WORDS + slotWord.STATE, (generation << STATE_BITS) | state);
  }

  /** The credit's other side. Returns what is buffered now. */
  uncharge(slot: number, bytes: number): number {
    return this.memory.add(slot * SLOT_WORDS + slotWord.BUFFERED, -bytes) - bytes;
  }

  /** Lanes that asked to hear of 'drain'; they are asked for once. */
  takeDrainWaiters(slot: number): number {
    const word = slot * SLOT_WORDS + slotWord.DRAIN_WAITERS;
    return this.memory.load(word) === 0 ? 0 : this.memory.exchange(word, 0);
  }

  noteReceived(slot: number, now: number, bytes: number): void {
    const base = slot * SLOT_DOUBLES;
    this.#doubles[base + slotDouble.LAST_RECEIVED] = now;
    (this.#doubles[base + slotDouble.BYTES_RECEIVED] as number) += bytes;
  }

  noteMessages(slot: number, count: number): void {
    (this.#doubles[slot * SLOT_DOUBLES + slotDouble.MESSAGES_RECEIVED] as number) += count;
  }

  noteRoundTrip(slot: number, ms: number): void {
    this.#doubles[slot * SLOT_DOUBLES + slotDouble.ROUND_TRIP] = ms;
  }

  noteSent(slot: number, bytes: number): void {
    (this.#doubles[slot * SLOT_DOUBLES + slotDouble.BYTES_SENT] as number) += bytes;
  }

  /** Answers for a thread that has asked nothing are nobody's. */
  hasAsked(slot: number, lane: number): boolean {
    return lane >= 0 && (this.memory.load(slot * SLOT_WORDS + slotWord.ASKERS) & (1 << lane)) !== 0;
  }

  /** The thread is dead. */
  forgetAsker(slot: number, lane: number): void {
    const word = slot * SLOT_WORDS + slotWord.ASKERS;
    if (this.hasAsked(slot, lane)) this.memory.and(word, ~(1 << lane));
  }

  /** How many messages of the connection the application has done with, as a counter that wraps. */
  done(slot: number): number {
    return this.memory.read(slot * SLOT_WORDS + slotWord.DONE);
  }

  // ---- the spawning thread's ----

  /** The io worker is dead: nothing is open any more. Returns the highest generation that was ever given out. */
  closeAll(): number {
    let highest = this.firstGeneration;
    for (let slot = 0; slot < this.slots; slot++) {
      const word = this.memory.load(slot * SLOT_WORDS + slotWord.STATE);
      const generation = word >>> STATE_BITS;
      if (generation === 0) continue;
      highest = Math.max(highest, generation);
      if ((word & STATE_MASK) !== slotState.CLOSED) this.setState(slot, generation, slotState.CLOSED);
    }
    return highest;
  }

  // ---- the thread's that gets the events ----

  /** The application has done with messages. There is one such thread at a time, so that nobody else writes this word. */
  noteDone(slot: number, messages: number): void {
    const word = slot * SLOT_WORDS + slotWord.DONE;
    this.memory.write(word, this.memory.read(word) + messages);
  }

  // ---- everyone's ----

  /** Where the connection's credit is. */
  credit(slot: number, generation: number): Credit {
    const base = slot * SLOT_WORDS;
    return {
      memory: this.memory,
      bufferedWord: base + slotWord.BUFFERED,
      stateWord: base + slotWord.STATE,
      openState: (generation << STATE_BITS) | slotState.OPEN,
    };
  }

  /** The state of that one connection: CLOSED as soon as its slot is anyone else's. */
  state(slot: number, generation: number): SlotState {
    const word = this.memory.load(slot * SLOT_WORDS + slotWord.STATE);
    return word >>> STATE_BITS === generation ? ((word & STATE_MASK) as SlotState) : slotState.CLOSED;
  }

  /** True if the slot is, or was last, that connection's. */
  isCurrent(slot: number, generation: number): boolean {
    return this.memory.load(slot * SLOT_WORDS + slotWord.STATE) >>> STATE_BITS === generation;
  }

  /** Adds to what is buffered; senders do that as they publish (SharedMemory). Returns what was buffered before. */
  charge(slot: number, bytes: number): number {
    return this.memory.add(slot * SLOT_WORDS + slotWord.BUFFERED, bytes);
  }

  buffered(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.BUFFERED);
  }

  /** The same as of a moment ago: for a first look, without an atomic access. */
  recentlyBuffered(slot: number): number {
    return this.memory.read(slot * SLOT_WORDS + slotWord.BUFFERED);
  }

  highWater(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.HIGH_WATER);
  }

  /** 'drain' comes when as much, or less, is buffered. */
  lowWater(slot: number): number {
    return this.highWater(slot) >> 1;
  }

  overflowLimit(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.OVERFLOW);
  }

  dropsOnOverflow(slot: number): boolean {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.TRAITS) & DROP_ON_OVERFLOW) !== 0;
  }

  isBorrowed(slot: number): boolean {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.TRAITS) & BORROWED) !== 0;
  }

  allowsHalfOpen(slot: number): boolean {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.TRAITS) & HALF_OPEN) !== 0;
  }

  framing(slot: number): Framing {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.TRAITS) & FRAMING_MASK) as Framing;
  }

  hasRequests(slot: number): boolean {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.TRAITS) & REQUESTS) !== 0;
  }

  minMessage(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.MIN_MESSAGE);
  }

  maxRequests(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.MAX_REQUESTS);
  }

  /** Before a request is sent. */
  noteAsks(slot: number, lane: number): void {
    this.memory.or(slot * SLOT_WORDS + slotWord.ASKERS, 1 << lane);
  }

  /** A number that no other request of the connection has had for the last 2^32. */
  nextRequest(slot: number): number {
    return this.memory.add(slot * SLOT_WORDS + slotWord.REQUESTS, 1);
  }

  maxMessage(slot: number): number {
    return this.memory.load(slot * SLOT_WORDS + slotWord.MAX_MESSAGE);
  }

  noteDropped(slot: number): void {
    this.memory.add(slot * SLOT_WORDS + slotWord.DROPPED, 1);
  }

  /**
   * Asks for 'drain' on behalf of a lane. Returns false if there is nothing to wait for: as little as the low-water mark
   * is buffered already, and the io worker has not seen the request, nor will it.
   */
  awaitDrain(slot: number, lane: number): boolean {
    const word = slot * SLOT_WORDS + slotWord.DRAIN_WAITERS;
    const bit = 1 << lane;
    this.memory.or(word, bit);
    // The io worker subtracts, then looks for waiters; we have become a waiter, now we look at what is buffered.
    if (this.buffered(slot) > this.lowWater(slot)) return true;
    return (this.memory.and(word, ~bit) & bit) === 0;
  }

  /** The lane has asked for 'drain', and the io worker has still to answer that. */
  asksForDrain(slot: number, lane: number): boolean {
    return (this.memory.load(slot * SLOT_WORDS + slotWord.DRAIN_WAITERS) & (1 << lane)) !== 0;
  }

  /** All counts of the connection that has the slot. */
  counts(slot: number): ConnectionCounts {
    const double = (column: number): number => this.#doubles[slot * SLOT_DOUBLES + column] as number;
    return {
      lastReceivedAt: double(slotDouble.LAST_RECEIVED),
      bytesReceived: double(slotDouble.BYTES_RECEIVED),
      bytesSent: double(slotDouble.BYTES_SENT),
      messagesReceived: double(slotDouble.MESSAGES_RECEIVED),
      droppedMessages: this.memory.load(slot * SLOT_WORDS + slotWord.DROPPED),
      roundTripMs: double(slotDouble.ROUND_TRIP),
    };
  }
}
