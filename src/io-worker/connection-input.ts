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
  frameKind,
  frameOffset,
  isAnswer,
  laneOfRequest,
} from '../shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import type { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { type ConnectionCodec, STREAM_ABOVE_BYTES } from './codec.js';
import { decodingFailed } from './codec-failure.js';
import type { EventLane } from './event-lane.js';
import type { EventOutbox, OutboxOwner } from './event-outbox.js';
import { InputRecipients, type RecipientsOwner } from './input-recipients.js';
import type { RetainedInput } from './lane-trail.js';
import { type BatchOwner, MessageBatch } from './message-batch.js';
import { PartialFrame } from './partial-frame.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';
import { leftToDo, messagesIn, suspectsIn } from './unfinished-input.js';
import { frameEnd } from './whole-frames.js';

const EMPTY: Buffer = Buffer.alloc(0);

const NOTHING_OVERTAKEN: ReadonlySet<number> = new Set();

/** In place of a list that most connections never need: there are thousands of them. */
const NONE: readonly never[] = [];

/** Where answers go that nobody waits for. */
const NO_LANE = -1;

/** A connection that has closed waits so long for what its codec is still at work on. */
const MAX_CODEC_WAIT_MS = 1000;

/** What comes behind the input. */
const tailEvent = { END: 1, WIND_DOWN: 2, CLOSE: 4 } as const;
const TAIL_EVENTS = Object.values(tailEvent);

const batch = new MessageBatch();

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
export interface InputOwner extends RecipientsOwner {
  /** `count` messages have been received. */
  onMessages(count: number): void;
  /** All that was received has been decoded, and the end is next. */
  onInputEnded(): void;
  /** Bytes that have been decoded are not taken, or again: read no more. */
  onBlocked(blocked: boolean): void;
  /** Something came that nobody here is interested in. */
  onIgnored(kind?: number): void;
  /** The thread with that lane has asked the peer something. */
  hasAsked(lane: number): boolean;
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
export class ConnectionInput implements OutboxOwner, BatchOwner {
  readonly recipients: InputRecipients;
  readonly #owner: InputOwner;
  readonly #wheel: TimingWheel;
  #codec: ConnectionCodec | undefined;
  readonly #addresses: ConnectionAddresses;
  readonly #origin: number;
  readonly #attempt: number;
  readonly #isAgain: boolean;
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
  #lostMessages = 0;
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
    this.recipients = new InputRecipients(at, this, owner, about.passesOn);
    this.#owner = owner;
    this.#addresses = about.addresses;
    this.#origin = about.origin;
    this.#attempt = about.attempt;
    this.#isAgain = about.isAgain === true;
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

  /** The threads have more to take than is good for the others. */
  get isOnCrowdedLane(): boolean {
    return this.recipients.isCrowded(this.#services !== undefined);
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

  /** This side is about to end. */
  sayGoodbye(reason: CloseReason): void {
    this.#codec?.goodbye?.(reason);
  }

  /** In the middle of a long message, with enough of it in the ring. */
  get isAheadOfItself(): boolean {
    return this.#partsLeft > 0 && this.recipients.current.some(({ lane }) => lane.isFullOfParts);
  }

  /** A lane is not crowded any more. */
  eased(): void {
    if (this.#blocked || this.#resumed || this.#tail !== 0) this.#pump();
  }

  /** Nobody takes what comes. */
  get isDropped(): boolean {
    return this.#discards;
  }

  /** Nobody will take any more of it: what comes is dropped, and the end is the end. */
  discard(): void {
    this.#discards = true;
    // The codec goes on: what has been sent is still to be encoded.
    this.#input = EMPTY;
    this.#resumed = false;
    this.#loseUnfinished();
    this.#pump();
  }

  /** Messages that a thread has had and not finished, and that no other thread came for. */
  get lostMessages(): number {
    return this.#lostMessages;
  }

  #loseUnfinished(): void {
    this.#lostMessages += messagesIn(this.#unfinished);
    this.#unfinished = NONE;
  }

  /** A thread gets the events from now on: first all that its predecessor has not finished. */
  attach(lane: EventLane): void {
    const midMessage = !this.recipients.passesOn && this.#partsLeft > 0 && this.#partLane === undefined;
    const outbox = this.recipients.add(lane, midMessage);
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
    // It has got everything already; what is left is its answer to CLOSE.
    if ((this.#told & tailEvent.CLOSE) !== 0 || !this.recipients.askToLeave(lane)) return false;
    this.#pump();
    return true;
  }

  /**
   * The thread has finished what it wanted to.
   * @param overtaken messages that it has done with, too: by their place among those that it has not finished
   */
  released(lane: EventLane, overtaken: ReadonlySet<number> = NOTHING_OVERTAKEN): boolean {
    const unfinished = this.recipients.left(lane);
    if (unfinished === undefined) return false;
    this.#takeBack(unfinished, false, overtaken);
    this.#checkOver();
    return true;
  }

  /** The thread is dead, and its lane has been retired. True if it had to do with this connection. */
  laneDied(lane: EventLane): boolean {
    const unfinished = this.recipients.died(lane);
    for (const each of unfinished) this.#takeBack(each, true);
    // Others may have waited for its ring only.
    this.#pump();
    // Where all get everything, nobody else has to hear of the close in its place.
    if (!this.recipients.passesOn) this.#checkOver();
    return unfinished.length > 0;
  }

  /** The thread's application has heard of the close. */
  closeDone(lane: EventLane): void {
    if ((this.#told & tailEvent.CLOSE) !== 0 && this.recipients.heardOfEnd(lane)) this.#checkOver();
  }

  /** Everybody who was told of the close has heard of it, and nobody has still to answer anything. */
  #checkOver(): void {
    const isTold = (this.#told & tailEvent.CLOSE) !== 0;
    const { isHeld, isLeaving } = this.recipients;
    if (isTold && isHeld && !isLeaving) this.#owner.onOver();
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
    this.#codec?.peerEnded?.();
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
      if (isLong || !batch.hasRoomFor(length)) batch.flush();
      if (!this.#takes()) return false;
      if (this.#serve(viewOf(bytes, start, end))) return true;
    }
    return this.#pass(bytes, start, end, kind);
  }

  #pass(bytes: Uint8Array, start: number, end: number, kind: number): boolean {
    const length = end - start;
    if (length > STREAM_ABOVE_BYTES) return this.#longMessage(bytes, start, end, kind);
    if (!batch.hasRoomFor(length)) batch.flush();
    if (!this.#takes()) return false;
    if (isAnswer(kind)) {
      const frame = batch.frameOf(kind, bytes, start, end);
      return this.answers(frame, 0, frame.length, laneOfRequest(readU32(bytes, start)));
    }
    batch.add(this, kind, bytes, start, end);
    if (!this.#decoding) batch.flush();
    return true;
  }

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    batch.flush();
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
    batch.flush();
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
    batch.flush();
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
    if (this.#partsLeft === 0) this.#hasWhole = true;
    return true;
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    if (!this.#takes()) return false;
    if (this.#assembledTotal > 0) return this.#assemble(bytes, start, end);
    this.#putPart(bytes, start, end, false);
    return true;
  }

  goodbye(reason: string): boolean {
    batch.flush();
    if (!this.#takes()) return false;
    this.#goodbye = Buffer.from(reason);
    for (const outbox of this.recipients.current) outbox.event(eventKind.GOODBYE, this.#goodbye);
    return true;
  }

  busy(stallMs: number): boolean {
    batch.flush();
    if (!this.#takes()) return false;
    const payload = Buffer.alloc(BUSY_BODY_BYTES);
    payload.writeUInt32LE(stallMs);
    for (const outbox of this.recipients.current) outbox.event(eventKind.BUSY, payload);
    return true;
  }

  takesKind(kind: number): boolean {
    return this.#services?.takesKind(kind) === true;
  }

  /** `bytes[start, end)` is the body of a system message. */
  system(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    batch.flush();
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
    batch.flush();
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
    return this.#halt === undefined && this.recipients.canTake(this.#services !== undefined);
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
    for (const outbox of this.recipients.current) outbox.input(kind, this.#messages, bytes, start, end, part, isStable);
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
    batch.flush();
    if (!this.#passFirst(end - start, bytes, start, at, kind, isStable)) return false;
    for (; at < end; at += STREAM_ABOVE_BYTES) {
      this.#putPart(bytes, at, Math.min(end, at + STREAM_ABOVE_BYTES), isStable);
    }
    return true;
  }

  onBatch(bytes: Buffer, end: number, count: number): void {
    this.#put(eventKind.MESSAGES, count, bytes, 0, end);
  }

  /** Undefined: nobody waits for the answer. */
  #answerBox(index: number): EventOutbox | undefined {
    return index === NO_LANE ? undefined : this.recipients.answerBox(index);
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
      if (this.recipients.isHeld || (this.#tail & event) === 0) continue;
      if (event === tailEvent.END) this.#owner.onInputEnded();
      this.#tail &= ~event;
      this.#told |= event;
      for (const outbox of this.recipients.current) this.#tell(outbox, event);
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
      batch.flush();
      if (this.#failed || this.#halt !== undefined) return length;
      if (!(decoded >= 0 && decoded <= length)) throw new Error(`decode() returned ${String(decoded)}`);
      if (decoded < length && !this.#isWaiting && this.#canDeliver()) {
        throw new Error('decode() returned before the end, though every message was taken and isWaiting is not true');
      }
      return decoded;
    } catch (thrown) {
      const { reason, error } = decodingFailed(thrown);
      this.fail(reason, error);
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

  /** What a thread has not finished is for who comes next. */
  #takeBack(unfinished: readonly RetainedInput[], died: boolean, overtaken = NOTHING_OVERTAKEN): void {
    if (!this.recipients.passesOn) return;
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
    this.recipients.close();
    this.#loseUnfinished();
    this.#drop();
  }
}

/** @param memory is worth asking for only once */
function viewOf(bytes: Uint8Array, start: number, end: number, memory: ArrayBufferLike = bytes.buffer): Buffer {
  return bufferView(memory, bytes.byteOffset + start, end - start);
}
