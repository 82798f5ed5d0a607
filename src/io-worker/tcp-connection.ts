import type { CloseReason } from '../shared/close-reason.js';
import { connectionId } from '../shared/connection-id.js';
import { slotState } from '../shared/connection-table.js';
import type { ConnectionDetails } from '../shared/control-protocol.js';
import { type ConnectionAddresses, encodeClose, eventKind } from '../shared/event-record.js';
import { FRAME_HEADER_BYTES } from '../shared/frame-format.js';
import type { StallAction } from '../shared/heartbeat-settings.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import { boardCounter } from '../shared/status-board.js';
import { type Broadcast, EACH_FOR_ITSELF } from './broadcast.js';
import type { CodecOutput, ConnectionCodec } from './codec.js';
import { type ChannelOwner, ConnectionChannel } from './codec-channel.js';
import { codecFailed } from './codec-failure.js';
import { ConnectionEncoder, type EncoderOwner } from './connection-encoder.js';
import { ConnectionInput, type InputOwner } from './connection-input.js';
import { ConnectionLimits, type LimitedConnection, overLimit } from './connection-limits.js';
import { logClosed, logOpened, logOrphaned } from './connection-log.js';
import { ConnectionOutput, type OutputOwner } from './connection-output.js';
import { ConnectionServices, checkServiceMessage, type ServedConnection } from './connection-services.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import { Heartbeat, type HeartbeatOwner } from './heartbeat.js';
import type { Origin } from './origin.js';
import { pauseReason, ReadPauses } from './read-pauses.js';
import { ReadRest } from './read-rest.js';
import { type PaceOwner, SendPace } from './send-pace.js';
import { ShutdownWatch } from './shutdown-watch.js';
import type { SocketListener, SocketStream } from './socket-stream.js';
import { isTlsError, tlsError } from './tls-error.js';

const NOTHING: Buffer = Buffer.alloc(0);

/** In place of sets that most connections never need: there are thousands of them. Nothing is ever added to it. */
const NO_LANES: Set<never> = new Set();

/** Nobody on this side has cut it: what the peer has sent comes first. */
const UNCUT_REASONS: ReadonlySet<CloseReason> = new Set(['peer-end', 'peer-reset', 'local-shutdown', 'tls-error']);

/** How a connection came to be. */
export interface Opening {
  /** Which connect() it answers, 0 for an accepted socket. */
  readonly attempt: number;
  /** It takes the place of one that was lost. */
  readonly isAgain?: boolean;
  /** How long ago it was accepted. */
  readonly sinceMs?: number;
  /** Who wants another one in its place when it is lost. */
  readonly keeper?: ConnectionKeeper | undefined;
}

/** Sees to it that there is another connection in the place of one that is lost. */
export interface ConnectionKeeper {
  /** Before anything can happen to it. */
  onMade(): void;
  /** Whether there will be an attempt to replace it, or the news that there is none. */
  comesBack(reason: CloseReason): boolean;
  onLost(reason: CloseReason, error: Error | undefined): void;
}

/**
 * One connection, from open to close.
 *
 * ```
 *  socket --read--> ConnectionInput (codec) --> event rings
 *  socket <--write-- ConnectionOutput <-- ConnectionEncoder (codec) <-- command rings
 * ```
 */
export class TcpConnection
  implements
    SocketListener,
    InputOwner,
    OutputOwner,
    EncoderOwner,
    ChannelOwner,
    LimitedConnection,
    PaceOwner,
    HeartbeatOwner,
    ServedConnection
{
  readonly slot: number;
  readonly generation: number;
  readonly origin: Origin;
  readonly input: ConnectionInput;
  readonly addresses: ConnectionAddresses;
  readonly #loop: EventLoop;
  readonly #socket: SocketStream;
  readonly #output: ConnectionOutput;
  readonly #encoder: ConnectionEncoder;
  services: ConnectionServices | undefined;

  /** See DirtyConnection. */
  dirty: 'no' | 'now' | 'batched' = 'no';
  /** Bytes that were sent after the shutdown, by a thread that could not know of it yet. */
  #discarded = 0;
  readonly #pauses: ReadPauses;
  readonly #rest: ReadRest;
  /** Threads that get no events and want to hear of the close. */
  #watchers: Set<EventLane> = NO_LANES;

  #finishing = false;
  /** It closes as soon as the kernel has what it takes at once. */
  #isWritingLast = false;
  #closed = false;
  /** Why it will close, as far as that is decided. */
  #reason: CloseReason | undefined;
  #error: Error | undefined;
  /** The application has ended it, whatever else may be the reason of its close. */
  #ownEnd: CloseReason | undefined;
  #windDownReason: CloseReason | undefined;
  /** Why threads that have handled everything would shut it down. */
  #doneReason: CloseReason | undefined;
  #shutdownWatch: ShutdownWatch | undefined;
  readonly #limits: ConnectionLimits | undefined;
  #heartbeat: Heartbeat | undefined;
  /** It has been told that its thread makes no progress. */
  #isStalled = false;
  /** Of the application's, with the kernel. */
  #sentBytes = 0;
  #saidGoodbye = false;
  /** Once it is closed. */
  #unsentBytes = 0;
  readonly #openedAt = monotonicMs();
  #closePayload: Buffer = NOTHING;
  #whenClosed: (() => void)[] | undefined;
  readonly #keeper: ConnectionKeeper | undefined;

  private constructor(
    loop: EventLoop,
    socket: SocketStream,
    origin: Origin,
    at: { slot: number; generation: number },
    { attempt, isAgain = false, sinceMs = 0, keeper }: Opening,
  ) {
    this.#loop = loop;
    this.#socket = socket;
    this.origin = origin;
    this.slot = at.slot;
    this.generation = at.generation;
    this.addresses = socket.addresses;
    this.#pauses = new ReadPauses(loop, socket);
    this.#rest = new ReadRest(loop);
    this.#output = new ConnectionOutput(socket, loop.chunkPool, this);
    this.#encoder = new ConnectionEncoder(this.#output, loop.chunkPool, this);
    this.#keeper = keeper;
    const { passesOn } = origin.audience;
    const about = { addresses: this.addresses, origin: origin.id, attempt, isAgain, passesOn };
    this.input = new ConnectionInput(at, this, about, loop.wheel);
    const { limits } = origin.settings;
    this.#limits = ConnectionLimits.of(limits, loop.wheel, this, sinceMs);
    const { maxSendBytesPerSecond, closesOverRate } = limits;
    if (maxSendBytesPerSecond !== undefined) {
      this.#output.pace = new SendPace(maxSendBytesPerSecond, closesOverRate, loop.wheel, this);
    }
  }

  /**
   * Makes a connection of a connected socket, announces it and starts to read.
   * @returns undefined if the connection table is full
   */
  static open(loop: EventLoop, socket: SocketStream, origin: Origin, opening: Opening): TcpConnection | undefined {
    const at = loop.slots.open(origin.slotSettings);
    if (at === undefined) return undefined;
    const connection = new TcpConnection(loop, socket, origin, at, opening);
    loop.slots.put(at.slot, connection);
    opening.keeper?.onMade();
    // Before anybody is told: who asks then finds it counted.
    loop.board.count(origin.isServer ? boardCounter.ACCEPTED : boardCounter.CONNECTED);
    connection.#start();
    return connection;
  }

  get id(): number {
    return connectionId(this.#loop.worker, this.slot, this.generation);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get isReading(): boolean {
    return this.#pauses.isReading;
  }

  get isDeaf(): boolean {
    return this.#pauses.isDeaf;
  }

  get role(): 'server' | 'client' {
    return this.origin.isServer ? 'server' : 'client';
  }

  get details(): ConnectionDetails {
    const { tls } = this.#socket;
    return { ...this.addresses, ...(tls !== undefined && { tls }) };
  }

  #start(): void {
    this.#socket.listener = this;
    this.#pauses.start();
    this.origin.connections.add(this);
    this.#loop.board.count(boardCounter.OPEN);
    logOpened(this.#loop.log, this);
    this.#startCodec();
    this.#startHeartbeat();
    this.#startServices();
    this.#place();
    this.updateLanePause();
  }

  #startCodec(): void {
    let codec: ConnectionCodec;
    try {
      codec = this.origin.codec.open(new ConnectionChannel(this, this.input));
    } catch (error) {
      this.#codecFailed(error);
      return;
    }
    this.input.start(codec);
    this.#encoder.start(codec);
  }

  #startHeartbeat(): void {
    const { heartbeat } = this.origin.settings;
    if (heartbeat === undefined || this.#closed) return;
    this.#heartbeat = new Heartbeat(heartbeat, this.#loop.wheel, this);
    this.#loop.appStalls.watch(this.origin);
  }

  #stopHeartbeat(): void {
    this.#heartbeat?.stop();
    this.#heartbeat = undefined;
  }

  #startServices(): void {
    const { services } = this.origin;
    if (services === undefined) return;
    this.origin.clientServices?.retain();
    const own = new ConnectionServices(services, this);
    this.services = own;
    this.input.serveWith(own);
    own.opened();
  }

  /** Finds threads that get its events. Without one, and with nobody to wait for, it ends. */
  #place(): void {
    if (!this.origin.audience.place(this)) this.orphan();
    // Nobody will come to hear of its end.
    else if (this.input.recipients.isHeld && this.#closed && this.origin.isEnded) this.#endAlone();
    else if (this.input.recipients.isHeld && this.#windDownReason !== undefined)
      this.#windDownAlone(this.#windDownReason);
  }

  /** Nobody is there to finish anything, and nobody will be: what the peer sends up to its end is dropped. */
  #windDownAlone(reason: CloseReason): void {
    this.origin.audience.forget(this);
    this.input.discard();
    this.shutdown(reason);
  }

  /** A thread gets its events from now on. */
  attach(lane: EventLane): void {
    lane.involved.add(this);
    this.input.attach(lane);
    // It may be crowded, also of this one.
    this.updateLanePause();
  }

  // ---- commands ----

  send(memory: SharedMemory, offset: number, length: number): void {
    if (this.#finishing) this.#discard(length);
    else this.#encoder.send(memory, offset, length);
  }

  sendPart(lane: EventLane, memory: SharedMemory, offset: number, length: number, isLast: boolean): void {
    if (this.#finishing) this.#discard(length);
    else {
      lane.involved.add(this);
      this.#encoder.sendPart(lane, memory, offset, length, isLast);
    }
  }

  /** One message for many connections: charged here, since no thread has. */
  broadcast(broadcast: Broadcast): void {
    if (this.#finishing || this.#closed) return;
    const encoded = broadcast.encodedFor(this.#encoder);
    const { table } = this.#loop;
    if (encoded === undefined) {
      table.noteDropped(this.slot);
      return;
    }
    const bytes = Buffer.isBuffer(encoded) ? encoded.length : broadcast.plainBytes;
    const { overflowLimit, dropOnOverflow } = this.origin.settings;
    const buffered = table.buffered(this.slot);
    if (buffered > 0 && buffered + bytes > overflowLimit) {
      if (dropOnOverflow) table.noteDropped(this.slot);
      else this.#close('backpressure', undefined);
      return;
    }
    table.charge(this.slot, bytes);
    if (encoded === EACH_FOR_ITSELF) this.#encoder.sendMessage(broadcast.copy(), bytes);
    else this.#encoder.sendShared(encoded, bytes);
  }

  /** FIN behind what was sent; the connection closes when both sides are done, or when nothing moves any more. */
  shutdown(reason: CloseReason): void {
    if (reason === 'local-shutdown') this.#ownEnd = reason;
    if (this.#finishing || this.#closed) return;
    if (reason !== 'peer-end') this.#sayGoodbye(reason);
    this.#limits?.ending();
    // From here on there can be no pings; `shutdownTimeoutMs` watches over what is left.
    this.#stopHeartbeat();
    this.#finishing = true;
    this.#reason ??= this.#windDownReason ?? reason;
    this.#loop.table.setState(this.slot, this.generation, slotState.CLOSING);
    this.#pauses.end();
    this.#encoder.finish();
    const { shutdownTimeoutMs } = this.origin.settings;
    const onStuck = (): void => this.#close(this.#reason ?? 'local-shutdown', this.#error);
    this.#shutdownWatch = new ShutdownWatch(this.#loop.wheel, shutdownTimeoutMs, () => this.#progress(), onStuck);
  }

  /** A thread has handled all there was behind the peer's end, or since the server closes. All who get its events must have. */
  shutdownWhenDone(lane: EventLane, reason: CloseReason): void {
    this.input.recipients.woundDown(lane);
    this.#doneReason ??= reason;
    this.#checkWoundDown();
  }

  #checkWoundDown(): void {
    if (this.#doneReason !== undefined && this.input.recipients.isWoundDown) this.shutdown(this.#doneReason);
  }

  destroy(reason: CloseReason, error?: Error): void {
    if (reason === 'local-destroy') this.#ownEnd = reason;
    // As from a net.Socket: what was sent in front of it goes as far as the kernel takes it at once.
    if (reason === 'local-destroy') this.#closeBehindOutput(reason, error);
    else this.#close(reason, error);
  }

  /** The time is up that it had to end by itself. */
  cut(reason: CloseReason): void {
    this.#close(reason, undefined, true);
  }

  setPausedBy(lane: EventLane, paused: boolean): void {
    if (paused) lane.involved.add(this);
    this.#pauses.setBy(lane, paused);
  }

  /** Some lane has become crowded, or is no longer. */
  updateLanePause(): void {
    const isCrowded = this.input.isOnCrowdedLane;
    this.#pauses.set(pauseReason.WITH_LANE, isCrowded);
    if (!isCrowded) this.input.eased();
  }

  notifyFlushed(lane: EventLane): void {
    this.watch(lane);
    if (!this.#closed) this.#encoder.notifyFlushed(lane);
  }

  watch(lane: EventLane): void {
    if (!this.#closed) {
      lane.involved.add(this);
      this.#addWatcher(lane);
    } else if (this.input.recipients.isLeavingFrom(lane)) this.#addWatcher(lane);
    else if (!this.input.recipients.has(lane)) this.#tellOfClose(lane);
  }

  #addWatcher(lane: EventLane): void {
    if (this.#watchers === NO_LANES) this.#watchers = new Set();
    this.#watchers.add(lane);
  }

  /** A thread that had been asked to leave has left. */
  released(lane: EventLane, overtaken: ReadonlySet<number>): void {
    this.setPausedBy(lane, false);
    if (!this.input.released(lane, overtaken)) return;
    // It had still to finish when the connection closed, and hears of it now.
    if (this.#closed && this.#watchers.delete(lane)) this.#tellOfClose(lane);
    this.#placeIfHeld();
    this.#checkWoundDown();
    this.origin.noteReleased(lane);
  }

  /** A thread is dead: what it had begun to send is dropped, what it has not finished goes to another one. */
  laneDied(lane: EventLane): void {
    const bytes = this.#encoder.dropParts(lane);
    this.#loop.table.forgetAsker(this.slot, lane.index);
    if (bytes > 0) this.uncharge(bytes);
    this.#watchers.delete(lane);
    this.setPausedBy(lane, false);
    if (!this.input.laneDied(lane)) return;
    this.#placeIfHeld();
    this.#checkWoundDown();
  }

  #placeIfHeld(): void {
    if (this.#isOver) return;
    // A thread that is still at work may have unfinished messages.
    if (this.input.recipients.isHeld && !this.input.recipients.isLeaving) this.#place();
    this.updateLanePause();
  }

  get #isOver(): boolean {
    return this.#loop.slots.get(this.slot) !== this;
  }

  /** No thread has come to get its events in time. */
  orphan(): void {
    if (!this.origin.isEnded && this.#windDownReason === undefined) logOrphaned(this.#loop.log, this.origin);
    this.#endAlone();
  }

  /** No thread gets its events, and none will. What has been sent leaves first. */
  #endAlone(): void {
    if (!this.#closed && this.#unsent > 0) {
      if (!this.#finishing) this.#reason = 'orphaned';
      this.#windDownAlone('orphaned');
      return;
    }
    this.#close('orphaned', undefined);
    this.input.abandon();
    this.onOver();
  }

  /**
   * Asks the app thread, in order with the messages that it has still to handle, to shut the connection down.
   * Resolves when it is closed.
   */
  windDown(reason: CloseReason): Promise<void> {
    if (this.#closed) {
      // Held for a thread to hear of its end: none will come.
      if (this.input.recipients.isHeld && !this.input.recipients.isLeaving) this.#endAlone();
      return Promise.resolve();
    }
    const closed = new Promise<void>((resolve) => {
      this.#whenClosed ??= [];
      this.#whenClosed.push(resolve);
    });
    if (this.#windDownReason === undefined) {
      this.#windDownReason = reason;
      this.#sayGoodbye(reason);
      this.input.windDown();
      if (this.input.recipients.isHeld && !this.input.recipients.isLeaving) this.#windDownAlone(reason);
    }
    return closed;
  }

  /** Bytes that it had accepted and that the kernel never got, once it is closed. */
  get unsentBytes(): number {
    return this.#unsentBytes;
  }

  /** Once, while there is time for the peer to do something about it. */
  #sayGoodbye(reason: CloseReason): void {
    if (this.#saidGoodbye) return;
    this.#saidGoodbye = true;
    this.input.sayGoodbye(reason);
  }

  /** Bytes that are to be written and have not been handed to the socket. */
  get outputBytes(): number {
    return this.#output.waitingBytes;
  }

  /** The event loop's, at the end of a turn. */
  flush(): void {
    if (!this.#closed) this.#output.flush();
  }

  // ---- the socket's ----

  onData(bytes: Uint8Array, length: number): void {
    this.#loop.table.noteReceived(this.slot, Date.now(), length);
    this.#heartbeat?.heard();
    if (this.#loop.log.isEnabled('trace')) {
      this.#loop.log.write('trace', { connection: this.id, bytes: bytes.subarray(0, length) }, 'Received');
    }
    const { moved } = this.input;
    this.input.received(bytes, length);
    // An answer is likely. Heartbeats are none of a thread's business: they need no turn.
    if (this.input.moved !== moved) this.#loop.wake();
    if (!this.#closed) this.#limits?.received(length);
    const isEnough = this.#rest.note(length) || this.input.isAheadOfItself;
    if (this.#closed || !isEnough) return;
    this.#pauses.set(pauseReason.RESTING, true);
    this.#loop.rest(this);
  }

  /** The event loop's, in each turn until it returns true. */
  endRest(): boolean {
    if (this.#closed) return true;
    if (!this.#rest.end(this.input.isAheadOfItself)) return false;
    this.#pauses.set(pauseReason.RESTING, false);
    return true;
  }

  onWritten(): void {
    this.#output.onWritten();
  }

  onEnd(): void {
    if (this.#closed) return;
    this.#loop.wake();
    this.#reason ??= this.#windDownReason ?? 'peer-end';
    this.#stopHeartbeat();
    if (this.origin.settings.allowHalfOpen) this.#limits?.peerEnded();
    else this.#limits?.ending();
    this.input.ended();
  }

  onError(error: Error): void {
    if (isTlsError(error)) {
      this.#close('tls-error', tlsError('TLS failed', error));
      return;
    }
    const message = `The connection broke: ${error.message}`;
    this.#close('peer-reset', new ReactorError('ERR_REACTOR_CONNECTION_LOST', message, { cause: error }));
  }

  onClose(): void {
    this.#close(this.#reason ?? 'peer-end', this.#error);
  }

  // ---- the input's ----

  onMessages(count: number): void {
    this.#loop.table.noteMessages(this.slot, count);
  }

  onInputEnded(): void {
    const incomplete = this.input.incomplete();
    if (incomplete === undefined || this.#reason !== 'peer-end') return;
    this.#reason = 'protocol-error';
    this.#error = new ReactorError('ERR_REACTOR_PROTOCOL', `The peer ended inside a frame: ${incomplete}`);
  }

  onBlocked(blocked: boolean): void {
    this.#pauses.set(pauseReason.BLOCKED, blocked);
  }

  hasAsked(lane: number): boolean {
    return this.#loop.table.hasAsked(this.slot, lane);
  }

  onAnswerBox(): void {
    // Not from here: something is being decoded.
    queueMicrotask(() => this.updateLanePause());
  }

  answerLane(index: number): EventLane | undefined {
    const lane = this.#loop.lane(index);
    lane?.involved.add(this);
    return lane;
  }

  onIgnored(kind?: number): void {
    this.#loop.board.count(boardCounter.IGNORED_FRAMES);
    const { log } = this.#loop;
    if (!log.isEnabled('info')) return;
    const about = { connection: this.id, ...this.addresses, ...(kind !== undefined && { kind }) };
    log.write('info', about, 'Frame of an unknown kind ignored');
  }

  onBadInput(reason: CloseReason, error: ReactorError): void {
    this.#close(reason, error);
  }

  messagesDone(): number {
    return this.#loop.table.done(this.slot);
  }

  onOver(): void {
    if (this.#isOver) return;
    this.origin.audience.forget(this);
    this.origin.connections.delete(this);
    if (this.origin.connections.size === 0) this.#loop.appStalls.unwatch(this.origin);
    if (this.services !== undefined) this.origin.clientServices?.release();
    if (this.origin.isUnused) this.#loop.origins.delete(this.origin.id);
    this.#loop.slots.free(this.slot);
    this.#loop.forget(this);
  }

  // ---- the codec's and the encoder's ----

  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    return !this.#finishing && !this.#closed && this.#encoder.writeOwn(write);
  }

  onEncodeFailed(error: unknown): void {
    this.#codecFailed(error);
  }

  #codecFailed(cause: unknown): void {
    this.#close('protocol-error', codecFailed(cause));
  }

  // ---- the services' ----

  get state(): 'open' | 'closing' | 'closed' {
    if (this.#closed || this.input.isHalted) return 'closed';
    return this.#finishing ? 'closing' : 'open';
  }

  get bufferedAmount(): number {
    return this.#loop.table.buffered(this.slot);
  }

  sendFromService(call: string, message: Uint8Array, kind: number): boolean {
    const { settings, codec } = this.origin;
    const { type } = settings.codec;
    checkServiceMessage(call, message.length, kind, type, codec);
    if (this.state !== 'open') return false;
    const { table } = this.#loop;
    const framed = type !== 'raw';
    const bytes = message.length + (framed ? FRAME_HEADER_BYTES : 0);
    const before = table.charge(this.slot, bytes);
    if (before > 0 && before + bytes > settings.overflowLimit) {
      table.uncharge(this.slot, bytes);
      if (settings.dropOnOverflow) table.noteDropped(this.slot);
      else this.#close('backpressure', undefined);
      return false;
    }
    this.#encoder.sendCopy(message, kind, bytes, framed);
    if (before + bytes <= settings.highWaterMark) return true;
    // A codec may have made nothing of it: nothing would end the pause.
    if (table.buffered(this.slot) > table.lowWater(this.slot)) this.#pauses.set(pauseReason.OUTPUT, true);
    return false;
  }

  serviceFailed(error: ReactorError): void {
    this.#close('service-failed', error);
  }

  // ---- the output's ----

  onOutput(): void {
    this.#loop.markDirty(this);
  }

  onSent(bytes: number, own: number): void {
    this.#loop.table.noteSent(this.slot, bytes);
    this.#sentBytes += bytes - own;
    this.#limits?.moved();
    this.uncharge(bytes - own);
  }

  onFlushed(lane: EventLane): void {
    lane.notices.send(eventKind.FLUSHED, this.slot, this.generation, NOTHING);
  }

  // ---- the heartbeat's ----

  ping(clock: number): boolean {
    return this.input.ping(clock);
  }

  onPinged(latenessMs: number): void {
    this.#loop.board.notePing(latenessMs);
  }

  onSilent(silentMs: number): void {
    const message = `Nothing came from the peer for ${Math.round(silentMs)} ms`;
    this.#endWithGoodbye('heartbeat-timeout', new ReactorError('ERR_REACTOR_HEARTBEAT_TIMEOUT', message));
  }

  get answersPings(): boolean {
    return this.#heartbeat?.isSilenced !== true;
  }

  onPong(clock: number): void {
    const ms = this.#heartbeat?.answered(clock);
    if (ms !== undefined) this.#loop.table.noteRoundTrip(this.slot, ms);
  }

  // ---- AppStalls' ----

  /** Its thread makes no progress. Called again and again while that lasts. */
  appStalled(stallMs: number, action: StallAction): void {
    if (this.#finishing || this.#closed) return;
    this.#isStalled = true;
    switch (action) {
      case 'close': {
        const message = `The thread that gets its events has made no progress for ${Math.round(stallMs)} ms`;
        this.#endWithGoodbye('app-stalled', new ReactorError('ERR_REACTOR_APP_STALLED', message));
        break;
      }
      case 'stop-heartbeat':
        if (this.#heartbeat !== undefined) this.#heartbeat.isSilenced = true;
        break;
      case 'pause':
        this.#pauses.set(pauseReason.STALLED, true);
        this.input.sayBusy(stallMs);
        break;
      case 'report':
        this.input.sayBusy(stallMs);
        break;
    }
  }

  get isStalled(): boolean {
    return this.#isStalled;
  }

  appMovesOn(action: StallAction): void {
    if (!this.#isStalled) return;
    this.#isStalled = false;
    if (this.#heartbeat !== undefined) this.#heartbeat.isSilenced = false;
    this.#pauses.set(pauseReason.STALLED, false);
    if (!this.#closed && (action === 'report' || action === 'pause')) this.input.sayBusy(0);
  }

  // ---- the limits' ----

  get movement(): number {
    return this.input.moved + this.#sentBytes;
  }

  get hasReceivedFrame(): boolean {
    return this.input.hasReceivedFrame;
  }

  onThrottled(throttled: boolean): void {
    this.#pauses.set(pauseReason.THROTTLED, throttled);
  }

  onOverLimit(reason: CloseReason, error: ReactorError): void {
    this.#endWithGoodbye(reason, error);
  }

  /** At once, but for what the kernel takes at once. */
  #endWithGoodbye(reason: CloseReason, error: ReactorError): void {
    if (this.#closed) return;
    this.#sayGoodbye(reason);
    this.#closeBehindOutput(reason, error);
  }

  #closeBehindOutput(reason: CloseReason, error: Error | undefined): void {
    if (this.#closed) return;
    this.#isWritingLast = true;
    while (this.#output.flush());
    this.#close(reason, error);
  }

  onRoom(): void {
    this.#loop.markDirty(this);
  }

  onOverRate(): void {
    // Then it stays unsent: that is not why it closes.
    if (this.#isWritingLast) return;
    const { maxSendBytesPerSecond } = this.origin.settings.limits;
    const what = `more than ${maxSendBytesPerSecond} bytes were to be sent in a second`;
    // Not even a goodbye: that would be more.
    this.#close('limit', overLimit('maxSendBytesPerSecond', what));
  }

  // ----

  uncharge(bytes: number): void {
    const { table } = this.#loop;
    // First the subtraction, then the look for waiters: ConnectionTable.awaitDrain does the opposite.
    if (table.uncharge(this.slot, bytes) > table.lowWater(this.slot)) return;
    if (this.#pauses.has(pauseReason.OUTPUT)) this.#pauses.set(pauseReason.OUTPUT, false);
    for (const lane of this.#loop.lanesOf(table.takeDrainWaiters(this.slot))) {
      lane.notices.send(eventKind.DRAIN, this.slot, this.generation, NOTHING);
    }
  }

  /** Bytes that senders were charged for and that the kernel does not have. */
  get #unsent(): number {
    return this.#output.unwritten + this.#encoder.waitingBytes;
  }

  #discard(bytes: number): void {
    this.#discarded += bytes;
    this.uncharge(bytes);
  }

  #tellOfClose(lane: EventLane): void {
    lane.notices.send(eventKind.CLOSE, this.slot, this.generation, this.#closePayload);
  }

  #progress(): number {
    const { written } = this.#output;
    // What is dropped is no progress: a peer that goes on sending must not keep it open.
    return this.input.isDropped ? written : written + this.#loop.table.counts(this.slot).bytesReceived;
  }

  /** @param isCut see CloseEvent */
  #close(reason: CloseReason, error: Error | undefined, isCut = false): void {
    if (this.#closed || this.input.halt(() => this.#close(reason, error, isCut))) return;
    this.#closed = true;
    this.#loop.groups.drop(this);
    this.#pauses.close();
    this.#rest.stop();
    this.#shutdownWatch?.stop();
    this.#limits?.stop();
    this.#stopHeartbeat();
    const { table } = this.#loop;
    this.#output.settle();
    // First the state, then what is buffered: a sender adds first and then looks at the state.
    table.setState(this.slot, this.generation, slotState.CLOSED);
    const unsentBytes = Math.max(0, table.buffered(this.slot)) + this.#discarded;
    this.#unsentBytes = unsentBytes;
    table.uncharge(this.slot, this.#unsent);
    this.#encoder.close();
    this.#output.clear();
    this.#socket.destroy();
    const { board } = this.#loop;
    board.count(boardCounter.CLOSED);
    board.count(boardCounter.OPEN, -1);
    const counts = table.counts(this.slot);
    // A peer may answer the end of this side with a reset, or its own end be known before: that it was wanted is what counts.
    const intent = this.#ownEnd ?? (this.#finishing && this.#reason !== undefined ? this.#reason : reason);
    const reconnecting = this.#keeper?.comesBack(intent) === true;
    this.#closePayload = encodeClose({ reason, unsentBytes, reconnecting, isCut, counts }, error);
    const openMs = monotonicMs() - this.#openedAt;
    logClosed(this.#loop.log, this, { reason, unsentBytes, openMs, counts, error });
    // Who waits for drain has become a waiter first and then looks at the state: one of us notices.
    for (const lane of this.#loop.lanesOf(table.takeDrainWaiters(this.slot))) this.#addWatcher(lane);
    for (const lane of this.#watchers) {
      // One that gets the events hears of it behind them; one that is leaving, when it has left.
      if (this.input.recipients.isLeavingFrom(lane)) continue;
      this.#watchers.delete(lane);
      if (!this.input.recipients.has(lane)) this.#tellOfClose(lane);
    }
    this.services?.closed(reason);
    this.input.closed(this.#closePayload, UNCUT_REASONS.has(reason));
    for (const listener of this.#whenClosed ?? []) listener();
    this.#keeper?.onLost(intent, error);
  }
}
