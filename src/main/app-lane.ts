import { bufferView } from '../shared/buffer-view.js';
import {
  decodeClose,
  decodeOpen,
  eventKind,
  PART_HEADER_BYTES,
  type PartHeader,
  partOffset,
} from '../shared/event-record.js';
import { FRAME_HEADER_BYTES, FRAME_LENGTH_BYTES, frameKind, frameOffset } from '../shared/frame-format.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import type { ReconnectNews } from '../shared/reconnect-settings.js';
import { RingConsumer } from '../shared/ring-consumer.js';
import { MIN_RING_CAPACITY, ringBytes } from '../shared/ring-layout.js';
import { readU32, SharedMemory } from '../shared/shared-memory.js';
import type { CommandWriter } from './command-writer.js';
import { MessageSlab } from './message-slab.js';
import type { TcpConnection } from './tcp-connection.js';

/** While handlers are quick, the clock is read once for so many messages; it costs a tenth of a short one. */
const MAX_CLOCK_INTERVAL = 32;
const QUICK_MS = 0.1;

/** So often, about, the io worker hears of commands while events are handed out, if it has written all that was there before. */
const BATCH_MS = 0.2;

/**
 * Unless the handlers have enough to do for so long: it looks by itself sooner (DOZE_MS), and what peers send in answer is there before the
 * handlers run out of work. To wake a thread costs this one as much as a few messages.
 */
const BACKLOG_MS = 4;

const EMPTY: Buffer = Buffer.alloc(0);

/** What the lane needs to know of its link. */
export interface LaneListener {
  connectionAt(slot: number, generation: number): TcpConnection | undefined;
  onOpen(slot: number, generation: number, event: ReturnType<typeof decodeOpen>): void;
  onClose(slot: number, generation: number, event: ReturnType<typeof decodeClose>): void;
  /** For all who may wait for it. */
  onDrain(slot: number, generation: number): void;
  onFlushed(slot: number, generation: number): void;
  onServerClosed(id: number): void;
  /** Whole frames that answer requests of this thread. */
  onAnswers(slot: number, generation: number, frames: Buffer): void;
  /** A piece of an answer; the first one has a header. */
  onAnswerPart(slot: number, generation: number, piece: Uint8Array, header?: PartHeader): void;
  onReconnecting(news: ReconnectNews): void;
  onTlsEvent(kind: number, id: number, payload: Buffer): void;
  /** A timer of this thread has ticked; it is the event of that number. */
  onTimer(slot: number, generation: number, number: number): void;
  onServiceReport(payload: Buffer): void;
  /** Before and after events are handled: how far the ring has been given back. */
  onProgress(position: number): void;
}

/**
 * This thread's end of a lane: takes events out of the ring and hands them to their connections. When, is up to the AppLoop.
 *
 * A handler that throws throws out of the turn, as out of any EventEmitter: the message counts as handled, and the next turn
 * goes on behind it.
 */
export class AppLane {
  readonly commands: CommandWriter;
  #events: RingConsumer;
  readonly #ringIoWorker: () => void;
  readonly #listener: LaneListener;
  readonly #slab = new MessageSlab();
  /** Of commands that waited, some have found room in the last run. */
  hasMoved = false;
  #stopped = false;
  #onDrained: (() => void) | undefined;
  /** Who waits for the ring to be handed out up to a position. */
  #catchingUp: { readonly position: number; readonly resolve: () => void }[] = [];

  /** The record in hand, until it is released. */
  #inRecord = false;
  /** What is left of a record of messages: frames in `#batch[#position, #batch.length)`. */
  #batch: Buffer = EMPTY;
  /** What it lies in: to ask for that is a call, and once in a record is enough. */
  #batchMemory: ArrayBufferLike = EMPTY.buffer;
  #position = 0;
  #batchConnection: TcpConnection | undefined;

  /** When the present turn began, and at which position of the ring. */
  #begunAt = 0;
  #begunFrom = 0;

  constructor(events: RingConsumer, commands: CommandWriter, ringIoWorker: () => void, listener: LaneListener) {
    this.#events = events;
    this.commands = commands;
    this.#ringIoWorker = ringIoWorker;
    this.#listener = listener;
  }

  /** No more events. */
  stop(): void {
    this.#stopped = true;
    this.#noteCaughtUp();
  }

  /** It has been stopped for good: the rings are another's, and not kept by those who still have a connection in hand. */
  retire(): void {
    this.#events = new RingConsumer(SharedMemory.allocate(ringBytes(MIN_RING_CAPACITY)));
    this.#batch = EMPTY;
    this.#batchMemory = EMPTY.buffer;
    this.commands.retire();
  }

  /** Resolves when everything that is in the ring by now has been handed out: an answer on the control port may overtake it. */
  caughtUp(): Promise<void> {
    const position = this.#events.publishedPosition();
    if (this.#stopped || this.#isPast(position)) return Promise.resolve();
    return new Promise((resolve) => this.#catchingUp.push({ position, resolve }));
  }

  #isPast(position: number): boolean {
    const distance = this.#events.distanceTo(position);
    return distance < 0 || (distance === 0 && !this.#inRecord);
  }

  #noteCaughtUp(): void {
    this.#catchingUp = this.#catchingUp.filter(({ position, resolve }) => {
      if (!this.#stopped && !this.#isPast(position)) return true;
      resolve();
      return false;
    });
  }

  /** Hands out what is in the ring, then stops and calls back: the io worker is gone, nothing will ring any more. */
  drainThen(callback: () => void): void {
    this.#onDrained = callback;
  }

  /** True if there is nothing to do until the io worker rings. */
  isIdle(): boolean {
    return this.#events.isEmpty() && !this.#inRecord && this.#onDrained === undefined && this.commands.isIdle();
  }

  /**
   * Hands out events until there are none or the deadline has passed, and moves commands that wait. Returns how many events
   * there were: messages, and all else that connections are told.
   */
  run(deadline: number): number {
    if (this.#stopped) return 0;
    const handled = this.#handleEvents(deadline);
    if (this.#catchingUp.length > 0) this.#noteCaughtUp();
    this.hasMoved = this.commands.retry();
    const onDrained = this.#onDrained;
    if (handled === 0 && !this.#inRecord && onDrained !== undefined) {
      this.#onDrained = undefined;
      this.stop();
      onDrained();
    }
    return handled;
  }

  #handleEvents(deadline: number): number {
    if (this.#events.isEmpty() && !this.#inRecord) return 0;
    this.#listener.onProgress(this.#events.consumedPosition);
    const { commands } = this;
    commands.beginBatch();
    let isUrgent = true;
    try {
      const count = this.#handOut(deadline);
      isUrgent = !this.#hasBacklog();
      return count;
    } finally {
      commands.endBatch(isUrgent);
      this.#listener.onProgress(this.#events.consumedPosition);
    }
  }

  #handOut(deadline: number): number {
    let now = monotonicMs();
    this.#noteBegin(now);
    let rungAt = now;
    let interval = 1;
    let untilClock = interval;
    let count = 0;
    while (!this.#stopped) {
      if (this.#nextMessage()) count++;
      else if (!this.#nextRecord()) break;
      // A record of messages counts by what is in it, and a probe is nothing that anybody is told.
      else if (this.#batchConnection === undefined && this.#events.kind !== eventKind.PROBE) count++;
      if (--untilClock > 0) continue;
      const before = now;
      now = monotonicMs();
      if (now > deadline) break;
      if (now - rungAt > BATCH_MS) {
        if (!this.#hasBacklog()) this.commands.ringForBatch();
        rungAt = now;
      }
      // A slow handler is looked at one by one: 32 of them would hold up everything else in this thread.
      interval = now - before < QUICK_MS ? Math.min(2 * interval, MAX_CLOCK_INTERVAL) : 1;
      untilClock = interval;
    }
    return count;
  }

  #noteBegin(now: number): void {
    const published = this.#events.publishedPosition();
    this.#begunAt = now;
    this.#begunFrom = (published - this.#leftUntil(published)) | 0;
  }

  /** At the pace of this turn, what is in the ring keeps the handlers busy for a while. */
  #hasBacklog(): boolean {
    const left = this.#leftUntil(this.#events.publishedPosition());
    if (left === 0) return false;
    const done = -this.#leftUntil(this.#begunFrom);
    return left * (monotonicMs() - this.#begunAt) > done * BACKLOG_MS;
  }

  /** Bytes in front of a position of the ring that have not been handed out; less than 0 if some behind it have. */
  #leftUntil(position: number): number {
    const inHand = this.#batchConnection === undefined ? 0 : this.#batch.length - this.#position;
    return this.#events.distanceTo(position) + inHand;
  }

  /** Hands out the next message of the record in hand. */
  #nextMessage(): boolean {
    const connection = this.#batchConnection;
    if (connection === undefined) return false;
    const batch = this.#batch;
    const start = this.#position;
    const end = start + FRAME_LENGTH_BYTES + readU32(batch, start);
    // Before the handler runs, so that a message whose handler throws is not handed out again.
    this.#position = end;
    if (end >= batch.length) this.#batchConnection = undefined;
    const bodyStart = start + FRAME_HEADER_BYTES;
    const body = bufferView(this.#batchMemory, batch.byteOffset + bodyStart, end - bodyStart);
    if (batch[start + frameOffset.KIND] === frameKind.DATA) connection.receive(body);
    else connection.receiveRequest(body);
    return true;
  }

  #nextRecord(): boolean {
    const events = this.#events;
    if (this.#inRecord) {
      this.#inRecord = false;
      this.#batch = EMPTY;
      events.release();
      if (events.spaceWanted()) this.#ringIoWorker();
    }
    if (!events.next()) return false;
    this.#inRecord = true;
    this.#dispatch(events.kind, events.slot, events.generation);
    return true;
  }

  #dispatch(kind: number, slot: number, generation: number): void {
    switch (kind) {
      case eventKind.PROBE:
        // That it has been taken is all there is to it.
        break;
      case eventKind.OPEN:
        this.#listener.onOpen(slot, generation, decodeOpen(this.#copy()));
        break;
      case eventKind.CLOSE:
        this.#listener.onClose(slot, generation, decodeClose(this.#copy()));
        break;
      case eventKind.DRAIN:
        this.#listener.onDrain(slot, generation);
        break;
      case eventKind.FLUSHED:
        this.#listener.onFlushed(slot, generation);
        break;
      case eventKind.SERVER_CLOSED:
        this.#listener.onServerClosed(slot);
        break;
      case eventKind.ANSWERS:
        this.#listener.onAnswers(slot, generation, this.#copy());
        break;
      case eventKind.ANSWER_FIRST: {
        const record = this.#copy();
        this.#listener.onAnswerPart(slot, generation, record.subarray(PART_HEADER_BYTES), partHeaderOf(record));
        break;
      }
      case eventKind.ANSWER_PART:
        this.#listener.onAnswerPart(slot, generation, this.#view());
        break;
      case eventKind.RECONNECTING:
        this.#listener.onReconnecting(JSON.parse(this.#copy().toString()) as ReconnectNews);
        break;
      case eventKind.TLS_FAILED:
      case eventKind.TLS_UPDATED:
        this.#listener.onTlsEvent(kind, slot, this.#copy());
        break;
      case eventKind.TIMER:
        this.#listener.onTimer(slot, generation, readU32(this.#view(), 0));
        break;
      case eventKind.SERVICE_REPORT:
        this.#listener.onServiceReport(this.#copy());
        break;
      default: {
        const connection = this.#listener.connectionAt(slot, generation);
        if (connection !== undefined) this.#dispatchInput(kind, connection);
      }
    }
  }

  #dispatchInput(kind: number, connection: TcpConnection): void {
    switch (kind) {
      case eventKind.MESSAGES:
        this.#batch = this.#payload(connection);
        this.#batchMemory = this.#batch.buffer;
        this.#position = 0;
        this.#batchConnection = connection;
        break;
      case eventKind.CHUNK:
        connection.receive(this.#payload(connection));
        break;
      case eventKind.PART_FIRST: {
        const record = this.#copy();
        connection.receivePart(record.subarray(PART_HEADER_BYTES), partHeaderOf(record));
        break;
      }
      case eventKind.PART:
        connection.receivePart(this.#view());
        break;
      case eventKind.END:
        connection.receiveEnd();
        break;
      case eventKind.WIND_DOWN:
        connection.receiveWindDown();
        break;
      case eventKind.REDELIVERY:
        connection.receiveRedelivery(readU32(this.#copy(), 0));
        break;
      case eventKind.BUSY:
        connection.receiveBusy(readU32(this.#copy(), 0));
        break;
      case eventKind.GOODBYE:
        connection.receiveGoodbye(this.#copy().toString());
        break;
      case eventKind.LEAVE:
        connection.receiveLeave();
        break;
    }
  }

  #payload(connection: TcpConnection): Buffer {
    return connection.borrows ? this.#view() : this.#copy();
  }

  #view(): Buffer {
    const { memory, offset, length } = this.#events;
    return memory.view(offset, length);
  }

  #copy(): Buffer {
    const { memory, offset, length } = this.#events;
    return this.#slab.copy(memory, offset, length);
  }
}

function partHeaderOf(record: Buffer): PartHeader {
  return { length: readU32(record, partOffset.LENGTH), kind: readU32(record, partOffset.KIND) };
}
