import { inspect } from 'node:util';
import { type Credit, framing, slotState, TOO_MUCH } from '../shared/connection-table.js';
import { REQUEST_ID_BYTES } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import { DATA_HEADER, headerWithId, type MessageHeader, NO_HEADER } from './command-writer.js';
import type { ConnectionContext } from './connection-host.js';
import { type Waiter, Waiters } from './waiters.js';

/** What has become of a message. */
export const sendOutcome = { SENT: 0, SENT_ABOVE_HIGH_WATER: 1, NOT_OPEN: 2, OVERFLOW: 3 } as const;
export type SendOutcome = (typeof sendOutcome)[keyof typeof sendOutcome];

/** What a send path tells its connection. */
export interface SendPathOwner {
  /** There is room again, and the application was told that there was none. */
  onDrain(): void;
  /** Somebody waits for something that the io worker must tell this thread of. */
  onWait(): void;
  /** `flushAnswered` is to be called when all that has been sent before is with the kernel. */
  onFlush(): void;
}

/**
 * A connection's way to the command ring, under its credit: what may be sent, when there is room again, and when all of it
 * is with the kernel.
 */
export class SendPath {
  readonly #context: ConnectionContext;
  readonly #slot: number;
  readonly #generation: number;
  readonly #owner: SendPathOwner;

  // Fixed while the connection lives, so that send() need not ask the table each time.
  readonly #header: MessageHeader;
  readonly #maxMessage: number;
  readonly #minMessage: number;
  readonly #highWater: number;
  readonly #overflowLimit: number;
  readonly #credit: Credit;

  #stopped = false;
  #drainWanted = false;
  readonly #drainWaiters = new Waiters<boolean>();
  /** FLUSH has not been answered yet; there is one at a time. */
  #flushAsked = false;
  #flushWaiters = new Waiters<void>();
  /** They want more flushed than the answer will be for. */
  #nextFlushWaiters = new Waiters<void>();

  constructor(context: ConnectionContext, slot: number, generation: number, owner: SendPathOwner) {
    this.#context = context;
    this.#slot = slot;
    this.#generation = generation;
    this.#owner = owner;
    const { table } = context;
    this.#header = table.framing(slot) === framing.BYTES ? NO_HEADER : DATA_HEADER;
    this.#maxMessage = table.maxMessage(slot);
    this.#minMessage = table.minMessage(slot);
    this.#highWater = table.highWater(slot);
    this.#overflowLimit = table.overflowLimit(slot);
    this.#credit = table.credit(slot, generation);
  }

  /** Somebody waits for DRAIN or FLUSHED. */
  get isAwaited(): boolean {
    return this.#drainWanted || !this.#drainWaiters.isEmpty || !this.#flushWaiters.isEmpty;
  }

  /** Nothing more is sent: this side is ending, or has ended. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  send(data: Uint8Array | string): boolean {
    return this.#send('send()', data, this.#header, this.#maxMessage) === sendOutcome.SENT;
  }

  /** Sends a request, or an answer to one. Throws what `send` does. */
  sendWithId(call: string, kind: number, id: number, data: Uint8Array | string): SendOutcome {
    return this.#send(call, data, headerWithId(kind, id), this.#maxMessage - REQUEST_ID_BYTES);
  }

  #send(call: string, data: Uint8Array | string, header: MessageHeader, most: number): SendOutcome {
    const length = messageLength(call, data);
    const { table, commands } = this.#context;
    const slot = this.#slot;
    const bytes = header.bytes + length;
    // This thread's own is in it; what the others do at this moment may count or not.
    const before = table.recentlyBuffered(slot);
    // A message longer than the limit itself must be sendable, when nothing else waits.
    const isOver = before > 0 && before + bytes > this.#overflowLimit;
    if (this.#stopped || isOver || length > most || length < this.#minMessage || bytes === 0) {
      return this.#sendUnusual(call, length, most, isOver, before);
    }
    // Whether it is open shows when it is charged.
    const charged = commands.send(slot, this.#generation, this.#credit, data, length, header);
    if (charged < 0) return this.#refused(charged);
    return charged + bytes <= this.#highWater ? sendOutcome.SENT : this.#sentAboveHighWater();
  }

  /** @param charged in place of what was buffered before */
  #refused(charged: number): SendOutcome {
    if (charged !== TOO_MUCH) return sendOutcome.NOT_OPEN;
    this.#overflow();
    return sendOutcome.OVERFLOW;
  }

  #sentAboveHighWater(): SendOutcome {
    const { table, lane } = this.#context;
    this.#drainWanted = true;
    this.#owner.onWait();
    if (!table.awaitDrain(this.#slot, lane)) setImmediate(() => this.#lookAgain());
    return sendOutcome.SENT_ABOVE_HIGH_WATER;
  }

  /** What goes no further: there is a reason why not, or nothing to be sent. */
  #sendUnusual(call: string, length: number, most: number, isOver: boolean, before: number): SendOutcome {
    if (this.#stopped || this.#context.table.state(this.#slot, this.#generation) !== slotState.OPEN) {
      return sendOutcome.NOT_OPEN;
    }
    if (length > most) {
      const message = `${call}: a message of ${length} bytes; this connection takes ${most} at most`;
      throw new ReactorError('ERR_REACTOR_MESSAGE_TOO_LARGE', message);
    }
    if (length < this.#minMessage) {
      const message = `${call}: a message of ${length} bytes; this connection takes ${this.#minMessage} at least`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    if (isOver) {
      this.#overflow();
      return sendOutcome.OVERFLOW;
    }
    // Nothing, without a header.
    return before <= this.#highWater ? sendOutcome.SENT : this.#sentAboveHighWater();
  }

  /** The io worker was faster than this thread; but this thread may have sent more since. */
  #lookAgain(): void {
    const { table, lane } = this.#context;
    if (!this.#stopped && table.awaitDrain(this.#slot, lane)) return;
    this.drained();
  }

  /** Resolves when all that has been sent is with the kernel. */
  flushed(signal: AbortSignal | undefined): Promise<void> {
    return this.#waitersForFlush().wait('flush()', signal);
  }

  /** The same for one that is to be called in order with the events of the connection. */
  whenFlushed(waiter: Waiter<void>): void {
    this.#waitersForFlush().add(waiter);
  }

  #waitersForFlush(): Waiters<void> {
    this.#owner.onWait();
    if (this.#flushAsked) return this.#nextFlushWaiters;
    this.#askForFlush();
    return this.#flushWaiters;
  }

  /** Resolves with true at the low-water mark, with false when the path is stopped. */
  ready(signal: AbortSignal | undefined): Promise<boolean> {
    const { table, lane } = this.#context;
    if (table.buffered(this.#slot) <= table.lowWater(this.#slot)) return Promise.resolve(true);
    this.#owner.onWait();
    const ready = this.#drainWaiters.wait('ready()', signal);
    if (table.awaitDrain(this.#slot, lane)) return ready;
    // A close gives everything back, too.
    if (table.state(this.#slot, this.#generation) === slotState.OPEN) this.drained();
    else this.#drainWaiters.resolveAll(false);
    return ready;
  }

  /** DRAIN has come. */
  drainAnswered(): void {
    // It was on its way when this thread has sent more, and asked again: the answer to that is what counts.
    if (!this.#context.table.asksForDrain(this.#slot, this.#context.lane)) this.drained();
  }

  /** No more than half of the high-water mark is buffered, or was a moment ago. */
  drained(): void {
    this.#drainWaiters.resolveAll(true);
    if (!this.#drainWanted || this.#stopped) return;
    this.#drainWanted = false;
    this.#owner.onDrain();
  }

  /** FLUSHED has come. */
  flushAnswered(): void {
    this.#flushAsked = false;
    this.#flushWaiters.resolveAll();
    if (this.#nextFlushWaiters.isEmpty) return;
    [this.#flushWaiters, this.#nextFlushWaiters] = [this.#nextFlushWaiters, this.#flushWaiters];
    this.#askForFlush();
  }

  stop(): void {
    this.#stopped = true;
    this.#drainWaiters.resolveAll(false);
  }

  /** The connection is closed: what waits in this thread is forgotten, and so is who waits for it to be flushed. */
  close(makeError: () => ReactorError): void {
    this.stop();
    this.#context.commands.forget(this.#slot, this.#generation);
    // Most of the time nobody waits, and an error costs more than all the rest of a close.
    if (this.#flushWaiters.isEmpty && this.#nextFlushWaiters.isEmpty) return;
    const error = makeError();
    this.#flushWaiters.rejectAll(error);
    this.#nextFlushWaiters.rejectAll(error);
  }

  #askForFlush(): void {
    this.#flushAsked = true;
    this.#owner.onFlush();
  }

  #overflow(): void {
    const { table, commands } = this.#context;
    if (table.dropsOnOverflow(this.#slot)) {
      table.noteDropped(this.#slot);
      return;
    }
    this.stop();
    commands.destroy(this.#slot, this.#generation, 'backpressure');
  }
}

function messageLength(call: string, data: Uint8Array | string): number {
  if (typeof data === 'string') return Buffer.byteLength(data);
  if (data instanceof Uint8Array) return data.length;
  const message = `${call} takes a Uint8Array or a string, got ${inspect(data, { depth: 0, maxStringLength: 60 })}`;
  throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
}
