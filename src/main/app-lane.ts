import type { SleepWord } from '../shared/doorbell.js';
import { decodeClose, decodeOpen, eventKind, PART_LENGTH_BYTES } from '../shared/event-record.js';
import { FRAME_HEADER_BYTES, FRAME_LENGTH_BYTES } from '../shared/frame-format.js';
import type { RingConsumer } from '../shared/ring-consumer.js';
import { readU32 } from '../shared/shared-memory.js';
import type { CommandWriter } from './command-writer.js';
import { MessageSlab } from './message-slab.js';
import type { TcpConnection } from './tcp-connection.js';

/** Turns without an event before this thread goes to sleep. */
const IDLE_TURNS = 2;
/** How long one turn may hand out events before timers and other I/O of this thread get their turn. */
const TURN_MS = 2;
/** While handlers are quick, the clock is read once for so many messages; it costs a tenth of a short one. */
const MAX_CLOCK_INTERVAL = 32;
const QUICK_MS = 0.1;

const EMPTY: Buffer = Buffer.alloc(0);

/** What the lane needs to know of its reactor. */
export interface LaneListener {
  connectionAt(slot: number, generation: number): TcpConnection | undefined;
  onOpen(slot: number, generation: number, event: ReturnType<typeof decodeOpen>): void;
  onClose(connection: TcpConnection, event: ReturnType<typeof decodeClose>): void;
  /** Once a turn in which events were handled. */
  onProgress(): void;
}

/**
 * This thread's end of a lane: takes events out of the ring and hands them to their connections.
 *
 * While there are events, turns follow each other with setImmediate; after a few idle ones the lane sleeps until the io
 * worker rings. A handler that throws throws out of the turn, as out of any EventEmitter: the message counts as handled, and
 * the next turn goes on behind it.
 */
export class AppLane {
  readonly commands: CommandWriter;
  readonly #events: RingConsumer;
  readonly #sleepWord: SleepWord;
  readonly #ringIoWorker: () => void;
  readonly #listener: LaneListener;
  readonly #slab = new MessageSlab();
  #immediate: NodeJS.Immediate | undefined;
  #idleTurns = 0;
  #stopped = false;
  #onDrained: (() => void) | undefined;
  /** Who waits for the ring to be handed out up to a position. */
  #catchingUp: { readonly position: number; readonly resolve: () => void }[] = [];

  /** The record in hand, until it is released. */
  #inRecord = false;
  /** What is left of a record of messages: frames in `#batch[#position, #batch.length)`. */
  #batch: Buffer = EMPTY;
  #position = 0;
  #handled = 0;
  #batchConnection: TcpConnection | undefined;

  constructor(
    events: RingConsumer,
    sleepWord: SleepWord,
    ringIoWorker: () => void,
    listener: LaneListener,
    makeCommands: (onWaiting: () => void) => CommandWriter,
  ) {
    this.#events = events;
    this.#sleepWord = sleepWord;
    this.#ringIoWorker = ringIoWorker;
    this.#listener = listener;
    this.commands = makeCommands(() => this.wake());
  }

  /** There may be something to do. */
  wake(): void {
    this.#idleTurns = 0;
    if (this.#immediate !== undefined || this.#stopped) return;
    this.#sleepWord.awake();
    this.#schedule();
  }

  /** The doorbell rang: this is already a turn of its own. */
  rung(): void {
    this.#idleTurns = 0;
    if (this.#immediate === undefined && !this.#stopped) this.#turn();
  }

  /** No more events. */
  stop(): void {
    this.#stopped = true;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
    this.#noteCaughtUp();
  }

  /** Resolves when everything that is in the ring by now has been handed out: an answer on the control port may overtake it. */
  caughtUp(): Promise<void> {
    const position = this.#events.publishedPosition();
    if (this.#stopped || this.#isPast(position)) return Promise.resolve();
    this.wake();
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
    this.wake();
  }

  readonly #turn = (): void => {
    this.#immediate = undefined;
    let completed = false;
    try {
      const busy = this.#handleEvents();
      completed = true;
      if (this.#catchingUp.length > 0) this.#noteCaughtUp();
      this.#idleTurns = this.commands.retry() || busy ? 0 : this.#idleTurns + 1;
      if (!busy && this.#onDrained !== undefined) {
        this.stop();
        this.#onDrained();
      }
    } finally {
      if (!this.#stopped && (!completed || this.#idleTurns < IDLE_TURNS || !this.#fallAsleep())) this.#schedule();
    }
  };

  #schedule(): void {
    this.#immediate ??= setImmediate(this.#turn);
  }

  #fallAsleep(): boolean {
    this.#sleepWord.announceSleep();
    if (this.#events.isEmpty() && !this.#inRecord && this.commands.isIdle()) return true;
    this.#sleepWord.awake();
    return false;
  }

  /** Hands out events until there are none or the turn has lasted long enough. True if there were any. */
  #handleEvents(): boolean {
    let now = performance.now();
    const deadline = now + TURN_MS;
    let interval = 1;
    let untilClock = interval;
    for (let count = 0; !this.#stopped; count++) {
      if (!this.#nextMessage() && !this.#nextRecord()) {
        if (count > 0) this.#listener.onProgress();
        return count > 0;
      }
      if (--untilClock > 0) continue;
      const before = now;
      now = performance.now();
      if (now > deadline) break;
      // A slow handler is looked at one by one: 32 of them would hold up everything else in this thread.
      interval = now - before < QUICK_MS ? Math.min(2 * interval, MAX_CLOCK_INTERVAL) : 1;
      untilClock = interval;
    }
    this.#listener.onProgress();
    return true;
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
    this.#events.progress(++this.#handled);
    if (end >= batch.length) this.#batchConnection = undefined;
    connection.receive(batch.subarray(start + FRAME_HEADER_BYTES, end));
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
    if (kind === eventKind.OPEN) {
      this.#listener.onOpen(slot, generation, decodeOpen(this.#copy()));
      return;
    }
    const connection = this.#listener.connectionAt(slot, generation);
    if (connection === undefined) return;
    switch (kind) {
      case eventKind.MESSAGES:
        this.#batch = this.#payload(connection);
        this.#position = 0;
        this.#handled = 0;
        this.#batchConnection = connection;
        break;
      case eventKind.CHUNK:
        connection.receive(this.#payload(connection));
        break;
      case eventKind.PART_FIRST: {
        const payload = this.#copy();
        connection.receivePart(payload.subarray(PART_LENGTH_BYTES), readU32(payload, 0));
        break;
      }
      case eventKind.PART:
        connection.receivePart(this.#events.memory.view(this.#events.offset, this.#events.length));
        break;
      case eventKind.END:
        connection.receiveEnd();
        break;
      case eventKind.WIND_DOWN:
        connection.receiveWindDown();
        break;
      case eventKind.DRAIN:
        connection.receiveDrain();
        break;
      case eventKind.FLUSHED:
        connection.receiveFlushed();
        break;
      case eventKind.CLOSE:
        this.#listener.onClose(connection, decodeClose(this.#copy()));
        break;
    }
  }

  #payload(connection: TcpConnection): Buffer {
    const { memory, offset, length } = this.#events;
    return connection.borrows ? memory.view(offset, length) : this.#slab.copy(memory, offset, length);
  }

  #copy(): Buffer {
    const { memory, offset, length } = this.#events;
    return this.#slab.copy(memory, offset, length);
  }
}
