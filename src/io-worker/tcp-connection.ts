import type { CloseReason } from '../shared/close-reason.js';
import { connectionId } from '../shared/connection-id.js';
import { codecTrait, slotState } from '../shared/connection-table.js';
import type { ConnectionSettings } from '../shared/control-protocol.js';
import { encodeClose, encodeOpen, eventKind } from '../shared/event-record.js';
import { frameKind, maxBodyBytes } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import { registryCounter } from '../shared/registry.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import type { Decoder, DecoderSink } from './codec.js';
import { ConnectionOutput, type OutputOwner } from './connection-output.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import { EventOutbox, type OutboxOwner, outboxEvent } from './event-outbox.js';
import { encodeFrame, encodeHello, FrameDecoder } from './frame-codec.js';
import type { PlainSocket, SocketListener } from './plain-socket.js';
import { RawDecoder } from './raw-codec.js';

/** Why a socket is not read. */
const pauseReason = {
  /** pause() */
  BY_APP: 1,
  /** It has events that did not fit into the ring. */
  BLOCKED: 2,
  /** Too many others of its lane have. */
  WITH_LANE: 4,
} as const;

/** The longest single send() without frames. */
const MAX_RAW_BYTES = 256 * 1024 * 1024;

/** The server or client that a connection belongs to. */
export interface ConnectionOrigin {
  readonly id: number;
  readonly settings: ConnectionSettings;
}

/**
 * One connection, from open to close.
 *
 * ```
 *  socket --read--> decoder --> EventOutbox --> event ring
 *  socket <--write-- ConnectionOutput <-- command ring
 * ```
 */
export class TcpConnection implements SocketListener, DecoderSink, OutboxOwner, OutputOwner {
  readonly slot: number;
  readonly generation: number;
  readonly lane: EventLane;
  readonly origin: ConnectionOrigin;
  readonly #loop: EventLoop;
  readonly #socket: PlainSocket;
  readonly #decoder: Decoder;
  readonly #outbox: EventOutbox;
  readonly #output: ConnectionOutput;

  /** Set while the connection is in the event loop's list of those to flush. */
  dirty = false;
  /** Bytes that were sent after the shutdown, by a thread that could not know of it yet. */
  #discarded = 0;
  #pauses = 0;

  #finishing = false;
  #closed = false;
  /** Why it will close, as far as that is decided. */
  #reason: CloseReason | undefined;
  #error: Error | undefined;
  #windDownReason: CloseReason | undefined;
  #shutdownTimer: NodeJS.Timeout | undefined;
  readonly #whenClosed: (() => void)[] = [];

  private constructor(
    loop: EventLoop,
    lane: EventLane,
    socket: PlainSocket,
    origin: ConnectionOrigin,
    at: { slot: number; generation: number },
  ) {
    this.#loop = loop;
    this.lane = lane;
    this.#socket = socket;
    this.origin = origin;
    this.slot = at.slot;
    this.generation = at.generation;
    this.#outbox = new EventOutbox(lane, at.slot, at.generation, this);
    this.#output = new ConnectionOutput(socket, loop.chunkPool, this);
    this.#decoder = this.#isFramed ? new FrameDecoder(this, origin.settings.maxFrameBytes) : new RawDecoder(this);
  }

  /**
   * Makes a connection of a connected socket, announces it and starts to read.
   * @param attempt which connect() this answers, 0 for an accepted socket
   * @returns undefined if the connection table is full
   */
  static open(
    loop: EventLoop,
    lane: EventLane,
    socket: PlainSocket,
    origin: ConnectionOrigin,
    attempt: number,
  ): TcpConnection | undefined {
    const { settings } = origin;
    const maxMessageBytes = settings.codec === codecTrait.FRAME ? maxBodyBytes(settings.maxFrameBytes) : MAX_RAW_BYTES;
    const at = loop.slots.open({ ...settings, maxMessageBytes });
    if (at === undefined) return undefined;
    const connection = new TcpConnection(loop, lane, socket, origin, at);
    loop.slots.put(at.slot, connection);
    connection.#start(attempt);
    return connection;
  }

  get id(): number {
    return connectionId(this.#loop.worker, this.slot, this.generation);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get #isFramed(): boolean {
    return this.origin.settings.codec === codecTrait.FRAME;
  }

  #start(attempt: number): void {
    const { socket } = this.#socket;
    this.#socket.listener = this;
    this.#outbox.open(
      encodeOpen({
        origin: this.origin.id,
        attempt,
        remoteAddress: socket.remoteAddress ?? '',
        remotePort: socket.remotePort ?? 0,
        remoteFamily: socket.remoteFamily === 'IPv6' ? 'IPv6' : 'IPv4',
        localAddress: socket.localAddress ?? '',
        localPort: socket.localPort ?? 0,
      }),
    );
    if (this.#isFramed) this.#output.appendOwn(encodeHello(this.origin.settings.maxFrameBytes));
    if (this.lane.isCrowded) this.setPausedWithLane(true);
    if (this.#pauses === 0) this.#socket.resume();
  }

  // ---- commands ----

  send(memory: SharedMemory, offset: number, length: number): void {
    if (this.#finishing) this.#discard(length);
    else this.#output.append(memory, offset, length);
  }

  sendPart(lane: EventLane, memory: SharedMemory, offset: number, length: number, isLast: boolean): void {
    if (this.#finishing) this.#discard(length);
    else this.#output.appendPart(lane, memory, offset, length, isLast);
  }

  /** FIN behind what was sent; the connection closes when both sides are done, or when nothing moves any more. */
  shutdown(reason: CloseReason): void {
    if (this.#finishing || this.#closed) return;
    this.#finishing = true;
    this.#reason ??= this.#windDownReason ?? reason;
    this.#loop.table.setState(this.slot, this.generation, slotState.CLOSING);
    // The connection ends with the peer's FIN, which a paused socket would never see. The app side bounds what comes before.
    this.setPausedByApp(false);
    this.#output.finish();
    this.#watchShutdown(this.#progress());
  }

  destroy(reason: CloseReason, error?: Error): void {
    this.#close(reason, error);
  }

  setPausedByApp(paused: boolean): void {
    this.#setPause(pauseReason.BY_APP, paused);
  }

  setPausedWithLane(paused: boolean): void {
    this.#setPause(pauseReason.WITH_LANE, paused);
  }

  notifyFlushed(): void {
    this.#output.notifyFlushed();
  }

  /**
   * Asks the app thread, in order with the messages that it has still to handle, to shut the connection down.
   * Resolves when it is closed.
   */
  windDown(reason: CloseReason): Promise<void> {
    if (this.#closed) return Promise.resolve();
    const closed = new Promise<void>((resolve) => this.#whenClosed.push(resolve));
    if (this.#windDownReason === undefined) {
      this.#windDownReason = reason;
      this.#outbox.raise(outboxEvent.WIND_DOWN);
    }
    return closed;
  }

  /** The event loop's, at the end of a turn. */
  flush(): void {
    if (!this.#closed) this.#output.flush();
  }

  // ---- the socket's ----

  onData(bytes: Uint8Array, length: number): void {
    this.#loop.wake();
    this.#loop.table.noteReceived(this.slot, Date.now(), length);
    // Something waits if the socket was read once more before the pause took effect.
    const decoded = this.#outbox.isEmpty ? this.#decode(bytes, length) : 0;
    if (decoded < length && !this.#closed) this.#outbox.keepInput(bytes.subarray(decoded, length));
  }

  onWritten(): void {
    this.#output.onWritten();
  }

  onEnd(): void {
    if (this.#closed) return;
    this.#loop.wake();
    this.#reason ??= this.#windDownReason ?? 'peer-end';
    this.#outbox.raise(outboxEvent.END);
  }

  onError(error: Error): void {
    const message = `The connection broke: ${error.message}`;
    this.#close('peer-reset', new ReactorError('ERR_REACTOR_CONNECTION_LOST', message, { cause: error }));
  }

  onClose(): void {
    this.#close(this.#reason ?? 'peer-end', this.#error);
  }

  // ---- the decoder's ----

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    return this.#outbox.offer(eventKind.MESSAGES, bytes, start, end) && this.#noteMessages(count);
  }

  chunk(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#outbox.offer(eventKind.CHUNK, bytes, start, end) && this.#noteMessages(1);
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number): boolean {
    return this.#outbox.offerPrefixed(eventKind.PART_FIRST, length, bytes, start, end) && this.#noteMessages(1);
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#outbox.offer(eventKind.PART, bytes, start, end);
  }

  ping(bytes: Uint8Array, start: number, end: number): void {
    if (!this.#finishing) this.#output.appendOwn(encodeFrame(frameKind.PONG, bytes.subarray(start, end)));
  }

  ignored(): void {
    this.#loop.registry.count(registryCounter.IGNORED_FRAMES);
  }

  fail(reason: CloseReason, error: ReactorError): void {
    this.#close(reason, error);
  }

  // ---- the outbox's ----

  decodeWaiting(input: Buffer): number {
    return this.#decode(input, input.length);
  }

  onInputEnded(): void {
    const incomplete = this.#decoder.incomplete();
    if (incomplete === undefined || this.#reason !== 'peer-end') return;
    this.#reason = 'protocol-error';
    this.#error = new ReactorError('ERR_REACTOR_PROTOCOL', `The peer ended inside a frame: ${incomplete}`);
  }

  onWaiting(waiting: boolean): void {
    this.#setPause(pauseReason.BLOCKED, waiting);
  }

  onClosedDelivered(): void {
    this.#loop.slots.free(this.slot);
  }

  // ---- the output's ----

  onOutput(): void {
    this.#loop.markDirty(this);
  }

  onSent(bytes: number, own: number): void {
    this.#loop.table.noteSent(this.slot, bytes);
    this.#uncharge(bytes - own);
  }

  onFlushed(): void {
    this.#outbox.raise(outboxEvent.FLUSHED);
  }

  // ----

  /** Whatever a peer sends, and whatever defect it may uncover, ends this connection at worst. */
  #decode(bytes: Uint8Array, length: number): number {
    try {
      const decoded = this.#decoder.decode(bytes, 0, length);
      if (decoded < length && this.#outbox.isEmpty && !this.#closed)
        throw new Error('It left bytes that nobody waits for');
      return decoded;
    } catch (error) {
      const defect = new ReactorError('ERR_REACTOR_INTERNAL', 'The decoder failed', { cause: error });
      this.#close('protocol-error', defect);
      return length;
    }
  }

  #noteMessages(count: number): true {
    this.#loop.table.noteMessages(this.slot, count);
    return true;
  }

  #discard(bytes: number): void {
    this.#discarded += bytes;
    this.#uncharge(bytes);
  }

  #uncharge(bytes: number): void {
    const { table } = this.#loop;
    // First the subtraction, then the look for waiters: ConnectionTable.awaitDrain does the opposite.
    if (table.uncharge(this.slot, bytes) <= table.lowWater(this.slot) && table.takeDrainWaiters(this.slot) !== 0) {
      this.#outbox.raise(outboxEvent.DRAIN);
    }
  }

  #setPause(reason: number, paused: boolean): void {
    const before = this.#pauses;
    this.#pauses = paused ? before | reason : before & ~reason;
    if (this.#closed || (before === 0) === (this.#pauses === 0)) return;
    if (this.#pauses === 0) {
      this.#socket.resume();
      return;
    }
    this.#socket.pause();
    this.#loop.registry.count(registryCounter.READ_PAUSES);
  }

  #progress(): number {
    return this.#output.written + this.#loop.table.counts(this.slot).bytesReceived;
  }

  /** Closes a connection that is shutting down when nothing has moved for a whole timeout. */
  #watchShutdown(before: number): void {
    this.#shutdownTimer = setTimeout(() => {
      const now = this.#progress();
      if (now === before) this.#close(this.#reason ?? 'local-shutdown', this.#error);
      else this.#watchShutdown(now);
    }, this.origin.settings.shutdownTimeoutMs);
  }

  #close(reason: CloseReason, error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#shutdownTimer);
    const { table } = this.#loop;
    this.#output.settle();
    // First the state, then what is buffered: a sender adds first and then looks at the state.
    table.setState(this.slot, this.generation, slotState.CLOSED);
    const unsentBytes = Math.max(0, table.buffered(this.slot)) + this.#discarded;
    table.uncharge(this.slot, this.#output.unwritten);
    this.#output.clear();
    this.#socket.destroy();
    this.#loop.registry.count(registryCounter.CLOSED);
    this.#outbox.close(encodeClose({ reason, unsentBytes, counts: table.counts(this.slot) }, error));
    for (const resolve of this.#whenClosed) resolve();
  }
}
