import type { CloseReason } from '../shared/close-reason.js';
import { type ConnectionId, connectionId } from '../shared/connection-id.js';
import { type ConnectionCounts, framing, NO_COUNTS, slotState } from '../shared/connection-table.js';
import type { ConnectionDetails } from '../shared/control-protocol.js';
import type { CloseEvent, ConnectionAddresses, PartHeader } from '../shared/event-record.js';
import { frameKind, REQUEST_ID_BYTES, requestId } from '../shared/frame-format.js';
import { fromErrorData, ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { ConnectionDuplex } from './connection-duplex.js';
import type { CloseDetail, ConnectionEvents, ConnectionState, MessageInfo } from './connection-events.js';
import type { ConnectionContext, ConnectionHost } from './connection-host.js';
import { publishClose } from './diagnostics.js';
import { InboundFlow } from './inbound-flow.js';
import { showAs } from './inspection.js';
import { ListenedEmitter } from './listened-emitter.js';
import { MessageAssembly } from './message-assembly.js';
import { checkDuplex, checkRequest, checkWait } from './option-checks.js';
import { DEFAULT_REQUEST_TIMEOUT_MS, type DuplexOptions, type RequestOptions, type WaitOptions } from './options.js';
import { makeReply, type Reply } from './reply.js';
import { SendPath, sendOutcome } from './send-path.js';
import { callBoth, surfaceErrors } from './surface.js';
import { throwIfAborted } from './waiters.js';

const FRESH: MessageInfo = Object.freeze({ redelivered: false });
const REDELIVERED: MessageInfo = Object.freeze({ redelivered: true });

/** So long the end of a connection waits for requests to be answered: a handler may have forgotten one. */
const UNANSWERED_MS = 5000;

/** Reasons that end an iteration quietly: one of the two sides meant it. */
const ORDERLY: ReadonlySet<CloseReason> = new Set([
  'local-shutdown',
  'local-destroy',
  'peer-end',
  'server-close',
  'reactor-close',
]);

/**
 * One TCP connection, whose socket lives on the io worker.
 *
 * Messages go to the 'message' listeners of the connection and of its server or client. As long as there are none, and
 * while the connection is paused, messages wait: up to 256 KiB and what is already under way, then the socket is not read.
 * 'end' and 'close' come behind the messages.
 */
// It is a FlowOwner and a SendPathOwner, too, by members that its declarations do not have: so it does not say so here.
export class TcpConnection extends ListenedEmitter<ConnectionEvents> implements AsyncIterable<Buffer> {
  readonly #context: ConnectionContext;
  /** Undefined: this thread does not get the connection's events. */
  #host: ConnectionHost | undefined;
  /** @internal */
  readonly slot: number;
  /** @internal */
  readonly generation: number;
  readonly #addresses: ConnectionAddresses | undefined;
  readonly #borrows: boolean;
  readonly #halfOpen: boolean;
  readonly #isRaw: boolean;
  /** This thread gets its events, and says when it has done with them. */
  #receives: boolean;
  #watching = false;

  readonly #sending: SendPath;
  #destroyed = false;

  readonly #flow: InboundFlow;
  #assembly: { readonly kind: number; readonly message: MessageAssembly } | undefined;
  /** Requests of the peer's that have been handed out and not answered. */
  #unanswered = 0;
  #unansweredTimer: NodeJS.Timeout | undefined;
  /** Takes the messages, in place of the listeners. */
  #duplex: ConnectionDuplex | undefined;
  /** There is, or was, a listener for messages of this connection alone. Most have none, and to emit for nobody costs something, too. */
  #isListenedTo = false;
  #readingStopped = false;
  #windDown = false;
  /** So many of the next messages come again, after the death of the thread that got them before. */
  #redeliveries = 0;
  #end: 'open' | 'received' | 'emitted' = 'open';
  /** What the peer has said of its end. */
  #goodbye: string | undefined;
  #hasStarted = false;
  #closeEvent: CloseEvent | undefined;
  #closeEmitted = false;

  static {
    showAs(TcpConnection, 'TcpConnection', (connection) => {
      const { id, state, remoteAddress, remotePort, bufferedAmount } = connection;
      return { id, state, remoteAddress, remotePort, bufferedAmount };
    });
  }

  /** @internal Connections come from `listen()`, `connect()` and `reactor.connection()`. */
  constructor(
    context: ConnectionContext,
    slot: number,
    generation: number,
    host?: ConnectionHost,
    addresses?: ConnectionAddresses,
  ) {
    super();
    this.#context = context;
    this.slot = slot;
    this.generation = generation;
    this.#host = host;
    this.#addresses = addresses;
    this.#receives = addresses !== undefined;
    this.#borrows = context.table.isBorrowed(slot);
    this.#halfOpen = context.table.allowsHalfOpen(slot);
    this.#isRaw = context.table.framing(slot) === framing.BYTES;
    this.#sending = new SendPath(context, slot, generation, this);
    this.#flow = new InboundFlow(this);
    if (!this.#receives) this.#flow.start();
  }

  /** Names this connection in every thread; never used again for another. Thread: any. */
  get id(): ConnectionId {
    return connectionId(this.#context.worker, this.slot, this.generation);
  }

  /**
   * `'open'`: can send. `'closing'`: shutdown has begun. `'closed'`: over. Read from shared memory: true at once, also in
   * a loop that never yields. Thread: any.
   */
  get state(): ConnectionState {
    const state = this.#context.table.state(this.slot, this.generation);
    if (this.#destroyed || this.#closeEvent !== undefined || state === slotState.CLOSED || state === slotState.FREE)
      return 'closed';
    return this.#sending.isStopped || state === slotState.CLOSING ? 'closing' : 'open';
  }

  /** Encoded bytes that `send()` has accepted, in all threads, and that are not yet with the kernel. Thread: any. */
  get bufferedAmount(): number {
    const { table } = this.#context;
    const buffered = table.buffered(this.slot);
    return table.state(this.slot, this.generation) === slotState.CLOSED ? 0 : Math.max(0, buffered);
  }

  // Counts stay readable after the close, also in its event.

  /** When the io worker last received anything, in ms since the epoch; 0 if it never did. Thread: any. */
  get lastReceivedAt(): number {
    return this.#counts().lastReceivedAt;
  }

  /** Thread: any. */
  get bytesReceived(): number {
    return this.#counts().bytesReceived;
  }

  /** Bytes handed to the kernel. Thread: any. */
  get bytesSent(): number {
    return this.#counts().bytesSent;
  }

  /** Thread: any. */
  get messagesReceived(): number {
    return this.#counts().messagesReceived;
  }

  /** Messages that `overflow: 'drop'` has dropped. Thread: any. */
  get droppedMessages(): number {
    return this.#counts().droppedMessages;
  }

  /**
   * How long the peer took to answer the last ping, in ms, its io worker and both ways of the network included. Undefined: no ping has
   * been answered; without `heartbeat` there are none, nor where traffic shows that the peer is there. Thread: any.
   */
  get rttMs(): number | undefined {
    return this.#counts().roundTripMs || undefined;
  }

  // Addresses are known to a thread that gets or has got the connection's events, and undefined in others: `info()` asks.

  get remoteAddress(): string | undefined {
    return this.#addresses?.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.#addresses?.remotePort;
  }

  get remoteFamily(): string | undefined {
    return this.#addresses?.remoteFamily;
  }

  get localAddress(): string | undefined {
    return this.#addresses?.localAddress;
  }

  get localPort(): number | undefined {
    return this.#addresses?.localPort;
  }

  /** It has TLS; `info()` has more about it. */
  get encrypted(): boolean | undefined {
    return this.#addresses?.encrypted;
  }

  /** @internal Names the reactor that it belongs to. */
  get reactor(): string {
    return this.#context.reactor;
  }

  /** @internal Messages are views of the ring. */
  get borrows(): boolean {
    return this.#borrows;
  }

  // ---- sending ----

  /**
   * Sends one message; a string as UTF-8. The bytes are copied before it returns. Never waits, and never throws for what
   * the network does.
   *
   * True: accepted, and below the high-water mark. False: accepted and above it, so wait for 'drain' or `ready()`. Also
   * false, and not accepted: the connection is not open, or the overflow limit is reached (option `overflow`).
   *
   * Throws ERR_REACTOR_INVALID_ARGUMENT for other types and for a message that is too short for the codec, ERR_REACTOR_MESSAGE_TOO_LARGE for a message longer than
   * `limits.maxFrameBytes` - 2 (codec 'raw': 256 MiB).
   *
   * Thread: any.
   */
  send(data: Uint8Array | string): boolean {
    return this.#sending.send(data);
  }

  /**
   * Asks the peer something, and resolves with its answer. Any number of requests may be under way at once (`limits.maxRequests`),
   * from any thread; the answers may come in any order. Codec 'frame'. The longest request is 6 bytes shorter than
   * `limits.maxFrameBytes`.
   *
   * Rejects with ERR_REACTOR_REQUEST_TIMEOUT after `timeoutMs`, ERR_REACTOR_ABORTED on `signal`, ERR_REACTOR_REQUEST_FAILED if the peer
   * says so (also when it has no 'request' listener), ERR_REACTOR_CONNECTION_CLOSED as soon as the connection closes (in the
   * thread that gets its events also when the peer ends its side), ERR_REACTOR_TOO_MANY_REQUESTS, ERR_REACTOR_OVERFLOW (`overflow: 'drop'`), ERR_REACTOR_UNSUPPORTED,
   * ERR_REACTOR_INVALID_OPTION, and with what `send()` throws. Thread: any.
   */
  async request(data: Uint8Array | string, options: RequestOptions = {}): Promise<Buffer> {
    checkRequest(options);
    const { timeoutMs = DEFAULT_REQUEST_TIMEOUT_MS, signal } = options;
    throwIfAborted('request()', signal);
    const { slot } = this;
    const { table, requests, lane } = this.#context;
    if (this.state !== 'open') throw this.#closedError('request()');
    if (!table.hasRequests(slot)) {
      throw new ReactorError('ERR_REACTOR_UNSUPPORTED', "request(): only codec 'frame' carries requests");
    }
    if (this.#end !== 'open') throw this.#peerEndedError();
    const limits = { timeoutMs, signal, most: table.maxRequests(slot) };
    return this.#awaited(() =>
      requests.ask(
        this.id,
        limits,
        () => {
          table.noteAsks(slot, lane);
          return requestId(lane, table.nextRequest(slot));
        },
        (id) => this.#sendRequest(id, data),
      ),
    );
  }

  #sendRequest(id: number, data: Uint8Array | string): void {
    // Before it leaves: it may be answered by a close.
    this.#watch();
    const outcome = this.#sending.sendWithId('request()', frameKind.REQUEST, id, data);
    if (outcome === sendOutcome.NOT_OPEN) throw this.#closedError('request()');
    if (outcome === sendOutcome.OVERFLOW) {
      throw new ReactorError('ERR_REACTOR_OVERFLOW', 'request(): the overflow limit of the connection is reached');
    }
  }

  /**
   * Resolves when everything that this thread has sent so far is with the kernel. Rejects with
   * ERR_REACTOR_CONNECTION_CLOSED if the connection closes first, ERR_REACTOR_ABORTED on `signal`. Thread: any.
   */
  async flush(options: WaitOptions = {}): Promise<void> {
    checkWait('flush()', options);
    if (this.state === 'closed') throw this.#closedError('flush()');
    return this.#awaited(() => this.#sending.flushed(options.signal));
  }

  /**
   * Resolves with true once no more than half of the high-water mark is buffered, with false once the connection is not
   * open any more. Rejects with ERR_REACTOR_ABORTED on `signal`. Thread: any.
   */
  async ready(options: WaitOptions = {}): Promise<boolean> {
    checkWait('ready()', options);
    throwIfAborted('ready()', options.signal);
    if (this.state !== 'open') return false;
    return this.#awaited(() => this.#sending.ready(options.signal));
  }

  /**
   * Both ends of the connection, and what TLS knows of it, from the io worker. Rejects with ERR_REACTOR_CONNECTION_CLOSED.
   * Thread: any; those that get its events have the addresses in `remoteAddress` and so on.
   */
  async info(): Promise<ConnectionDetails> {
    const known = this.#addresses?.encrypted === false ? this.#addresses : undefined;
    const info: ConnectionDetails | undefined = known ?? (await this.#context.info(this.id));
    if (info === undefined) throw this.#closedError('info()');
    const { remoteAddress, remotePort, remoteFamily, localAddress, localPort, encrypted, tls } = info;
    const addresses = { remoteAddress, remotePort, remoteFamily, localAddress, localPort, encrypted };
    return tls === undefined ? addresses : { ...addresses, tls };
  }

  // ---- reading ----

  /**
   * No more messages until `resume()`; the socket is not read as long as any thread says so. Thread: any.
   */
  pause(): this {
    this.#flow.pause();
    return this;
  }

  /** Messages again. From now on messages that nobody listens for are dropped, as by a `net.Socket`. Thread: any. */
  resume(): this {
    this.#flow.resume();
    return this;
  }

  isPaused(): boolean {
    return this.#flow.isPaused;
  }

  /**
   * The messages one by one, to the iteration instead of 'message' listeners; while one is handled the others wait, and
   * then the socket is not read. The loop ends with the connection. It throws ERR_REACTOR_CONNECTION_CLOSED if the
   * connection broke, and ERR_REACTOR_UNSUPPORTED in a thread that does not get its events. Leaving the loop early leaves the
   * connection open. Thread: app.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    if (!this.#receives && !this.#flow.hasLeft) {
      const message = 'The iteration: this thread does not get the events of the connection';
      throw new ReactorError('ERR_REACTOR_UNSUPPORTED', message);
    }
    yield* this.#flow.iterate(() => this.#end === 'emitted' || this.#closeEmitted || !this.#receives);
    const reason = this.#closeEvent?.reason;
    if (reason !== undefined && !ORDERLY.has(reason)) throw this.#closedError('The iteration');
  }

  /**
   * The connection as a `Duplex` of node:stream, for codec 'raw'. From now on the duplex takes the messages, also those
   * that wait, and no 'message' listener gets any; it pauses and resumes the connection, and decides when this side ends.
   * Called again it returns the same one, whatever the options.
   *
   * Throws ERR_REACTOR_UNSUPPORTED with codec 'frame' and in a thread that does not get the connection's events,
   * ERR_REACTOR_INVALID_OPTION. Thread: app.
   */
  toDuplex(options: DuplexOptions = {}): ConnectionDuplex {
    checkDuplex(options);
    if (this.#duplex !== undefined) return this.#duplex;
    if (!this.#isRaw || !this.#receives) {
      const why = this.#isRaw
        ? "this thread does not get the connection's events"
        : "it takes a connection of codec 'raw'";
      throw new ReactorError('ERR_REACTOR_UNSUPPORTED', `toDuplex(): ${why}`);
    }
    const { table } = this.#context;
    const duplex = new ConnectionDuplex(
      this,
      {
        highWaterMark: table.highWater(this.slot),
        overflowLimit: table.overflowLimit(this.slot),
        allowHalfOpen: this.#halfOpen,
        whenFlushed: (waiter) => this.#sending.whenFlushed(waiter),
        shutdown: (reason) => this.#shutdown(reason),
        setRef: (referenced) => this.#context.setRef(this, referenced),
      },
      options,
    );
    this.#duplex = duplex;
    if (this.#closeEvent !== undefined) this.#endDuplex(duplex, this.#closeEvent);
    this.#flow.flowSoon();
    return duplex;
  }

  // ---- ending ----

  /**
   * Ends this side: what was sent before leaves first, then FIN. From now on `send()` answers false. The connection closes
   * with 'local-shutdown' when the peer has ended its side, too, or when nothing moves for `shutdownTimeoutMs`. Once it
   * has begun, calling it again does nothing. Thread: any.
   */
  shutdown(): void {
    this.#shutdown('local-shutdown');
  }

  /**
   * Closes now, with 'local-destroy'. What was sent in front of it goes as far as the kernel takes it at once; the rest is
   * counted in `unsentBytes`. Thread: any.
   */
  destroy(): void {
    if (this.#closeEmitted) return;
    const isOver = this.state === 'closed';
    // Before it is closed: a listener that is added right behind this call is told of it, too.
    this.#watch();
    this.#destroyed = true;
    this.#sending.stop();
    this.#flow.cut();
    this.#flow.flowSoon();
    if (!isOver) this.#context.commands.destroy(this.slot, this.generation, 'local-destroy');
  }

  // ---- what the lane brings ----

  /** @internal Events may go out from now on. */
  start(): void {
    this.#hasStarted = true;
    if (this.#goodbye !== undefined) surfaceErrors(() => this.#emitGoodbye());
    this.#flow.start();
  }

  /** @internal */
  receive(message: Buffer): void {
    // A stream keeps what it gets.
    const isOwn = !this.#borrows || this.#duplex !== undefined;
    this.#flow.push(this.#borrows && isOwn ? Buffer.from(message) : message, !isOwn);
  }

  /** @internal @param request its id, then what the peer wants to know */
  receiveRequest(request: Buffer): void {
    this.#flow.pushRequest(this.#borrows && !this.#flow.isDirectForRequests ? Buffer.from(request) : request);
  }

  /** @internal @param header with the first piece */
  receivePart(piece: Uint8Array, header?: PartHeader): void {
    this.#flow.noteKept();
    if (header !== undefined) this.#assembly = { kind: header.kind, message: new MessageAssembly(header.length) };
    const begun = this.#assembly;
    const message = begun?.message.add(piece);
    if (begun === undefined || message === undefined) return;
    this.#assembly = undefined;
    if (begun.kind === frameKind.DATA) this.receive(message);
    else this.receiveRequest(message);
  }

  /** @internal */
  receiveEnd(): void {
    this.#end = 'received';
    this.#context.requests.close(this.id, () => this.#peerEndedError());
    this.#flow.flow();
  }

  /** @internal */
  receiveGoodbye(reason: string): void {
    this.#goodbye = reason;
    // Before, nobody has had a chance to listen.
    if (this.#hasStarted) this.#emitGoodbye();
  }

  /** @internal */
  receiveBusy(stallMs: number): void {
    if (!this.#hasStarted) return;
    callBoth(
      () => this.#host?.onBusy(this, stallMs),
      () => this.emit('busy', stallMs),
    );
  }

  #emitGoodbye(): void {
    const reason = this.#goodbye ?? '';
    callBoth(
      () => this.#host?.onGoodbye(this, reason),
      () => this.emit('goodbye', reason),
    );
  }

  /** @internal */
  receiveWindDown(): void {
    this.#windDown = true;
    this.#flow.flow();
  }

  /** @internal @param messages how many of the next ones come again */
  receiveRedelivery(messages: number): void {
    this.#redeliveries = messages;
  }

  /** @internal Another thread is to get what this one has not begun with. */
  receiveLeave(): void {
    this.#assembly = undefined;
    this.#flow.leave();
  }

  /** @internal */
  receiveDrain(): void {
    this.#sending.drainAnswered();
  }

  /** @internal */
  receiveFlushed(): void {
    this.#sending.flushAnswered();
  }

  /** @internal */
  receiveClose(event: CloseEvent): void {
    if (this.#closeEvent !== undefined) return;
    this.#closeEvent = event;
    // Who gets no messages has none to wait for.
    if (!this.#receives || event.isCut === true) this.#flow.cut();
    this.#assembly = undefined;
    this.#sending.close(() => this.#closedError('flush()'));
    this.#context.requests.close(this.id, () => this.#closedError('request()'));
    clearTimeout(this.#unansweredTimer);
    this.#unanswered = 0;
    this.#host?.onEnded();
    if (this.#duplex !== undefined) this.#endDuplex(this.#duplex, event);
    this.#flow.flow();
  }

  /** @internal It is closed, and the application will not take what has been received any more. */
  finish(): void {
    this.#flow.cut();
    this.#flow.flow();
  }

  // ---- what the flow asks ----

  /** @internal */
  hasListener(): boolean {
    return this.#duplex !== undefined || this.listenerCount('message') > 0 || this.#host?.hasMessageListener() === true;
  }

  /** @internal */
  emitMessage(message: Buffer, discards: boolean): boolean {
    const isRedelivery = this.#redeliveries > 0;
    if (isRedelivery) this.#redeliveries--;
    const { activity } = this.#context;
    activity.handlers++;
    // Whoever throws has listened.
    let isTaken = true;
    let threw = true;
    try {
      isTaken = this.#handOver(message, isRedelivery ? REDELIVERED : FRESH) || discards;
      threw = false;
    } finally {
      activity.handlers--;
      // Also if a handler throws: the next thread would meet the same message. Not if the thread is terminated in it.
      if (isTaken) this.#flow.messageDone(threw);
      else if (isRedelivery) this.#redeliveries++;
    }
    return isTaken;
  }

  /** False: nobody listens. */
  #handOver(message: Buffer, info: MessageInfo): boolean {
    if (this.#duplex !== undefined) {
      this.#duplex.receive(message);
      return true;
    }
    let isHeard = false;
    let threw = true;
    try {
      isHeard = this.#host?.onMessage(this, message, info) === true;
      threw = false;
    } finally {
      // Also when a handler of the host's has thrown.
      if (this.#isListenedTo) {
        if (threw) surfaceErrors(() => this.emit('message', message, info));
        else if (this.emit('message', message, info)) isHeard = true;
      }
    }
    return isHeard;
  }

  /** @internal */
  hasRequestListener(): boolean {
    return this.listenerCount('request') > 0 || this.#host?.hasRequestListener() === true;
  }

  /** @internal */
  emitRequest(request: Buffer, number: number): void {
    if (this.#redeliveries > 0) this.#redeliveries--;
    const id = readU32(request, 0);
    const data = request.subarray(REQUEST_ID_BYTES);
    const reply = makeReply(
      (call, kind, answer) => this.#sending.sendWithId(call, kind, id, answer),
      () => this.#answered(),
    );
    this.#unanswered++;
    const { activity } = this.#context;
    activity.handlers++;
    let threw = true;
    try {
      const isHeard = this.#host?.onRequest(this, data, reply) ?? false;
      if (!this.emit('request', data, reply) && !isHeard) this.#refuse(reply);
      threw = false;
    } finally {
      activity.handlers--;
      if (threw && !reply.isAnswered) reply.fail('The handler of the request failed');
      this.#flow.requestDone(number, threw);
    }
  }

  /** Nobody listens for requests. Where several threads get each of them, another one may. */
  #refuse(reply: Reply): void {
    if (this.#host?.sharesEvents === true) this.#answered();
    else reply.fail("There is no 'request' handler");
  }

  /** What comes behind the requests waits for them to be answered. */
  #answered(): void {
    if (this.#unanswered === 0) return;
    this.#unanswered--;
    if (this.#unanswered > 0 || this.#unansweredTimer === undefined) return;
    this.#giveUpUnanswered();
  }

  #giveUpUnanswered(): void {
    clearTimeout(this.#unansweredTimer);
    this.#unansweredTimer = undefined;
    this.#unanswered = 0;
    this.#flow.flow();
  }

  /** @internal */
  onMessagesDone(count: number, threw: boolean): void {
    if (this.#receives && !this.#closeEmitted) this.#context.commands.noteDone(this.slot, count, threw);
  }

  /** @internal */
  onTaken(): void {
    if (this.#redeliveries > 0) this.#redeliveries--;
  }

  /** @internal */
  onSettled(): void {
    if (this.#receives && !this.#closeEmitted) this.#context.commands.settled(this.slot, this.generation);
  }

  /** @internal */
  emitBehindMessages(atWork: boolean): boolean {
    if (this.#flow.hasLeft && this.#closeEvent === undefined) {
      if (!this.#receives || atWork) return false;
      this.#release();
      return true;
    }
    const closed = this.#closeEvent !== undefined;
    const isWaitedFor = (this.#windDown || this.#end === 'received') && !this.#sending.isStopped && !closed;
    if (isWaitedFor && this.#unanswered > 0) {
      this.#unansweredTimer ??= setTimeout(() => this.#giveUpUnanswered(), UNANSWERED_MS).unref();
      return false;
    }
    if (this.#windDown && !atWork) {
      this.#windDown = false;
      // Only who writes to a stream knows when it has finished.
      if (this.#duplex === undefined) this.#shutdown('server-close');
    }
    // Nothing can be answered any more: there is nothing to wait for either.
    const ending = this.#end === 'received' && !this.#destroyed && (!atWork || this.#sending.isStopped || closed);
    if (ending) {
      this.#end = 'emitted';
      // Answers to the last message have been sent by now, so that they leave before our FIN.
      if (!this.#halfOpen && this.#duplex === undefined) this.#shutdown('peer-end');
      this.emit('end');
    }
    if (this.#end === 'emitted') this.#duplex?.receiveEnd();
    if (this.#closeEvent === undefined || this.#closeEmitted) return ending;
    this.#closeEmitted = true;
    this.#flow.seal();
    const { reason } = this.#closeEvent;
    const detail = this.#closeDetail(this.#closeEvent);
    if (this.#receives) publishClose(this.#context.reactor, this, reason, detail);
    try {
      this.#duplex?.receiveClose(reason, detail, ORDERLY.has(reason));
      callBoth(
        () =>
          callBoth(
            () => this.#host?.onClose(this, reason, detail),
            () => this.emit('close', reason, detail),
          ),
        () => this.#host?.onCloseTold(this),
      );
    } finally {
      if (this.#receives) this.#context.commands.closeDone(this.slot, this.generation);
    }
    return true;
  }

  /** @internal */
  soon(flow: () => boolean): void {
    this.#context.soon(flow);
  }

  /** @internal */
  onReading(stopped: boolean): void {
    if (stopped === this.#readingStopped || this.state === 'closed') return;
    this.#readingStopped = stopped;
    // Somebody who has only the id must find this very object to take it back.
    if (stopped) this.#watch();
    if (stopped) this.#context.commands.pause(this.slot, this.generation);
    else this.#context.commands.resume(this.slot, this.generation);
  }

  /** @internal A first listener sets free what has waited for one. */
  listenerAdded(event: string | symbol): void {
    if (event === 'message') this.#isListenedTo = true;
    if (event === 'message' || event === 'request') this.#flow.listenerAdded();
    else if (event === 'close') this.#watch();
  }

  /** @internal The same for a listener of the server or client. */
  hostListenerAdded(): void {
    this.#flow.listenerAdded();
  }

  // ----

  /** @internal */
  onWait(): void {
    this.#watch();
  }

  /** @internal */
  onFlush(): void {
    this.#context.flush(this);
  }

  /** @internal */
  onDrain(): void {
    callBoth(
      () => this.emit('drain'),
      () => this.#host?.onDrain(this),
    );
  }

  /** A thread that does not get the events is told of some of them all the same. */
  #watch(): void {
    if (this.#receives || this.#watching || this.#closeEvent !== undefined) return;
    const state = this.#context.table.state(this.slot, this.generation);
    if (state === slotState.CLOSED || state === slotState.FREE) return;
    this.#watching = true;
    this.#context.watch(this);
  }

  /** From now on another thread gets the events. */
  /** @internal Requests that this thread has done with, though not with messages in front of them. */
  get overtaken(): number[] {
    return this.#flow.overtaken;
  }

  #release(): void {
    this.#receives = false;
    this.#context.release(this);
    this.#duplex?.receiveLeave();
    this.#host?.onReleased(this);
    this.#host = undefined;
    this.#readingStopped = false;
    const isWaiting = this.#sending.isAwaited || this.#context.requests.isWaiting(this.id);
    if (this.listenerCount('close') > 0 || isWaiting) this.#watch();
  }

  /** A thread whose only business is to send stays alive until it knows. */
  #awaited<T>(wait: () => Promise<T>): Promise<T> {
    return this.#receives ? wait() : this.#context.hold(wait);
  }

  #shutdown(reason: CloseReason): void {
    if (this.#sending.isStopped || this.state !== 'open') return;
    this.#sending.stop();
    this.#context.commands.shutdown(this.slot, this.generation, reason);
    this.#readingStopped = false;
    this.#flow.awaitEnd();
  }

  #peerEndedError(): ReactorError {
    return new ReactorError(
      'ERR_REACTOR_CONNECTION_CLOSED',
      'request(): the peer has ended its side: it answers no more',
    );
  }

  #endDuplex(duplex: ConnectionDuplex, event: CloseEvent): void {
    duplex.receiveOver(event.unsentBytes);
    // It hears of an error at once.
    if (!ORDERLY.has(event.reason)) this.#flow.cut();
    if (!this.#closeEmitted) return;
    // It has been made when 'close' was out: the flow hands nothing out any more.
    for (const message of this.#flow.takeRest()) duplex.receive(message);
    if (this.#end === 'emitted') duplex.receiveEnd();
    duplex.receiveClose(event.reason, this.#closeDetail(event), ORDERLY.has(event.reason));
  }

  #closeDetail({ reason, unsentBytes, error, reconnecting }: CloseEvent): CloseDetail {
    const isReconnecting = reconnecting ?? (reason === 'io-worker-crash' && this.#host?.willReconnect(this) === true);
    return {
      unsentBytes,
      unreadMessages: this.#flow.unread,
      ...(this.#goodbye !== undefined && { goodbye: this.#goodbye }),
      ...(isReconnecting && { reconnecting: true as const }),
      ...(error !== undefined && { error: fromErrorData(error) }),
    };
  }

  #closedError(what: string): ReactorError {
    const { reason, error } = this.#closeEvent ?? {};
    const message = `${what}: the connection is closed${reason === undefined ? '' : ` (${reason})`}`;
    const options = error === undefined ? {} : { cause: fromErrorData(error) };
    return new ReactorError('ERR_REACTOR_CONNECTION_CLOSED', message, options);
  }

  #counts(): ConnectionCounts {
    if (this.#closeEvent !== undefined) return this.#closeEvent.counts;
    const { table } = this.#context;
    const counts = table.counts(this.slot);
    // Looked at before asking whose the slot is: it may have become another connection's in between.
    return table.isCurrent(this.slot, this.generation) ? counts : NO_COUNTS;
  }
}
