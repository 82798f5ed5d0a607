import { eventKind, PART_HEADER_BYTES, type PartHeader, partOffset } from '../shared/event-record.js';
import type { BlockedSource, EventLane } from './event-lane.js';
import type { InputKeeper, KeptInput, RetainedInput } from './lane-trail.js';

/** An event that did not fit into the ring. */
interface Pending {
  readonly kind: number;
  readonly payload: Buffer;
  readonly isInput: boolean;
  readonly upTo: number;
  readonly isSuspect: boolean;
}

/** What an outbox needs of its connection. */
export interface OutboxOwner {
  /** Messages that the application has done with, as a counter that wraps. */
  messagesDone(): number;
  /** Nothing waits for the ring any more. */
  onUnblocked(): void;
}

/** Besides input: what peers can bring about as often as they like. */
const PEERS: ReadonlySet<number> = new Set([
  eventKind.ANSWERS,
  eventKind.ANSWER_FIRST,
  eventKind.ANSWER_PART,
  eventKind.BUSY,
  eventKind.GOODBYE,
]);

/** In place of lists that most connections never need: there are thousands of them. Nothing is ever added to it. */
const NONE: never[] = [];

const NOBODY: OutboxOwner = { messagesDone: () => 0, onUnblocked: () => undefined };

/**
 * What a connection has to say to one app thread, in order. Events go into the ring at once; when it is full they wait here.
 * The connection gives it no input while something waits, so that a thread that takes nothing costs a bounded amount.
 *
 * It keeps input that the thread has taken out of the ring and not done with (lane-trail.ts).
 */
export class EventOutbox implements BlockedSource, InputKeeper {
  readonly lane: EventLane;
  readonly #slot: number;
  readonly #generation: number;
  #owner: OutboxOwner;
  readonly #keeps: boolean;
  #pending: Pending[] = NONE;
  /** How many of them a peer has sent. */
  #inputWaiting = 0;
  #kept: RetainedInput[] = NONE;
  #closed = false;
  /** The rest of a message whose beginning this thread did not get. */
  #skipsParts: boolean;
  /** The thread has handled all there was, and would shut the connection down. */
  isWoundDown = false;

  /**
   * @param keeps false: what the thread does not finish is lost with it; others have got the same
   * @param midMessage the next input is in the middle of a message
   */
  constructor(
    lane: EventLane,
    at: { slot: number; generation: number },
    owner: OutboxOwner,
    keeps: boolean,
    midMessage: boolean,
  ) {
    this.lane = lane;
    this.#slot = at.slot;
    this.#generation = at.generation;
    this.#owner = owner;
    this.#keeps = keeps;
    this.#skipsParts = midMessage;
  }

  get isBlocked(): boolean {
    return this.#pending.length > 0;
  }

  /** Input waits, or an answer: something that peers send. */
  get hasInputWaiting(): boolean {
    return this.#inputWaiting > 0;
  }

  event(kind: number, payload: Buffer): void {
    if (!this.isBlocked && this.lane.offer(kind, this.#slot, this.#generation, payload, 0, payload.length)) return;
    this.#wait({ kind, payload, isInput: false, upTo: 0, isSuspect: false }, PEERS.has(kind));
  }

  /**
   * @param upTo the number of the last message in it
   * @param isStable the bytes do not change any more
   * @param isSuspect see RetainedInput
   */
  input(
    kind: number,
    upTo: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    part?: PartHeader,
    isStable = false,
    isSuspect = false,
  ): void {
    if (this.#skipsParts && kind === eventKind.PART) return;
    this.#skipsParts = false;
    const kept = this.#keeps ? { keeper: this, upTo, isSuspect } : undefined;
    if (this.#offer(kind, bytes, start, end, part, kept)) return;
    this.#wait({ kind, payload: payloadOf(bytes, start, end, part, isStable), isInput: true, upTo, isSuspect });
  }

  /** Answers to requests are the thread's alone: if it dies, nobody else wants them. */
  answer(kind: number, bytes: Uint8Array, start: number, end: number, part?: PartHeader, isStable = false): void {
    if (this.#offer(kind, bytes, start, end, part, undefined)) return;
    const payload = payloadOf(bytes, start, end, part, isStable);
    this.#wait({ kind, payload, isInput: false, upTo: 0, isSuspect: false });
  }

  /** Hands on what another thread has left unfinished. */
  resume(input: RetainedInput): void {
    const { kind, upTo, payload, isSuspect } = input;
    this.input(kind, upTo, payload, 0, payload.length, undefined, true, isSuspect);
  }

  retryDelivery(): boolean {
    let count = 0;
    for (const { kind, payload, isInput, upTo, isSuspect } of this.#pending) {
      const kept = isInput && this.#keeps ? { keeper: this, upTo, isSuspect } : undefined;
      if (!this.lane.offer(kind, this.#slot, this.#generation, payload, 0, payload.length, kept)) break;
      count++;
    }
    for (const { payload, isInput, kind } of this.#pending.splice(0, count)) {
      this.lane.countWaiting(-payload.length);
      if (isInput || PEERS.has(kind)) this.#countInput(-1);
    }
    if (this.#pending.length > 0) return false;
    this.#owner.onUnblocked();
    // It may have had more to say, and have filled the ring again.
    return this.#pending.length === 0;
  }

  isDone(upTo: number): boolean {
    return this.#closed || ((upTo - this.#owner.messagesDone()) | 0) <= 0;
  }

  keep(input: RetainedInput): void {
    this.trim();
    if (this.#kept === NONE) this.#kept = [];
    this.#kept.push(input);
  }

  /** Forgets what the application has done with since. */
  trim(): void {
    const first = this.#kept.findIndex(({ upTo }) => !this.isDone(upTo));
    if (first === 0) return;
    for (const { chunk } of this.#kept.splice(0, first === -1 ? this.#kept.length : first)) {
      if (chunk !== undefined) this.lane.chunkPool.release(chunk);
    }
  }

  /** Ends it. Returns the input that the thread has not done with, in order. The lane has had all of it kept. */
  close(): RetainedInput[] {
    if (this.#closed) return [];
    this.trim();
    const unfinished = [...this.#kept];
    for (const { kind, payload, isInput, upTo, isSuspect } of this.#pending) {
      if (isInput) unfinished.push({ kind, payload, upTo, wasDelivered: false, isSuspect });
    }
    this.#closed = true;
    // The trail of the lane may hold on to this for a while: not to the connection with it.
    this.#owner = NOBODY;
    this.#kept = NONE;
    for (const { payload } of this.#pending) this.lane.countWaiting(-payload.length);
    this.#countInput(-this.#inputWaiting);
    this.#pending = NONE;
    this.lane.unblock(this);
    return unfinished;
  }

  #offer(
    kind: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    part: PartHeader | undefined,
    kept: KeptInput | undefined,
  ): boolean {
    if (this.isBlocked) return false;
    const { lane } = this;
    return part === undefined
      ? lane.offer(kind, this.#slot, this.#generation, bytes, start, end, kept)
      : lane.offerPart(kind, this.#slot, this.#generation, part, bytes, start, end, kept);
  }

  #countInput(by: number): void {
    const before = this.#inputWaiting;
    this.#inputWaiting = before + by;
    if ((before === 0) !== (this.#inputWaiting === 0)) this.lane.countWaiting(0, before === 0 ? 1 : -1);
  }

  #wait(pending: Pending, isPeers = true): void {
    // Often it stays alone: an empty list would take room for many as soon as the first is added.
    if (this.#pending === NONE) this.#pending = [pending];
    else this.#pending.push(pending);
    if (isPeers) this.#countInput(1);
    this.lane.countWaiting(pending.payload.length);
    this.lane.block(this);
  }
}

function payloadOf(
  bytes: Uint8Array,
  start: number,
  end: number,
  part: PartHeader | undefined,
  isStable: boolean,
): Buffer {
  if (part === undefined && isStable) return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  const header = part === undefined ? 0 : PART_HEADER_BYTES;
  const payload = Buffer.allocUnsafeSlow(header + end - start);
  if (part !== undefined) {
    payload.writeUInt32LE(part.length, partOffset.LENGTH);
    payload.writeUInt32LE(part.kind, partOffset.KIND);
  }
  payload.set(bytes.subarray(start, end), header);
  return payload;
}
