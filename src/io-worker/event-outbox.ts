import { eventKind } from '../shared/event-record.js';
import type { BlockedSource, EventLane } from './event-lane.js';

const EMPTY: Buffer = Buffer.alloc(0);

/** Each happens at most once at a time. This is the order in which they go out if they have to wait for the ring. */
export const outboxEvent = { OPEN: 1, INPUT: 2, END: 4, WIND_DOWN: 8, DRAIN: 16, FLUSHED: 32, CLOSE: 64 } as const;
type OutboxEvent = (typeof outboxEvent)[keyof typeof outboxEvent];

/** DRAIN and FLUSHED mean nothing for a connection that is closed. */
const VOID_ONCE_CLOSED = outboxEvent.DRAIN | outboxEvent.FLUSHED;

/** What an outbox needs of its connection. */
export interface OutboxOwner {
  /** Decodes input that had to wait. Returns how far it came; the rest waits on. */
  decodeWaiting(input: Buffer): number;
  /** All input has been decoded, and END is next. */
  onInputEnded(): void;
  /** There is something waiting (so read no more), or nothing any more. */
  onWaiting(waiting: boolean): void;
  /** CLOSE is in the ring: nothing comes after it. */
  onClosedDelivered(): void;
}

/**
 * What a connection has to say to its app thread, in order. Events go into the ring at once; when it is full they wait
 * here: one bit for each kind of event, and what is left of one read. So a thread that takes nothing costs a bounded amount.
 */
export class EventOutbox implements BlockedSource {
  readonly #lane: EventLane;
  readonly #slot: number;
  readonly #generation: number;
  readonly #owner: OutboxOwner;
  #waiting = 0;
  #delivering = false;
  #input: Buffer = EMPTY;
  #openPayload: Buffer = EMPTY;
  #closePayload: Buffer = EMPTY;

  constructor(lane: EventLane, slot: number, generation: number, owner: OutboxOwner) {
    this.#lane = lane;
    this.#slot = slot;
    this.#generation = generation;
    this.#owner = owner;
  }

  /** Nothing waits: input may go straight to the decoder. */
  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  get hasInput(): boolean {
    return (this.#waiting & outboxEvent.INPUT) !== 0;
  }

  open(payload: Buffer): void {
    this.#openPayload = payload;
    this.raise(outboxEvent.OPEN);
  }

  close(payload: Buffer): void {
    this.#closePayload = payload;
    this.#waiting &= ~VOID_ONCE_CLOSED;
    this.raise(outboxEvent.CLOSE);
  }

  /** Sends an event, behind what waits already. */
  raise(event: OutboxEvent): void {
    const alone = this.#waiting === 0 && !this.#delivering;
    this.#waiting |= event;
    if (alone && !this.retryDelivery()) this.#wait(event);
  }

  /** Sends a piece of input. False: it did not fit, so that INPUT waits: `keepInput` what is left. */
  offer(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    return this.#lane.offer(kind, this.#slot, this.#generation, bytes, start, end) || this.#refuseInput();
  }

  /** The same with a u32 in front. */
  offerPrefixed(kind: number, prefix: number, bytes: Uint8Array, start: number, end: number): boolean {
    const accepted = this.#lane.offerPrefixed(kind, this.#slot, this.#generation, prefix, bytes, start, end);
    return accepted || this.#refuseInput();
  }

  /** Keeps what is left of a read, behind what is kept already. The bytes are copied. */
  keepInput(bytes: Uint8Array): void {
    this.#waiting |= outboxEvent.INPUT;
    this.#input = this.#input.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#input, bytes]);
  }

  retryDelivery(): boolean {
    // What comes up meanwhile (bad input closes the connection) takes its place in this order.
    this.#delivering = true;
    const delivered =
      this.#deliver(outboxEvent.OPEN, eventKind.OPEN, this.#openPayload) &&
      this.#deliverInput() &&
      this.#deliverEnd() &&
      this.#deliver(outboxEvent.WIND_DOWN, eventKind.WIND_DOWN, EMPTY) &&
      this.#deliver(outboxEvent.DRAIN, eventKind.DRAIN, EMPTY) &&
      this.#deliver(outboxEvent.FLUSHED, eventKind.FLUSHED, EMPTY) &&
      this.#deliverClose();
    this.#delivering = false;
    if (delivered) this.#owner.onWaiting(false);
    return delivered;
  }

  #deliver(event: OutboxEvent, kind: number, payload: Uint8Array): boolean {
    if ((this.#waiting & event) === 0) return true;
    if (!this.#lane.offer(kind, this.#slot, this.#generation, payload, 0, payload.length)) return false;
    this.#waiting &= ~event;
    return true;
  }

  #deliverInput(): boolean {
    if (!this.hasInput) return true;
    const input = this.#input;
    this.#input = EMPTY;
    this.#waiting &= ~outboxEvent.INPUT;
    const decoded = this.#owner.decodeWaiting(input);
    // A decoder that met a full ring has raised INPUT again.
    if (!this.hasInput) return true;
    this.#input = input.subarray(decoded);
    return false;
  }

  #deliverEnd(): boolean {
    if ((this.#waiting & outboxEvent.END) === 0) return true;
    this.#owner.onInputEnded();
    return this.#deliver(outboxEvent.END, eventKind.END, EMPTY);
  }

  #deliverClose(): boolean {
    if ((this.#waiting & outboxEvent.CLOSE) === 0) return true;
    if (!this.#deliver(outboxEvent.CLOSE, eventKind.CLOSE, this.#closePayload)) return false;
    this.#lane.unblock(this);
    this.#owner.onClosedDelivered();
    return true;
  }

  #refuseInput(): false {
    this.#wait(outboxEvent.INPUT);
    return false;
  }

  #wait(event: OutboxEvent): void {
    this.#waiting |= event;
    this.#lane.block(this);
    this.#owner.onWaiting(true);
  }
}
