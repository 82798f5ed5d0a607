import { eventKind } from '../shared/event-record.js';
import type { EventLane } from './event-lane.js';
import { EventOutbox, type OutboxOwner } from './event-outbox.js';
import type { InflationBudget } from './inflation-budget.js';
import type { RetainedInput } from './lane-trail.js';

/** In place of what most connections never need: there are thousands of them. Nothing is ever added to these. */
const NO_BOXES = new Map<never, never>();
const NONE: readonly never[] = [];
const EMPTY: Buffer = Buffer.alloc(0);

/** Who knows the threads that may ask the peer something. */
export interface RecipientsOwner {
  /** The lane of that number, if there is one: its thread is about to get answers. */
  answerLane(index: number): EventLane | undefined;
  /** From now on that lane may be one on whose account the socket is not read. */
  onAnswerBox(): void;
}

/**
 * The threads that hear of a connection, and the outbox of each:
 *
 * ```
 *  current        get its events: usually one thread; none while the connection is held; several where each gets everything
 *  leaving        have been told to leave and have not answered: they finish what they got
 *  answer boxes   have asked the peer something, and get its answers and nothing else: by the number of the lane
 * ```
 */
export class InputRecipients {
  readonly #at: { readonly slot: number; readonly generation: number };
  readonly #input: OutboxOwner;
  readonly #owner: RecipientsOwner;
  /** False: each thread gets everything, and what one of them does not finish is not passed on. */
  readonly passesOn: boolean;
  #current: readonly EventOutbox[] = NONE;
  #leaving: readonly EventOutbox[] = NONE;
  #answerBoxes: Map<number, EventOutbox> = NO_BOXES;

  constructor(
    at: { readonly slot: number; readonly generation: number },
    input: OutboxOwner,
    owner: RecipientsOwner,
    passesOn: boolean,
  ) {
    this.#at = at;
    this.#input = input;
    this.#owner = owner;
    this.passesOn = passesOn;
  }

  get current(): readonly EventOutbox[] {
    return this.#current;
  }

  /** No thread gets the events. */
  get isHeld(): boolean {
    return this.#current.length === 0;
  }

  /** A thread that has been asked to leave is still at work on what it got. */
  get isLeaving(): boolean {
    return this.#leaving.length > 0;
  }

  /** Only what a thread may take is decoded, so that there is one. */
  get inflationBudget(): InflationBudget {
    return (this.#current[0] as EventOutbox).lane.inflation;
  }

  /** All threads that get the events have handled everything, and none that leaves is still at work. */
  get isWoundDown(): boolean {
    return !this.isHeld && !this.isLeaving && this.#current.every(({ isWoundDown }) => isWoundDown);
  }

  has(lane: EventLane): boolean {
    return this.#current.some((outbox) => outbox.lane === lane);
  }

  /** The thread has still to answer that it has left. */
  isLeavingFrom(lane: EventLane): boolean {
    return this.#leaving.some((outbox) => outbox.lane === lane);
  }

  isNoneBut(lanes: { has(lane: EventLane): boolean }): boolean {
    return !this.isHeld && this.#current.every(({ lane }) => lanes.has(lane));
  }

  /** The threads have more to take than is good for the others. @param isServed services go on for longer */
  isCrowded(isServed: boolean): boolean {
    if (isServed) return this.#current.some(({ lane }) => lane.isOvercrowded);
    if (this.#current.some(({ lane }) => lane.isCrowded)) return true;
    for (const { lane } of this.#answerBoxes.values()) if (lane.isCrowded) return true;
    return false;
  }

  /**
   * Input is taken at present.
   * @param isServed services go on while the threads take nothing, until something for them has to wait
   */
  canTake(isServed: boolean): boolean {
    if (this.#current.length === 0) return false;
    for (const { isBlocked, hasInputWaiting, lane } of this.#current) {
      if (isServed ? hasInputWaiting || lane.isOvercrowded : isBlocked || lane.isCrowded) return false;
    }
    if (this.#answerBoxes.size === 0) return true;
    for (const box of this.#answerBoxes.values()) if (box.isBlocked || box.lane.isCrowded) return false;
    return true;
  }

  /** @param midMessage what comes next is in the middle of a message, and not for this one */
  add(lane: EventLane, midMessage: boolean): EventOutbox {
    const outbox = new EventOutbox(lane, this.#at, this.#input, this.passesOn, midMessage);
    lane.countConnection(1);
    this.#current = [...this.#current, outbox];
    return outbox;
  }

  /** Asks the thread to finish what it got. False: it gets nothing. */
  askToLeave(lane: EventLane): boolean {
    const outbox = this.#current.find((each) => each.lane === lane);
    if (outbox === undefined) return false;
    this.#current = this.#current.filter((each) => each !== outbox);
    this.#leaving = [...this.#leaving, outbox];
    outbox.event(eventKind.LEAVE, EMPTY);
    return true;
  }

  /** The thread has left. Returns what it has not done with; undefined if nobody has asked it to. */
  left(lane: EventLane): RetainedInput[] | undefined {
    const outbox = this.#leaving.find((each) => each.lane === lane);
    if (outbox === undefined) return undefined;
    lane.noteConsumed();
    this.#leaving = this.#leaving.filter((each) => each !== outbox);
    return close(outbox);
  }

  /** The thread is dead. Returns what it has not done with: a list for each time that it got the events. */
  died(lane: EventLane): RetainedInput[][] {
    this.#closeAnswerBox(lane.index);
    const outboxes = [...this.#leaving, ...this.#current].filter((each) => each.lane === lane);
    this.#current = this.#current.filter((each) => each.lane !== lane);
    this.#leaving = this.#leaving.filter((each) => each.lane !== lane);
    return outboxes.map(close);
  }

  /** The thread has heard of the end. False: it gets nothing. */
  heardOfEnd(lane: EventLane): boolean {
    const outbox = this.#current.find((each) => each.lane === lane);
    if (outbox === undefined) return false;
    this.#current = this.#current.filter((each) => each !== outbox);
    close(outbox);
    return true;
  }

  /** The application has done with all it got. */
  settled(lane: EventLane): void {
    this.#current.find((each) => each.lane === lane)?.trim();
  }

  /** The thread has handled all there was and would end the connection now. */
  woundDown(lane: EventLane): void {
    for (const outbox of this.#current) if (outbox.lane === lane) outbox.isWoundDown = true;
  }

  /** Where a thread gets its answers, in order with the messages, if it gets them. Undefined: it is gone. */
  answerBox(index: number): EventOutbox | undefined {
    const known = this.#answerBoxes.get(index);
    if (known !== undefined) return known;
    const own = this.#current.find(({ lane }) => lane.index === index);
    if (own !== undefined) return own;
    const lane = this.#owner.answerLane(index);
    if (lane === undefined) return undefined;
    const box = new EventOutbox(lane, this.#at, this.#input, false, false);
    if (this.#answerBoxes === NO_BOXES) this.#answerBoxes = new Map();
    this.#answerBoxes.set(index, box);
    this.#owner.onAnswerBox();
    return box;
  }

  #closeAnswerBox(index: number): void {
    this.#answerBoxes.get(index)?.close();
    this.#answerBoxes.delete(index);
  }

  /** Nobody hears of anything any more. */
  close(): void {
    for (const outbox of [...this.#current, ...this.#leaving]) close(outbox);
    this.#current = NONE;
    this.#leaving = NONE;
    for (const index of [...this.#answerBoxes.keys()]) this.#closeAnswerBox(index);
  }
}

/** Of a thread that gets, or got, the connection's events. Returns what it has not done with. */
function close(outbox: EventOutbox): RetainedInput[] {
  outbox.lane.countConnection(-1);
  return outbox.close();
}
