import { bufferView } from '../shared/buffer-view.js';
import type { CloseReason } from '../shared/close-reason.js';
import {
  type ConnectionAddresses,
  encodeOpen,
  eventKind,
  type PartHeader,
  REDELIVERY_BYTES,
} from '../shared/event-record.js';
import {
  BUSY_BODY_BYTES,
  FRAME_HEADER_BYTES,
  FRAME_OVERHEAD_IN_LENGTH,
  frameKind,
  frameOffset,
  isAnswer,
  laneOfRequest,
} from '../shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import type { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { type ConnectionCodec, STREAM_ABOVE_BYTES } from './codec.js';
import { codecFailed } from './codec-failure.js';
import type { EventLane } from './event-lane.js';
import { EventOutbox, type OutboxOwner } from './event-outbox.js';
import type { InflationBudget } from './inflation-budget.js';
import type { RetainedInput } from './lane-trail.js';
import { PartialFrame } from './partial-frame.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';
import { leftToDo, suspectsIn } from './unfinished-input.js';
import { frameEnd } from './whole-frames.js';

const EMPTY: Buffer = Buffer.alloc(0);

const NOTHING_OVERTAKEN: ReadonlySet<number> = new Set();

/** In place of what most connections never need: there are thousands of them. Nothing is ever added to these. */
const NO_BOXES = new Map<never, never>();
const NONE: readonly never[] = [];

/** Where answers go that nobody waits for. */
const NO_LANE = -1;

const SHORT_BYTES = 48;

/** A connection that has closed waits so long for what its codec is still at work on. */
const MAX_CODEC_WAIT_MS = 1000;

/** What comes behind the input. */
const tailEvent = { END: 1, WIND_DOWN: 2, CLOSE: 4 } as const;
const TAIL_EVENTS = Object.values(tailEvent);

/**
 * Messages that a codec finds one by one, on their way into one record. It is empty outside of `decode`, so that all connections
 * can have the same one.
 */
const batch: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

/** The services of the connection: what comes is theirs first. */
export interface InputServices {
  readonly takesMessages: boolean;
  /** Calls of one `decode` follow, until `end`. */
  begin(): void;
  end(): void;
  /** True: it is handled, and goes no further. */
  message(data: Buffer): boolean;
  /** A service gets system messages of that kind. */
  takesKind(kind: number): boolean;
  /** False: none does, any more. */
  system(kind: number, data: Buffer): boolean;
}

/** What an input tells its connection. */
export interface InputOwner {
  /** `count` messages have been received. */
  onMessages(count: number): void;
  /** All that was received has been decoded, and the end is next. */
  onInputEnded(): void;
  /** Bytes that have been decoded are not taken, or again: read no more. */
  onBlocked(blocked: boolean): void;
  /** Something came that nobody here is interested in. */
  onIgnored(kind?: number): void;
  /** The lane of that number, if there is one: its thread is about to get answers. */
  answerLane(index: number): EventLane | undefined;
  /** The thread with that lane has asked the peer something. */
  hasAsked(lane: number): boolean;
  /** From now on that lane may be one on whose account the socket is not read. */
  onAnswerBox(): void;
  /** The peer broke the rules, or the codec is at fault. */
  onBadInput(reason: CloseReason, error: ReactorError): void;
  /** The application has heard of the end: nothing refers to the connection any more. */
  onOver(): void;
  messagesDone(): number;
}

/**
 * The way from the socket to the event rings: decodes, hands the messages to the threads that get the connection's events,
 * keeps what they have not finished, and passes it on when one of them leaves or dies.
 *
 * Usually that is one thread. There is none while the connection is held for one to come; and there are several for a server
 * that dispatches to all.
 */
export class ConnectionInput implements OutboxOwner {
  readonly #at: { readonly slot: number; readonly generation: number };
  readonly #owner: InputOwner;
  readonly #wheel: TimingWheel;
  #codec: ConnectionCodec | undefined;
  readonly #addresses: ConnectionAddresses;
  readonly #origin: number;
  readonly #attempt: number;
  readonly #isAgain: boolean;
  /** False: each thread gets everything, and what one of them does not finish is not passed on. */
  readonly #passesOn: boolean;

  #outboxes: readonly EventOutbox[] = NONE;
  /** They have been told to leave and have not answered. */
  #leaving: readonly EventOutbox[] = NONE;
  /** Of threads that have asked the peer something and do not get the connection's messages: by the number of the lane. */
  #answerBoxes: Map<number, EventOutbox> = NO_BOXES;
  #announced = false;
  /** Received and not decoded. */
  #input: Buffer = EMPTY;
  /** Not finished by the thread before. */
  #unfinished: readonly RetainedInput[] = NONE;
  /** Messages decoded so far, as a counter that wraps. */
  #messages = 0;
  /** Between the first and the last piece of a long message, and where they go if it is an answer. */
  #partsLeft = 0;
  #partLane: number | undefined;
  /** Bytes and messages in `batch`, while something is decoded. */
  #batchBytes = 0;
  #batchCount = 0;
  #decoding = false;
  /** What is decoded. */
  #reading: ArrayBufferLike | undefined;
  /** The codec can go on with what it has, whether more has come or not; or something it gave was not taken. */
  #resumed = false;
  #closeDeadline: Deadline | undefined;
  /** What waits behind the input, and what of it has been told. */
  #tail = 0;
  #told = 0;
  #closePayload: Buffer = EMPTY;
  #pumping = false;
  #blocked = true;
  /** The peer broke the rules. */
  #failed = false;
  #discards = false;
  /** Bytes and messages that have been decoded. */
  #moved = 0;
  #hasWhole = false;
  /** What the peer has said of its end. */
  #goodbye: Buffer | undefined;
  #services: InputServices | undefined;
  /** A long message that is put together for them. */
  readonly #assembled = new PartialFrame();
  #assembledTotal = 0;
  /** A service has the connection in hand. */
  #isServing = false;
  /** It has ended the connection: that happens when the codec has returned. */
  #halt: (() => void) | undefined;

  constructor(
    at: { readonly slot: number; readonly generation: number },
    owner: InputOwner,
    about: { addresses: ConnectionAddresses; origin: number; attempt: number; isAgain?: boolean; passesOn: boolean },
    wheel: TimingWheel,
  ) {
    this.#wheel = wheel;
    this.#at = at;
    this.#owner = owner;
    this.#addresses = about.addresses;
    this.#origin = about.origin;
    this.#attempt = about.attempt;
    this.#isAgain = about.isAgain === true;
    this.#passesOn = about.passesOn;
  }

  /** Nothing is received before. */
  start(codec: ConnectionCodec): void {
    this.#codec = codec;
  }

  /** Nothing is received before. */
  serveWith(services: InputServices): void {
    this.#services = services;
  }

  /** A service ends the connection in the middle of what is decoded: the rest is dropped, then `end` runs. False: it is not so. */
  halt(end: () => void): boolean {
    if (!this.#isServing) return false;
    this.#halt ??= end;
    return true;
  }

  /** It is about to end: nothing can be sent any more. */
  get isHalted(): boolean {
    return this.#halt !== undefined;
  }

  /** No thread gets its events. */
  get isHeld(): boolean {
    return this.#outboxes.length === 0;
  }

  /** A thread that has been asked to leave is still at work on what it got. */
  get isLeaving(): boolean {
    return this.#leaving.length > 0;
  }

  get isOnCrowdedLane(): boolean {
    if (this.#services !== undefined) return this.#outboxes.some(({ lane }) => lane.isOvercrowded);
    if (this.#outboxes.some(({ lane }) => lane.isCrowded)) return true;
    for (const { lane } of this.#answerBoxes.values()) if (lane.isCrowded) return true;
    return false;
  }

  /** Only what a thread may take is decoded, so that there is one. */
  get inflationBudget(): InflationBudget {
    return (this.#outboxes[0] as EventOutbox).lane.inflation;
  }

  /** Grows with everything that comes for the application. */
  get moved(): number {
    return this.#moved;
  }

  /** A whole frame has come, of whatever kind. */
  get hasReceivedFrame(): boolean {
    return this.#hasWhole || this.#codec?.hasReceivedFrame === true;
  }

  /** Asks the peer for a sign of life. False: too much waits already, or the codec knows no pings. */
  ping(clock: number): boolean {
    return this.#codec?.ping?.(clock) === true;
  }

  /** This side's application has stood still for so long; 0: it goes on. */
  sayBusy(stallMs: number): void {
    this.#codec?.busy?.(stallMs);
  }

  isOnNoneBut(lanes: { has(lane: EventLane): boolean }): boolean {
    return this.#outboxes.length > 0 && this.#outboxes.every(({ lane }) => lanes.has(lane));
  }

  /** This side is about to end. */
  sayGoodbye(reason: CloseReason): void {
    this.#codec?.goodbye?.(reason);
  }

  /** In the middle of a long message, with enough of it in the ring. */
  get isAheadOfItself(): boolean {
    return this.#partsLeft > 0 && this.#outboxes.some(({ lane }) => lane.isFullOfParts);
  }

  /** A lane is not crowded any more. */
  eased(): void {
    if (this.#blocked || this.#resumed || this.#tail !== 0) this.#pump();
  }

  isOn(lane: EventLane): boolean {
    return this.#outboxes.some((outbox) => outbox.lane === lane);
  }

  /** The thread has still to answer that it has left. */
  isLeavingFrom(lane: EventLane): boolean {
    return this.#leaving.some((outbox) => outbox.lane === lane);
  }

  /** Nobody takes what comes. */
  get isDropped(): boolean {
    return this.#discards;
  }

  /** All threads that get the events have handled everything, and none that leaves is still at work. */
  get isWoundDown(): boolean {
    if (this.#outboxes.length === 0 || this.#leaving.length > 0) return false;
    return this.#outboxes.every((outbox) => outbox.isWoundDown);
  }

  /** Nobody will take any more of it: what comes is dropped, and the end is the end. */
  discard(): void {
    this.#discards = true;
    // The codec goes on: what has been sent is still to be encoded.
    this.#input = EMPTY;
    this.#resumed = false;
    this.#unfinished = NONE;
    this.#pump();
  }

  /** A thread gets the events from now on: first all that its predecessor has not finished. */
  attach(lane: EventLane): void {
    const midMessage = !this.#passesOn && this.#partsLeft > 0 && this.#partLane === undefined;
    const outbox = new EventOutbox(lane, this.#at, this, this.#passesOn, midMessage);
    lane.countConnection(1);
    this.#outboxes = [...this.#outboxes, outbox];
    const handedOver = this.#announced;
    const attempt = handedOver ? 0 : this.#attempt;
    this.#announced = true;
    const reconnected = this.#isAgain && !handedOver;
    const news = { origin: this.#origin, attempt, handedOver, reconnected };
    outbox.event(eventKind.OPEN, encodeOpen(this.#addresses, news));
    const unfinished = this.#unfinished;
    this.#unfinished = NONE;
    this.#announceRedelivery(outbox, unfinished);
    for (const input of unfinished) outbox.resume(input);
    if (this.#goodbye !== undefined) outbox.event(eventKind.GOODBYE, this.#goodbye);
    for (const event of TAIL_EVENTS) if ((this.#told & event) !== 0) this.#tell(outbox, event);
    this.#pump();
  }

  /** Asks the thread to finish what it got. True: `released` follows. */
  leave(lane: EventLane): boolean {
    const outbox = this.#outboxes.find((each) => each.lane === lane);
    // It has got everything already; what is left is its answer to CLOSE.
    if (outbox === undefined || (this.#told & tailEvent.CLOSE) !== 0) return false;
    this.#outboxes = this.#outboxes.filter((each) => each !== outbox);
    this.#leaving = [...this.#leaving, outbox];
    outbox.event(eventKind.LEAVE, EMPTY);
    this.#pump();
    return true;
  }

  /**
   * The thread has finished what it wanted to.
   * @param overtaken messages that it has done with, too: by their place among those that it has not finished
   */
  released(lane: EventLane, overtaken: ReadonlySet<number> = NOTHING_OVERTAKEN): boolean {
    const outbox = this.#leaving.find((each) => each.lane === lane);
    if (outbox === undefined) return false;
    lane.noteConsumed();
    this.#leaving = this.#leaving.filter((each) => each !== outbox);
    this.#takeBack(outbox, false, overtaken);
    this.#checkOver();
    return true;
  }

  /** The thread is dead, and its lane has been retired. True if it had to do with this connection. */
  laneDied(lane: EventLane): boolean {
    this.#closeAnswerBox(lane.index);
    const outboxes = [...this.#leaving, ...this.#outboxes].filter((each) => each.lane === lane);
    this.#outboxes = this.#outboxes.filter((each) => each.lane !== lane);
    this.#leaving = this.#leaving.filter((each) => each.lane !== lane);
    for (const outbox of outboxes) this.#takeBack(outbox, true);
    // Others may have waited for its ring only.
    this.#pump();
    // Where all get everything, nobody else has to hear of the close in its place.
    if (!this.#passesOn) this.#checkOver();
    return outboxes.length > 0;
  }

  /** The thread's application has heard of the close. */
  closeDone(lane: EventLane): void {
    const outbox = this.#outboxes.find((each) => each.lane === lane);
    if (outbox === undefined || (this.#told & tailEvent.CLOSE) === 0) return;
    this.#outboxes = this.#outboxes.filter((each) => each !== outbox);
    this.#closeBox(outbox);
    this.#checkOver();
  }

  /** Everybody who was told of the close has heard of it, and nobody has still to answer anything. */
  #checkOver(): void {
    const isTold = (this.#told & tailEvent.CLOSE) !== 0;
    if (isTold && this.#outboxes.length === 0 && this.#leaving.length === 0) this.#owner.onOver();
  }

  /** The application has done with all it got. */
  settled(lane: EventLane): void {
    this.#outboxes.find((each) => each.lane === lane)?.trim();
  }

  /** The thread has handled all there was and would end the connection now. */
  woundDown(lane: EventLane): void {
    for (const outbox of this.#outboxes) if (outbox.lane === lane) outbox.isWoundDown = true;
  }

  // ---- what happens to the connection ----

  received(bytes: Uint8Array, length: number): void {
    if (this.#discards) return;
    const isFree = this.#input.length === 0 && !this.#resumed && !this.#isWaiting && this.#canDeliver();
    const decoded = isFree ? this.#decode(bytes, length) : 0;
    if (decoded < length) {
      const rest = bytes.subarray(decoded, length);
      this.#input = this.#input.length === 0 ? Buffer.from(rest) : Buffer.concat([this.#input, rest]);
    }
    this.#updateBlocked();
  }

  ended(): void {
    this.#raise(tailEvent.END);
  }

  windDown(): void {
    this.#raise(tailEvent.WIND_DOWN);
  }

  /** @param waits what the codec has still to give comes first */
  closed(payload: Buffer, waits = true): void {
    this.#closePayload = payload;
    if (!waits && this.#isWaiting) this.#drop();
    else if (this.#isWaiting) {
      this.#closeDeadline = new Deadline(() => {
        this.#drop();
        this.#pump();
      });
      this.#wheel.set(this.#closeDeadline, MAX_CODEC_WAIT_MS);
    }
    this.#raise(tailEvent.CLOSE);
  }

  // ---- the codec's: see CodecChannel and ConnectionChannel ----

  message(bytes: Uint8Array, start: number, end: number, kind: number = frameKind.DATA): boolean {
    if (kind === frameKind.DATA && this.#services?.takesMessages === true) {
      // Room for it first: a service must not get it twice because it could not be passed on then.
      const length = end - start;
      const isLong = length > STREAM_ABOVE_BYTES;
      if (isLong || this.#batchBytes + FRAME_HEADER_BYTES + length > batch.length) this.#flushBatch();
      if (!this.#takes()) return false;
      if (this.#serve(viewOf(bytes, start, end))) return true;
    }
    return this.#pass(bytes, start, end, kind);
  }

  #pass(bytes: Uint8Array, start: number, end: number, kind: number): boolean {
    const length = end - start;
    if (length > STREAM_ABOVE_BYTES) return this.#longMessage(bytes, start, end, kind);
    if (this.#batchBytes + FRAME_HEADER_BYTES + length > batch.length) this.#flushBatch();
    if (!this.#takes()) return false;
    const at = this.#batchBytes;
    batch.writeUInt32LE(length + FRAME_OVERHEAD_IN_LENGTH, at + frameOffset.LENGTH);
    batch[at + frameOffset.KIND] = kind;
    batch[at + frameOffset.FLAGS] = 0;
    const until = at + FRAME_HEADER_BYTES + length;
    if (isAnswer(kind)) {
      batch.set(bytes.subarray(start, end), at + FRAME_HEADER_BYTES);
      return this.answers(batch, at, until, laneOfRequest(readU32(bytes, start)));
    }
    copyShort(bytes, start, end, batch, at + FRAME_HEADER_BYTES);
    this.#batchBytes = until;
    this.#batchCount++;
    if (!this.#decoding) this.#flushBatch();
    return true;
  }

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    this.#flushBatch();
    if (this.#services?.takesMessages === true) return this.#serveFrames(bytes, start, end);
    return this.#deliver(eventKind.MESSAGES, count, bytes, start, end);
  }

  chunk(bytes: Uint8Array, start: number, end: number): boolean {
    if (this.#services?.takesMessages === true) {
      if (!this.#takes()) return false;
      if (this.#serve(viewOf(bytes, start, end))) return true;
    }
    return this.#deliver(eventKind.CHUNK, 1, bytes, start, end);
  }

  answers(bytes: Uint8Array, start: number, end: number, lane: number): boolean {
    this.#flushBatch();
    if (!this.#takes()) return false;
    if (!this.#owner.hasAsked(lane)) {
      this.#owner.onIgnored();
      return true;
    }
    this.#noteMoved(1, end - start);
    this.#answerBox(lane)?.answer(eventKind.ANSWERS, bytes, start, end);
    return true;
  }

  partFirst(
    length: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    kind: number = frameKind.DATA,
    isStable = false,
  ): boolean {
    this.#flushBatch();
    if (!this.#takes()) return false;
    if (kind === frameKind.DATA && this.#services?.takesMessages === true) {
      this.#assembledTotal = length;
      return this.#assemble(bytes, start, end);
    }
    return this.#passFirst(length, bytes, start, end, kind, isStable);
  }

  #passFirst(length: number, bytes: Uint8Array, start: number, end: number, kind: number, isStable: boolean): boolean {
    if (!this.#takes()) return false;
    this.#partLane = isAnswer(kind) ? laneOfRequest(readU32(bytes, start)) : undefined;
    if (this.#partLane !== undefined && !this.#owner.hasAsked(this.#partLane)) {
      this.#partLane = NO_LANE;
      this.#owner.onIgnored();
    }
    const header = { length, kind };
    if (this.#partLane === undefined) this.#put(eventKind.PART_FIRST, 1, bytes, start, end, header, isStable);
    else this.#answerBox(this.#partLane)?.answer(eventKind.ANSWER_FIRST, bytes, start, end, header, isStable);
    if (this.#partLane !== undefined) this.#noteMoved(0, end - start);
    this.#partsLeft = length - (end - start);
    return true;
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#takes()) return false;
    if (this.#assembledTotal > 0) return this.#assemble(bytes, start, end);
    this.#putPart(bytes, start, end, false);
    return true;
  }

  goodbye(reason: string): boolean {
    this.#flushBatch();
    if (!this.#takes()) return false;
    this.#goodbye = Buffer.from(reason);
    for (const outbox of this.#outboxes) outbox.event(eventKind.GOODBYE, this.#goodbye);
    return true;
  }

  busy(stallMs: number): boolean {
    this.#flushBatch();
    if (!this.#takes()) return false;
    const payload = Buffer.alloc(BUSY_BODY_BYTES);
    payload.writeUInt32LE(stallMs);
    for (const outbox of this.#outboxes) outbox.event(eventKind.BUSY, payload);
    return true;
  }

  takesKind(kind: number): boolean {
    return this.#services?.takesKind(kind) === true;
  }

  /** `bytes[start, end)` is the body of a system message. */
  system(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    this.#flushBatch();
    if (!this.#takes()) return false;
    this.#isServing = true;
    const isTaken = this.#services?.system(kind, viewOf(bytes, start, end)) === true;
    this.#isServing = false;
    if (isTaken) this.#noteMoved(1, end - start);
    else this.ignored(kind);
    return true;
  }

  ignored(kind?: number): void {
    this.#owner.onIgnored(kind);
  }

  /** What is left undecoded is dropped. */
  fail(reason: CloseReason, error: ReactorError): void {
    this.#flushBatch();
    this.#failed = true;
    this.#drop();
    this.#owner.onBadInput(reason, error);
    // It may have been closed before, and have waited for the codec.
    this.#pump();
  }

  resume(): void {
    if (this.#failed || this.#discards || this.#codec === undefined) return;
    this.#resumed = true;
    this.#pump();
  }

  // ---- the outboxes' ----

  messagesDone(): number {
    return this.#owner.messagesDone();
  }

  onUnblocked(): void {
    this.#pump();
  }

  // ----

  /** The codec has taken more than it can give, and is going to call `resume`. */
  get #isWaiting(): boolean {
    return !this.#failed && !this.#discards && this.#codec?.isWaiting === true;
  }

  /** What the codec gives now can be taken. If not, it may hold on to that, and is asked again even if no byte is left. */
  #takes(): boolean {
    if (this.#canDeliver()) return true;
    this.#resumed = true;
    return false;
  }

  #canDeliver(): boolean {
    if (this.#outboxes.length === 0 || this.#halt !== undefined) return false;
    // Services go on while the threads take nothing, until something for them has to wait.
    const isServed = this.#services !== undefined;
    for (const { isBlocked, hasInputWaiting, lane } of this.#outboxes) {
      if (isServed ? hasInputWaiting || lane.isOvercrowded : isBlocked || lane.isCrowded) return false;
    }
    if (this.#answerBoxes.size === 0) return true;
    for (const box of this.#answerBoxes.values()) if (box.isBlocked || box.lane.isCrowded) return false;
    return true;
  }

  #deliver(kind: number, count: number, bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#takes()) return false;
    this.#put(kind, count, bytes, start, end);
    return true;
  }

  /** @param isStable the bytes do not change any more: they need not be copied if they have to wait */
  #put(
    kind: number,
    count: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    part?: PartHeader,
    isStable = false,
  ): void {
    this.#messages = (this.#messages + count) | 0;
    this.#noteMoved(part === undefined ? count : 0, end - start);
    for (const outbox of this.#outboxes) outbox.input(kind, this.#messages, bytes, start, end, part, isStable);
    if (count > 0) this.#owner.onMessages(count);
  }

  #putPart(bytes: Uint8Array, start: number, end: number, isStable: boolean): void {
    if (this.#partLane === undefined) this.#put(eventKind.PART, 0, bytes, start, end, undefined, isStable);
    else this.#answerBox(this.#partLane)?.answer(eventKind.ANSWER_PART, bytes, start, end, undefined, isStable);
    if (this.#partLane !== undefined) this.#noteMoved(0, end - start);
    this.#partsLeft -= end - start;
    if (this.#partsLeft === 0) this.#hasWhole = true;
  }

  #noteMoved(messages: number, bytes: number): void {
    this.#moved += messages + bytes;
    if (messages > 0) this.#hasWhole = true;
  }

  // ---- what services get ----

  /** True: it goes no further. */
  #serve(message: Buffer): boolean {
    this.#isServing = true;
    const isHandled = this.#services?.message(message) === true;
    this.#isServing = false;
    const isHalted = this.#halt !== undefined;
    if (isHandled) {
      this.#noteMoved(1, message.length);
      this.#owner.onMessages(1);
    }
    // A codec may give something of its own accord.
    if (isHalted && !this.#decoding) this.#endHalt();
    return isHandled || isHalted;
  }

  /** Whole frames: what no service handles goes on, in runs that are as long as they can be. */
  #serveFrames(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#takes()) return false;
    const memory = bytes.buffer;
    let from = start;
    let count = 0;
    for (let at = start; at < end && this.#halt === undefined; ) {
      const next = frameEnd(bytes, at);
      const isData = bytes[at + frameOffset.KIND] === frameKind.DATA;
      if (isData && this.#serve(viewOf(bytes, at + FRAME_HEADER_BYTES, next, memory))) {
        if (count > 0) this.#put(eventKind.MESSAGES, count, bytes, from, at);
        count = 0;
        from = next;
      } else count++;
      at = next;
    }
    if (count > 0) this.#put(eventKind.MESSAGES, count, bytes, from, end);
    return true;
  }

  /** More of a long message: when it is whole, the services get it, then perhaps the threads. */
  #assemble(bytes: Uint8Array, start: number, end: number): boolean {
    this.#assembled.append(bytes, start, end, this.#assembledTotal);
    if (this.#assembled.length < this.#assembledTotal) return true;
    const whole = this.#assembled.bytes;
    this.#assembled.clear();
    this.#assembledTotal = 0;
    return this.#serve(viewOf(whole, 0, whole.length)) || this.#pass(whole, 0, whole.length, frameKind.DATA);
  }

  /** The codec has returned. */
  #endHalt(): void {
    const end = this.#halt;
    if (end === undefined) return;
    this.#halt = undefined;
    this.#drop();
    end();
  }

  /** Hands on a message that is whole and needs more than one record. What does not fit the ring waits, uncopied. */
  #longMessage(bytes: Uint8Array, start: number, end: number, kind: number): boolean {
    let at = start + STREAM_ABOVE_BYTES;
    // Of the codec's own it stays as it is; what was read is overwritten by the next read.
    const isStable = bytes.buffer !== this.#reading;
    this.#flushBatch();
    if (!this.#passFirst(end - start, bytes, start, at, kind, isStable)) return false;
    for (; at < end; at += STREAM_ABOVE_BYTES) {
      this.#putPart(bytes, at, Math.min(end, at + STREAM_ABOVE_BYTES), isStable);
    }
    return true;
  }

  /** What is in it was taken, so that it is delivered, if need be by having it wait. */
  #flushBatch(): void {
    const count = this.#batchCount;
    if (count === 0) return;
    this.#batchCount = 0;
    const end = this.#batchBytes;
    this.#batchBytes = 0;
    this.#put(eventKind.MESSAGES, count, batch, 0, end);
  }

  /** Undefined: the thread that has asked is gone. */
  #answerBox(index: number): EventOutbox | undefined {
    if (index === NO_LANE) return undefined;
    const known = this.#answerBoxes.get(index);
    if (known !== undefined) return known;
    // In order with the messages, if it gets them.
    const own = this.#outboxes.find(({ lane }) => lane.index === index);
    if (own !== undefined) return own;
    const lane = this.#owner.answerLane(index);
    if (lane === undefined) return undefined;
    const box = new EventOutbox(lane, this.#at, this, false, false);
    if (this.#answerBoxes === NO_BOXES) this.#answerBoxes = new Map();
    this.#answerBoxes.set(index, box);
    this.#owner.onAnswerBox();
    return box;
  }

  #closeAnswerBox(index: number): void {
    this.#answerBoxes.get(index)?.close();
    this.#answerBoxes.delete(index);
  }

  /** Of a thread that gets, or got, the connection's events. Returns what it has not done with. */
  #closeBox(outbox: EventOutbox): RetainedInput[] {
    outbox.lane.countConnection(-1);
    return outbox.close();
  }

  /** Nothing is decoded any more. */
  #drop(): void {
    this.#input = EMPTY;
    this.#resumed = false;
    this.#closeCodec();
  }

  #closeCodec(): void {
    if (this.#closeDeadline !== undefined) this.#wheel.clear(this.#closeDeadline);
    const codec = this.#codec;
    this.#codec = undefined;
    codec?.close?.();
  }

  #raise(event: number): void {
    this.#tail |= event;
    this.#pump();
  }

  /** Decodes what waits as far as it is taken, then tells what is behind it. */
  #pump(): void {
    // What comes up while it runs (bad input closes the connection) takes its place behind.
    if (this.#pumping) return;
    this.#pumping = true;
    while ((this.#input.length > 0 || this.#resumed) && !this.#isWaiting && this.#canDeliver()) {
      this.#resumed = false;
      // Not more at once than one read would bring: that is sure to fit a record.
      const decoded = this.#decode(this.#input, Math.min(this.#input.length, READ_BUFFER_BYTES));
      this.#input = this.#failed ? EMPTY : this.#input.subarray(decoded);
    }
    if (this.#discards && (this.#tail & tailEvent.CLOSE) !== 0) {
      this.abandon();
      this.#owner.onOver();
    }
    for (const event of TAIL_EVENTS) {
      if (this.#input.length > 0 || this.#resumed || this.#isWaiting) break;
      if (this.#outboxes.length === 0 || (this.#tail & event) === 0) continue;
      if (event === tailEvent.END) this.#owner.onInputEnded();
      this.#tail &= ~event;
      this.#told |= event;
      for (const outbox of this.#outboxes) this.#tell(outbox, event);
    }
    this.#pumping = false;
    this.#updateBlocked();
  }

  #tell(outbox: EventOutbox, event: number): void {
    if (event === tailEvent.END) outbox.event(eventKind.END, EMPTY);
    else if (event === tailEvent.WIND_DOWN) outbox.event(eventKind.WIND_DOWN, EMPTY);
    else {
      this.#closeCodec();
      outbox.event(eventKind.CLOSE, this.#closePayload);
    }
  }

  #decode(bytes: Uint8Array, length: number): number {
    if (this.#services === undefined) return this.#tryDecode(bytes, length);
    this.#services.begin();
    const decoded = this.#tryDecode(bytes, length);
    this.#services.end();
    if (this.#halt === undefined) return decoded;
    this.#endHalt();
    return length;
  }

  /** Whatever a peer sends, and whatever defect it may uncover, ends this connection at worst. */
  #tryDecode(bytes: Uint8Array, length: number): number {
    const codec = this.#codec;
    if (codec === undefined) return length;
    this.#decoding = true;
    this.#reading = bytes.buffer;
    try {
      const decoded = codec.decode(bytes, 0, length);
      this.#flushBatch();
      if (this.#failed || this.#halt !== undefined) return length;
      if (!(decoded >= 0 && decoded <= length)) throw new Error(`decode() returned ${String(decoded)}`);
      if (decoded < length && !this.#isWaiting && this.#canDeliver()) {
        throw new Error('decode() returned before the end, though every message was taken and isWaiting is not true');
      }
      return decoded;
    } catch (error) {
      this.fail('protocol-error', codecFailed(error));
      return length;
    } finally {
      this.#decoding = false;
      this.#reading = undefined;
    }
  }

  #updateBlocked(): void {
    const blocked = !this.#discards && (this.#input.length > 0 || !this.#canDeliver());
    if (blocked === this.#blocked) return;
    this.#blocked = blocked;
    this.#owner.onBlocked(blocked);
  }

  /** What the thread of an outbox has not finished is for who comes next. */
  #takeBack(outbox: EventOutbox, died: boolean, overtaken: ReadonlySet<number> = NOTHING_OVERTAKEN): void {
    const unfinished = this.#closeBox(outbox);
    if (!this.#passesOn) return;
    const { left, removed } = leftToDo(unfinished, { done: this.messagesDone(), overtaken, died });
    this.#unfinished = [...this.#unfinished, ...left];
    // Who comes next counts only what it gets.
    this.#messages = (this.#messages - removed) | 0;
  }

  #announceRedelivery(outbox: EventOutbox, unfinished: readonly RetainedInput[]): void {
    const suspects = suspectsIn(unfinished);
    if (suspects === 0) return;
    const payload = Buffer.alloc(REDELIVERY_BYTES);
    payload.writeUInt32LE(suspects);
    outbox.event(eventKind.REDELIVERY, payload);
  }

  /** What the peer would have left incomplete if it ended now. */
  incomplete(): string | undefined {
    return this.#codec?.incomplete();
  }

  /** Nobody will hear of its end. */
  abandon(): void {
    for (const outbox of [...this.#outboxes, ...this.#leaving]) this.#closeBox(outbox);
    this.#outboxes = NONE;
    this.#leaving = NONE;
    for (const index of [...this.#answerBoxes.keys()]) this.#closeAnswerBox(index);
    this.#unfinished = NONE;
    this.#drop();
  }
}

/** @param memory is worth asking for only once */
function viewOf(bytes: Uint8Array, start: number, end: number, memory: ArrayBufferLike = bytes.buffer): Buffer {
  return bufferView(memory, bytes.byteOffset + start, end - start);
}

/** Short messages are many, and a loop is cheaper than two subarrays. */
function copyShort(source: Uint8Array, start: number, end: number, target: Uint8Array, offset: number): void {
  if (end - start > SHORT_BYTES) target.set(source.subarray(start, end), offset);
  else for (let i = start; i < end; i++) target[offset + i - start] = source[i] as number;
}
