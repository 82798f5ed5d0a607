import { MessageChannel, type MessagePort, type Transferable, threadId } from 'node:worker_threads';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { CloseReason } from '../shared/close-reason.js';
import { type ConnectionId, connectionId } from '../shared/connection-id.js';
import { ConnectionTable } from '../shared/connection-table.js';
import {
  type ControlResult,
  type DrainReport,
  type IoWorkerControl,
  LANE_REQUEST,
  type LaneRequest,
  type LaneWelcome,
} from '../shared/control-protocol.js';
import { Doorbell } from '../shared/doorbell.js';
import {
  type CloseEvent,
  decodeTlsFailed,
  eventKind,
  type OpenEvent,
  type PartHeader,
} from '../shared/event-record.js';
import { threadWord } from '../shared/lane.js';
import { Ledger } from '../shared/ledger.js';
import { fromErrorData, type ReactorError } from '../shared/reactor-error.js';
import type { ReconnectNews } from '../shared/reconnect-settings.js';
import { RingConsumer } from '../shared/ring-consumer.js';
import { RingProducer } from '../shared/ring-producer.js';
import { decodeServiceReport } from '../shared/service-report.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { IO_SLEEP_WORD, StatusBoard } from '../shared/status-board.js';
import { timerId } from '../shared/timer-record.js';
import { AppLane, type LaneListener } from './app-lane.js';
import type { AppLoop } from './app-loop.js';
import { CommandWriter } from './command-writer.js';
import type { ConnectionContext } from './connection-host.js';
import type { IoThread } from './crash-causes.js';
import { publishOpen } from './diagnostics.js';
import { Requests } from './requests.js';
import { surfaceErrors } from './surface.js';
import { TcpConnection } from './tcp-connection.js';
import type { TcpHost } from './tcp-host.js';
import { WeakHandles } from './weak-handles.js';

type Methods = {
  [K in keyof IoWorkerControl]: (...args: Parameters<IoWorkerControl[K]>) => ReturnType<IoWorkerControl[K]>;
};
/** What a call answers if it succeeds. */
export type ControlValue<K extends keyof IoWorkerControl> = IoWorkerControl[K] extends (
  ...args: never[]
) => ControlResult<infer T>
  ? T
  : never;

/** What a link needs of its reactor. */
export interface LinkOwner {
  /** Names the reactor. */
  readonly reactor: string;
  readonly loop: AppLoop;
  readonly threadWords: SharedMemory;
  hostOf(origin: number): TcpHost | undefined;
  /** Connections have come or gone, or commands have begun or ceased to wait. */
  onConnections(): void;
  /** Keeps the thread alive while somebody waits. */
  hold<T>(wait: () => Promise<T>): Promise<T>;
  onServerClosed(id: number): void;
  onTimer(id: number): void;
  /** Rejects a call that an io worker does not answer, when it is known why. */
  whenGone(of: IoThread, call: string, reject: (error: ReactorError) => void): void;
  /** The io worker is gone, and all that it had told has been handed out. */
  onLost(link: IoLink): void;
}

/** How the request for a lane gets to an io worker. */
export type RequestLane = (request: LaneRequest, ports: readonly Transferable[]) => void | Promise<void>;

/**
 * This thread's way to one io worker, from the moment it has a lane until one of the two is gone: the lane, the connections that it
 * brings, and calls.
 */
export class IoLink implements LaneListener {
  readonly worker: number;
  /** The thread that it is. */
  readonly ioThreadId: number;
  readonly board: StatusBoard;
  readonly context: ConnectionContext;
  readonly lane: AppLane;
  readonly #laneIndex: number;
  readonly #owner: LinkOwner;
  readonly #ports: LinkPorts;
  /** Connections whose events this thread gets. */
  readonly #connections = new Map<number, TcpConnection>();
  /** Those of them that do not keep the thread alive. */
  readonly #unreferenced = new Set<TcpConnection>();
  /** Others that wait for something, by their ids: those from before and from after a hand-over are not the same object. */
  readonly #watched = new Map<ConnectionId, Set<TcpConnection>>();
  /** Which object has asked for FLUSHED, and which others want to ask when it has come: one at a time for each connection. */
  readonly #flushes = new Map<ConnectionId, { asked: Set<TcpConnection>; next: Set<TcpConnection> }>();
  /** Others that somebody may still have in hand: one object for each. */
  readonly #handles = new WeakHandles<ConnectionId, TcpConnection>();
  #lost = false;

  private constructor({ worker, ioThreadId }: IoThread, owner: LinkOwner, ports: LinkPorts, welcome: LaneWelcome) {
    this.worker = worker;
    this.ioThreadId = ioThreadId;
    this.#owner = owner;
    this.#ports = ports;
    this.#laneIndex = welcome.lane;
    const { memory } = welcome;
    const table = new ConnectionTable(new SharedMemory(welcome.table), welcome.firstGeneration);
    this.board = new StatusBoard(new SharedMemory(welcome.board));
    const doorbell = new Doorbell(this.board.memory, IO_SLEEP_WORD, () => ports.doorbell.postMessage(0));
    const commands = new CommandWriter(
      new RingProducer(new SharedMemory(memory.commands)),
      table,
      new Ledger(new SharedMemory(memory.ledger)),
      doorbell,
      () => owner.loop.wake(),
      () => owner.onConnections(),
    );
    this.lane = new AppLane(new RingConsumer(new SharedMemory(memory.events)), commands, () => doorbell.ring(), this);
    this.context = {
      reactor: owner.reactor,
      worker,
      lane: welcome.lane,
      table,
      commands,
      activity: owner.loop.activity,
      soon: (run) => owner.loop.soon(run),
      requests: new Requests(),
      watch: (connection) => this.#watch(connection),
      flush: (connection) => this.#flush(connection),
      release: (connection) => this.#release(connection),
      setRef: (connection, referenced) => this.#setRef(connection, referenced),
      info: (id) => owner.hold(() => this.call('info', id)),
      hold: (wait) => owner.hold(wait),
    };
    ports.doorbell.on('message', () => owner.loop.rung());
    ports.doorbell.unref();
    // Handed out first: what the io worker had put into the ring before it died.
    ports.onClosed = () => this.#onPortsClosed();
    owner.loop.add(this.lane);
  }

  /**
   * Gets a lane. `gone` is aborted when the io worker is. Rejects with ERR_REACTOR_TOO_MANY_THREADS, or ERR_REACTOR_IO_WORKER_CRASH if the io worker goes meanwhile.
   */
  static async join(to: IoThread, owner: LinkOwner, request: RequestLane, gone: AbortSignal): Promise<IoLink> {
    const ports = new LinkPorts((call, reject) => owner.whenGone(to, call, reject));
    // Of a message to a thread that is just ending one never hears again, nor of the ports in it.
    gone.addEventListener('abort', () => ports.close());
    try {
      const { doorbellPort, controlPort } = ports.theirs;
      const thread = owner.threadWords.buffer;
      const lane: LaneRequest = { type: LANE_REQUEST, threadId, thread, doorbellPort, controlPort };
      await ports.orGone(nameOf('join'), Promise.resolve(request(lane, [doorbellPort, controlPort])));
      return new IoLink(to, owner, ports, await ports.call('join'));
    } catch (error) {
      ports.close();
      throw error;
    }
  }

  /** The io worker is gone, or this thread has left it. */
  get isLost(): boolean {
    return this.#lost;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** How many connections keep the thread alive. */
  get referencedCount(): number {
    return this.#connections.size - this.#unreferenced.size;
  }

  /** What is lost if the link is left now. */
  drainReport(): DrainReport {
    let unsentBytes = 0;
    for (const connection of this.#connections.values()) unsentBytes += connection.bufferedAmount;
    return { connections: this.#connections.size, cut: this.#connections.size, unsentBytes, lostMessages: 0 };
  }

  /** Calls the io worker. Rejects with its error, or with ERR_REACTOR_IO_WORKER_CRASH if it ends first. */
  call<K extends keyof IoWorkerControl>(method: K, ...args: Parameters<IoWorkerControl[K]>): Promise<ControlValue<K>> {
    return this.#ports.call(method, ...args);
  }

  /** Keeps the thread alive, or not. */
  ref(referenced: boolean): void {
    if (referenced) this.#ports.doorbell.ref();
    else this.#ports.doorbell.unref();
  }

  /** The io worker is dead: what it has told will be handed out. */
  ended(): void {
    this.#ports.close();
  }

  /** Leaves the io worker. Returns at once. */
  leave(): void {
    this.#lost = true;
    this.lane.stop();
    // Before the ports are closed: then the io worker gives the rings to another thread.
    this.lane.retire();
    this.#owner.loop.remove(this.lane);
    this.#ports.close();
  }

  /**
   * Tells every connection of this link that it is over, in place of an io worker that will not.
   * @param isDead the io worker is gone; otherwise it goes on, with other threads
   */
  endAll(reason: CloseReason, isDead: boolean): void {
    const { table } = this.context;
    if (isDead) table.closeAll();
    const watched = [...this.#watched.values()].flatMap((each) => [...each]);
    // Also those that nobody waits for: what is sent on them from now on would go nowhere.
    const connections = [...this.#connections.values(), ...watched, ...this.#handles.values()];
    this.#connections.clear();
    this.#unreferenced.clear();
    this.#watched.clear();
    this.#flushes.clear();
    this.#handles.clear();
    this.#owner.onConnections();
    for (const connection of connections) {
      const { slot } = connection;
      const event = { reason, unsentBytes: Math.max(0, table.buffered(slot)), counts: table.counts(slot) };
      surfaceErrors(() => connection.receiveClose(event));
    }
    if (this.#lost) this.lane.retire();
  }

  // ---- what the lane brings ----

  connectionAt(slot: number, generation: number): TcpConnection | undefined {
    const connection = this.#connections.get(slot);
    return connection?.generation === generation ? connection : undefined;
  }

  /** The connection, whether this thread gets its events or not: always the same object for the same one. */
  connection(slot: number, generation: number): TcpConnection {
    const received = this.connectionAt(slot, generation);
    if (received !== undefined) return received;
    const id = connectionId(this.worker, slot, generation);
    const known = this.#handles.get(id);
    if (known !== undefined) return known;
    const connection = new TcpConnection(this.context, slot, generation);
    if (connection.state === 'closed') return connection;
    this.#handles.set(id, connection);
    return connection;
  }

  onOpen(slot: number, generation: number, event: OpenEvent): void {
    const host = this.#owner.hostOf(event.origin);
    const connection = new TcpConnection(this.context, slot, generation, host, event);
    // It may be in this thread's hands already: it has left and comes back, before the last handler was through.
    this.#connections.set(slot, connection);
    // From now on the new one says whether the socket is read.
    for (const other of this.#watched.get(connection.id) ?? []) other.onReading(false);
    this.#owner.onConnections();
    const { handedOver, reconnected } = event;
    publishOpen(this.#owner.reactor, connection, event.handedOver);
    if (host === undefined) connection.destroy();
    else host.onOpen(connection, event.attempt, { handedOver, reconnected });
  }

  onClose(slot: number, generation: number, event: CloseEvent): void {
    const connection = this.connectionAt(slot, generation);
    const id = connectionId(this.worker, slot, generation);
    const watched = this.#watched.get(id) ?? [];
    this.#watched.delete(id);
    this.#flushes.delete(id);
    for (const each of watched) surfaceErrors(() => each.receiveClose(event));
    if (connection === undefined) return;
    this.#connections.delete(slot);
    this.#unreferenced.delete(connection);
    this.#owner.onConnections();
    connection.receiveClose(event);
  }

  onDrain(slot: number, generation: number): void {
    const connection = this.connectionAt(slot, generation);
    const watched = this.#watched.get(connectionId(this.worker, slot, generation)) ?? [];
    for (const each of watched) surfaceErrors(() => each.receiveDrain());
    connection?.receiveDrain();
  }

  onFlushed(slot: number, generation: number): void {
    const id = connectionId(this.worker, slot, generation);
    const flush = this.#flushes.get(id);
    if (flush === undefined) return;
    this.#flushes.delete(id);
    if (flush.next.size > 0) {
      this.#flushes.set(id, { asked: flush.next, next: new Set() });
      this.context.commands.flush(slot, generation);
    }
    for (const each of flush.asked) each.receiveFlushed();
  }

  onServerClosed(id: number): void {
    this.#owner.onServerClosed(id);
  }

  onAnswers(slot: number, generation: number, frames: Buffer): void {
    this.context.requests.answered(connectionId(this.worker, slot, generation), frames);
  }

  onAnswerPart(slot: number, generation: number, piece: Uint8Array, header?: PartHeader): void {
    this.context.requests.answeredInPart(connectionId(this.worker, slot, generation), piece, header);
  }

  onReconnecting(news: ReconnectNews): void {
    this.#owner.hostOf(news.client)?.onReconnecting(news);
  }

  onTlsEvent(kind: number, id: number, payload: Buffer): void {
    const host = this.#owner.hostOf(id);
    if (kind === eventKind.TLS_FAILED) host?.onTlsFailed(decodeTlsFailed(payload));
    else host?.onTlsUpdated(payload.readUInt32LE(), this.worker);
  }

  onTimer(slot: number, generation: number, number: number): void {
    // Before the clock is read: the io worker relies on it (lane-timers.ts).
    this.#owner.threadWords.store(threadWord.TIMERS_TAKEN, number);
    this.#owner.onTimer(timerId(slot, generation));
  }

  onServiceReport(payload: Buffer): void {
    const { origin, report } = decodeServiceReport(payload);
    this.#owner.hostOf(origin)?.onServiceReport(report);
  }

  onProgress(position: number): void {
    if (this.#lost) return;
    this.board.noteProgress(this.#laneIndex, position, Date.now());
  }

  // ----

  #watch(connection: TcpConnection): void {
    const { id } = connection;
    const watched = this.#watched.get(id);
    if (watched === undefined) this.#watched.set(id, new Set([connection]));
    else watched.add(connection);
    this.context.commands.watch(connection.slot, connection.generation);
  }

  #flush(connection: TcpConnection): void {
    const { id, slot, generation } = connection;
    const flush = this.#flushes.get(id);
    if (flush !== undefined) {
      flush.next.add(connection);
      return;
    }
    this.#flushes.set(id, { asked: new Set([connection]), next: new Set() });
    this.context.commands.flush(slot, generation);
  }

  #release(connection: TcpConnection): void {
    const { slot, generation } = connection;
    this.context.commands.released(slot, generation, connection.overtaken);
    this.#handles.set(connection.id, connection);
    this.#unreferenced.delete(connection);
    if (this.#connections.get(slot) !== connection) return;
    this.#connections.delete(slot);
    this.#owner.onConnections();
  }

  #setRef(connection: TcpConnection, referenced: boolean): void {
    if (this.#connections.get(connection.slot) !== connection) return;
    if (referenced) this.#unreferenced.delete(connection);
    else this.#unreferenced.add(connection);
    this.#owner.onConnections();
  }

  #onPortsClosed(): void {
    if (this.#lost) return;
    this.#lost = true;
    this.lane.drainThen(() => {
      this.#owner.loop.remove(this.lane);
      this.#owner.onLost(this);
    });
    this.#owner.loop.wake();
  }
}

/** The two ports of a lane, and the calls that wait for an answer on them. */
class LinkPorts {
  readonly doorbell: MessagePort;
  readonly theirs: { readonly doorbellPort: MessagePort; readonly controlPort: MessagePort };
  readonly #controlPort: MessagePort;
  readonly #control: comlink.Remote<Methods>;
  /** How to reject each of them, with its name. */
  readonly #calls = new Map<(error: ReactorError) => void, string>();
  #closed = false;
  onClosed: () => void = () => {};
  readonly #whenGone: (call: string, reject: (error: ReactorError) => void) => void;

  /** @param whenGone rejects a call that is not answered */
  constructor(whenGone: (call: string, reject: (error: ReactorError) => void) => void) {
    this.#whenGone = whenGone;
    const doorbell = new MessageChannel();
    const control = new MessageChannel();
    this.doorbell = doorbell.port1;
    this.#controlPort = control.port1;
    this.theirs = { doorbellPort: doorbell.port2, controlPort: control.port2 };
    this.#control = comlink.wrap<Methods>(nodeEndpoint(this.#controlPort));
    // What keeps the process alive is the doorbell port, for as long as anything is open.
    this.#controlPort.unref();
    this.doorbell.once('close', () => this.#onClosed());
  }

  async call<K extends keyof IoWorkerControl>(
    method: K,
    ...args: Parameters<IoWorkerControl[K]>
  ): Promise<ControlValue<K>> {
    const invoke = this.#control[method] as unknown as (...args: unknown[]) => ControlResult<unknown>;
    const name = nameOf(method);
    if (this.#closed) return new Promise((_, reject) => this.#whenGone(name, reject));
    const result = await this.orGone(name, invoke(...args));
    if (!result.ok) throw fromErrorData(result.error);
    return result.value as ControlValue<K>;
  }

  /** Settles as the promise does, or rejects when the other side goes first. */
  orGone<T>(call: string, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#calls.set(reject, call);
      promise.then(resolve, reject).finally(() => this.#calls.delete(reject));
    });
  }

  close(): void {
    this.doorbell.close();
    this.#onClosed();
  }

  #onClosed(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#controlPort.close();
    for (const [reject, call] of this.#calls) this.#whenGone(call, reject);
    this.#calls.clear();
    this.onClosed();
  }
}

/** Where a call to an io worker has not the name of what the application has called. */
const otherNames: Partial<Record<keyof IoWorkerControl, string>> = {
  join: 'attach()',
  describe: 'subscribe()',
  closeOrigin: 'close()',
  abortConnect: 'connect()',
};

export function nameOf(method: keyof IoWorkerControl): string {
  return otherNames[method] ?? `${method}()`;
}
