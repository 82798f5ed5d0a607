import type { CloseReason } from '../shared/close-reason.js';
import { connectionId } from '../shared/connection-id.js';
import { codecTrait, slotState } from '../shared/connection-table.js';
import type { ConnectionSettings } from '../shared/control-protocol.js';
import { encodeClose, encodeOpen, eventKind } from '../shared/event-record.js';
import { frameKind, maxBodyBytes } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import { registryCounter } from '../shared/registry.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import type { Chunk } from './chunk-pool.js';
import type { Decoder, DecoderSink } from './codec.js';
import type { BlockedSource, EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import { encodeFrame, encodeHello, FrameDecoder } from './frame-codec.js';
import { OutputBuffer } from './output-buffer.js';
import type { PlainSocket, SocketListener } from './plain-socket.js';
import { RawDecoder } from './raw-codec.js';

/** One write takes about this much, so that credit comes back while a long queue drains. */
const WRITE_BYTES = 256 * 1024;
/** One connection writes at most this much in a turn, if the kernel takes it. */
const WRITES_PER_TURN = 4;

/** Why a socket is not read. */
const pauseReason = {
  /** pause() */
  BY_APP: 1,
  /** It has events that did not fit into the ring. */
  BLOCKED: 2,
  /** Too many others of its lane have. */
  WITH_LANE: 4,
} as const;

/** Events that did not fit into the ring; each happens at most once at a time, and they go out in this order. */
const pending = { OPEN: 1, INPUT: 2, END: 4, WIND_DOWN: 8, DRAIN: 16, FLUSHED: 32, CLOSE: 64 } as const;

/** The longest single send() without frames. */
const MAX_RAW_BYTES = 256 * 1024 * 1024;

const EMPTY = Buffer.alloc(0);

/** The server or client that a connection belongs to. */
export interface ConnectionOrigin {
  readonly id: number;
  readonly settings: ConnectionSettings;
}

/**
 * One connection, from open to close.
 *
 * Input: socket -> decoder -> event ring. When the ring is full, the socket is not read and what is left of the current
 * read waits in `#input`. Output: command ring -> output buffer -> socket, one write a turn.
 */
export class TcpConnection implements SocketListener, DecoderSink, BlockedSource {
  readonly slot: number;
  readonly generation: number;
  readonly lane: EventLane;
  readonly origin: ConnectionOrigin;
  readonly #loop: EventLoop;
  readonly #socket: PlainSocket;
  readonly #decoder: Decoder;
  readonly #output: OutputBuffer;

  /** Set while the connection waits for its flush in the event loop's list. */
  dirty = false;
  #writing: readonly Chunk[] | undefined;
  #writingBytes = 0;
  /** All bytes ever appended to, and all bytes that left the output. */
  #appended = 0;
  #written = 0;
  /** FLUSH waits until `#written` is here; -1: none waits. */
  #flushAt = -1;
  /** Pieces of messages that are longer than a record, by lane. */
  #parts: Map<EventLane, Buffer[]> | undefined;
  /** Bytes that other threads sent after shutdown. */
  #discarded = 0;

  #pauses = 0;
  #pending = 0;
  #delivering = false;
  #openPayload: Buffer = EMPTY;
  #closePayload: Buffer = EMPTY;
  #input: Buffer = EMPTY;
  #windDownReason: CloseReason | undefined;

  #reason: CloseReason | undefined;
  #error: Error | undefined;
  #finishing = false;
  #finSent = false;
  #closed = false;
  readonly #whenClosed: (() => void)[] = [];
  #shutdownTimer: NodeJS.Timeout | undefined;

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
    this.#output = new OutputBuffer(loop.chunkPool);
    this.#decoder =
      origin.settings.codec === codecTrait.FRAME
        ? new FrameDecoder(this, origin.settings.maxFrameBytes)
        : new RawDecoder(this);
  }

  get id(): number {
    return connectionId(this.#loop.worker, this.slot, this.generation);
  }

  get isClosed(): boolean {
    return this.#closed;
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

  #start(attempt: number): void {
    const { socket } = this.#socket;
    this.#socket.listener = this;
    this.#openPayload = encodeOpen({
      origin: this.origin.id,
      attempt,
      remoteAddress: socket.remoteAddress ?? '',
      remotePort: socket.remotePort ?? 0,
      remoteFamily: socket.remoteFamily === 'IPv6' ? 'IPv6' : 'IPv4',
      localAddress: socket.localAddress ?? '',
      localPort: socket.localPort ?? 0,
    });
    this.#raise(pending.OPEN);
    if (this.origin.settings.codec === codecTrait.FRAME) {
      this.#appendOwn(encodeHello(this.origin.settings.maxFrameBytes));
    }
    if (this.lane.isCrowded) this.setPausedWithLane(true);
    if (this.#pauses === 0) this.#socket.resume();
  }

  // ---- commands ----

  send(memory: SharedMemory, offset: number, length: number): void {
    if (this.#finishing) {
      this.#discard(length);
      return;
    }
    this.#output.append(memory, offset, length);
    this.#appended += length;
    this.#loop.markDirty(this);
  }

  sendPart(lane: EventLane, memory: SharedMemory, offset: number, length: number, isLast: boolean): void {
    if (this.#finishing) {
      this.#discard(length);
      return;
    }
    const piece = Buffer.allocUnsafeSlow(length);
    memory.copyOut(offset, length, piece, 0);
    this.#parts ??= new Map();
    const parts = this.#parts.get(lane) ?? [];
    parts.push(piece);
    this.#parts.set(lane, parts);
    if (!isLast) return;
    this.#parts.delete(lane);
    for (const part of parts) this.#output.appendOwned(part);
    this.#appended += parts.reduce((sum, part) => sum + part.length, 0);
    this.#loop.markDirty(this);
  }

  /** FIN after what was sent; the connection closes when both sides are done, or nothing moves any more. */
  shutdown(reason: CloseReason): void {
    if (this.#finishing || this.#closed) return;
    this.#finishing = true;
    this.#reason ??= this.#windDownReason ?? reason;
    this.#loop.table.setState(this.slot, this.generation, slotState.CLOSING);
    // What comes from now on is on its way to the peer's FIN, which a paused socket would never see.
    this.setPausedByApp(false);
    this.#loop.markDirty(this);
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
    this.#flushAt = this.#appended;
    this.#checkFlushed();
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
      this.#raise(pending.WIND_DOWN);
    }
    return closed;
  }

  // ---- the event loop's ----

  /** Writes what has gathered. */
  flush(): void {
    if (this.#closed) return;
    for (let writes = 0; writes < WRITES_PER_TURN; writes++) {
      if (this.#writing !== undefined) return;
      if (this.#output.bytes === 0) {
        if (this.#finishing && !this.#finSent) {
          this.#finSent = true;
          this.#socket.end();
        }
        return;
      }
      const chunks = this.#output.take(WRITE_BYTES);
      this.#writing = chunks;
      this.#writingBytes = chunks.reduce((sum, chunk) => sum + chunk.end - chunk.start, 0);
      if (this.#socket.write(chunks)) this.#noteWritten();
    }
    this.#loop.markDirty(this);
  }

  retryDelivery(): boolean {
    return this.#deliverPending();
  }

  // ---- the socket's ----

  onData(bytes: Uint8Array, length: number): void {
    this.#loop.wake();
    this.#loop.table.noteReceived(this.slot, Date.now(), length);
    if (this.#pending !== 0) {
      // The socket was read once more before the pause took effect.
      this.#input = Buffer.concat([this.#input, bytes.subarray(0, length)]);
      this.#pending |= pending.INPUT;
      return;
    }
    const consumed = this.#decode(bytes, length);
    if ((this.#pending & pending.INPUT) !== 0) this.#input = Buffer.from(bytes.subarray(consumed, length));
  }

  onWritten(): void {
    this.#noteWritten();
    this.#loop.markDirty(this);
  }

  onEnd(): void {
    if (this.#closed) return;
    this.#loop.wake();
    this.#reason ??= 'peer-end';
    this.#raise(pending.END);
  }

  onError(error: Error): void {
    const lost = new ReactorError('ERR_REACTOR_CONNECTION_LOST', `The connection broke: ${error.message}`, {
      cause: error,
    });
    this.#close('peer-reset', lost);
  }

  onClose(): void {
    this.#close(this.#reason ?? 'peer-end', this.#error);
  }

  // ---- the decoder's ----

  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    return this.#offerInput(this.lane.offer(eventKind.MESSAGES, this.slot, this.generation, bytes, start, end), count);
  }

  chunk(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#offerInput(this.lane.offer(eventKind.CHUNK, this.slot, this.generation, bytes, start, end), 1);
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number): boolean {
    return this.#offerInput(
      this.lane.offerPrefixed(eventKind.PART_FIRST, this.slot, this.generation, length, bytes, start, end),
      1,
    );
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#offerInput(this.lane.offer(eventKind.PART, this.slot, this.generation, bytes, start, end), 0);
  }

  ping(bytes: Uint8Array, start: number, end: number): void {
    // A peer that asks and does not read the answers gets none while its output is above the high-water mark.
    if (this.#finishing || this.#loop.table.buffered(this.slot) > this.origin.settings.highWaterMark) return;
    this.#appendOwn(encodeFrame(frameKind.PONG, bytes.subarray(start, end)));
  }

  ignored(): void {
    this.#loop.registry.count(registryCounter.IGNORED_FRAMES);
  }

  fail(reason: CloseReason, error: ReactorError): void {
    this.#close(reason, error);
  }

  // ---- output ----

  /** Sends a frame of this side's own, under the same credit as everything else. */
  #appendOwn(frame: Buffer): void {
    this.#loop.table.charge(this.slot, frame.length);
    this.#output.appendOwned(frame);
    this.#appended += frame.length;
    this.#loop.markDirty(this);
  }

  #noteWritten(): void {
    const chunks = this.#writing;
    if (chunks === undefined || this.#closed) return;
    const bytes = this.#writingBytes;
    this.#writing = undefined;
    this.#writingBytes = 0;
    this.#output.release(chunks);
    this.#written += bytes;
    this.#loop.table.noteSent(this.slot, bytes);
    this.#uncharge(bytes);
    this.#checkFlushed();
  }

  #uncharge(bytes: number): void {
    const { table } = this.#loop;
    // First the subtraction, then the look for waiters: ConnectionTable.awaitDrain does the opposite.
    if (table.uncharge(this.slot, bytes) <= table.lowWater(this.slot) && table.takeDrainWaiters(this.slot) !== 0) {
      this.#raise(pending.DRAIN);
    }
  }

  #checkFlushed(): void {
    if (this.#flushAt === -1 || this.#written < this.#flushAt) return;
    this.#flushAt = -1;
    this.#raise(pending.FLUSHED);
  }

  #discard(bytes: number): void {
    this.#discarded += bytes;
    this.#uncharge(bytes);
  }

  // ---- events ----

  #offerInput(accepted: boolean, messages: number): boolean {
    if (accepted) {
      this.#loop.table.noteMessages(this.slot, messages);
      return true;
    }
    this.#raiseBlocked(pending.INPUT);
    return false;
  }

  /** Puts an event into the ring, behind what waits already. */
  #raise(event: number): void {
    const alone = this.#pending === 0 && !this.#delivering;
    this.#pending |= event;
    if (alone && !this.#deliverPending()) this.#raiseBlocked(event);
  }

  #raiseBlocked(event: number): void {
    this.#pending |= event;
    this.lane.block(this);
    this.#setPause(pauseReason.BLOCKED, true);
  }

  #deliverPending(): boolean {
    // What comes up meanwhile (bad input closes the connection) takes its place in the order below.
    this.#delivering = true;
    const delivered =
      this.#deliver(pending.OPEN, eventKind.OPEN, this.#openPayload) &&
      this.#deliverInput() &&
      this.#deliverEnd() &&
      this.#deliver(pending.WIND_DOWN, eventKind.WIND_DOWN, EMPTY) &&
      this.#deliver(pending.DRAIN, eventKind.DRAIN, EMPTY) &&
      this.#deliver(pending.FLUSHED, eventKind.FLUSHED, EMPTY) &&
      this.#deliver(pending.CLOSE, eventKind.CLOSE, this.#closePayload);
    this.#delivering = false;
    if (!delivered) return false;
    if (this.#closed) this.#loop.forget(this);
    else this.#setPause(pauseReason.BLOCKED, false);
    return true;
  }

  #deliver(event: number, kind: number, payload: Uint8Array): boolean {
    if ((this.#pending & event) === 0) return true;
    if (!this.lane.offer(kind, this.slot, this.generation, payload, 0, payload.length)) return false;
    this.#pending &= ~event;
    return true;
  }

  #deliverEnd(): boolean {
    if ((this.#pending & pending.END) === 0) return true;
    // Only now has the decoder seen all there is.
    const incomplete = this.#decoder.incomplete();
    if (incomplete !== undefined && this.#reason === 'peer-end') {
      this.#reason = 'protocol-error';
      this.#error = new ReactorError('ERR_REACTOR_PROTOCOL', `The peer ended inside a frame: ${incomplete}`);
    }
    return this.#deliver(pending.END, eventKind.END, EMPTY);
  }

  #deliverInput(): boolean {
    if ((this.#pending & pending.INPUT) === 0) return true;
    const input = this.#input;
    this.#pending &= ~pending.INPUT;
    // A decoder that meets a full ring raises INPUT again.
    const consumed = this.#decode(input, input.length);
    this.#input = (this.#pending & pending.INPUT) === 0 ? EMPTY : input.subarray(consumed);
    return (this.#pending & pending.INPUT) === 0;
  }

  /** Whatever a peer sends, and whatever defect it may uncover, ends this connection at worst. */
  #decode(bytes: Uint8Array, length: number): number {
    try {
      return this.#decoder.decode(bytes, 0, length);
    } catch (error) {
      const defect = new ReactorError('ERR_REACTOR_INTERNAL', 'The decoder failed', { cause: error });
      this.#close('protocol-error', defect);
      return length;
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

  // ---- the end ----

  #progress(): number {
    return this.#written + this.#loop.table.counts(this.slot).bytesReceived;
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
    // First the state, then what is buffered: a sender adds first and then looks at the state.
    table.setState(this.slot, this.generation, slotState.CLOSED);
    const unsent = Math.max(0, table.buffered(this.slot)) + this.#discarded;
    table.uncharge(this.slot, this.#appended - this.#written + this.#partBytes());
    this.#parts = undefined;
    this.#output.clear();
    this.#socket.destroy();
    this.#loop.registry.count(registryCounter.CLOSED);
    // DRAIN and FLUSHED have no meaning any more; messages that were received still go first.
    this.#pending &= ~(pending.DRAIN | pending.FLUSHED);
    this.#closePayload = encodeClose({ reason, unsentBytes: unsent, counts: table.counts(this.slot) }, error);
    this.#raise(pending.CLOSE);
    for (const resolve of this.#whenClosed) resolve();
  }

  #partBytes(): number {
    let bytes = 0;
    for (const parts of this.#parts?.values() ?? []) for (const part of parts) bytes += part.length;
    return bytes;
  }
}
