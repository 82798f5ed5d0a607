import { postMessageToThread, threadId } from 'node:worker_threads';
import type { CloseReason } from '../shared/close-reason.js';
import { type ConnectionId, generationOf, MAX_GENERATION, slotOf, workerOf } from '../shared/connection-id.js';
import { sumDrained } from '../shared/drain-report.js';
import { DEFAULT_RING_BYTES, type LaneSizes } from '../shared/lane.js';
import { type LogLevel, logLevels, logThreshold } from '../shared/log-protocol.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError } from '../shared/reactor-error.js';
import { Registry } from '../shared/registry.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { calledFrom } from './called-from.js';
import { show } from './checks.js';
import { type CloseReport, closeReport, NOTHING_CLOSED } from './close-report.js';
import { CrashCauses, type IoThread } from './crash-causes.js';
import { OVERDUE, orOverdue, withDeadline } from './deadline.js';
import { publishStall } from './diagnostics.js';
import { Group, type GroupBackend } from './group.js';
import { Hosts } from './hosts.js';
import { showAs } from './inspection.js';
import type { IoLink, RequestLane } from './io-link.js';
import { IoLinks, MESSAGE_TIMEOUT_MS } from './io-links.js';
import { type IoWorkerSettings, IoWorkerSupervisor } from './io-worker-supervisor.js';
import { ListenedEmitter } from './listened-emitter.js';
import { firstThreshold, logSettings, thresholdOf } from './log-options.js';
import { LogReceiver } from './log-receiver.js';
import {
  checkClient,
  checkListen,
  checkPoll,
  checkReactorClose,
  checkShorthandConnect,
  checkSpawn,
} from './option-checks.js';
import {
  type ClientOptions,
  type ConnectOptions,
  DEFAULT_DRAIN_MS,
  DEFAULT_MAX_CONNECTIONS,
  DEFAULT_STALL_MS,
  type ListenOptions,
  type ReactorCloseOptions,
  type SpawnOptions,
} from './options.js';
import { checkHandle, type ReactorHandle } from './reactor-handle.js';
import { type ReactorStats, readStats, threadsOf } from './reactor-stats.js';
import { type Stall, StallWatch } from './stall-watch.js';
import { surfaceErrors } from './surface.js';
import type { TcpClient } from './tcp-client.js';
import type { TcpConnection } from './tcp-connection.js';
import type { TcpServer } from './tcp-server.js';
import { type TimerCallback, type TimerOptions, Timers } from './timers.js';

/** How much longer than asked an io worker may take to answer that it has closed everything, before it is ended all the same. */
const GRACE_MS = 1000;

/** The io worker whose clock the timers go by. */
const TIMER_WORKER = 0;

export interface Respawn {
  /** Which io worker: 0 if there is one. */
  readonly ioWorker: number;
  /** Why the one before ended, in the thread that spawned the reactor. */
  readonly error?: ReactorError;
}

export interface ReactorEvents {
  /**
   * An io worker has ended and was not started again (`respawn: false`), or could not listen again on an address that it had
   * listened on. Or the log cannot be written any more, or a full file of it not deleted; if nobody listens, that is a warning of the
   * process.
   */
  error: [error: ReactorError];
  /** An io worker had ended, and a new one has taken its place; its servers listen again. */
  respawn: [respawn: Respawn];
  /** Another thread has events waiting and has handled none for `stallAfterMs`. Once for each time that happens. */
  stall: [stall: Stall];
}

/** The reactors of this thread: attaching twice gives the same one. */
const reactors = new Map<string, Promise<Reactor> | Reactor>();
let spawned = 0;

/**
 * A reactor: io workers that hold the sockets, and this thread's way to them. The thread that calls `Reactor.spawn` makes it, others
 * `attach` to it, and all of them can do everything.
 *
 * Keeps the process alive while this thread has servers or connections, unless `unref()` says otherwise.
 */
export class Reactor extends ListenedEmitter<ReactorEvents> {
  readonly #handle: ReactorHandle;
  readonly #registry: Registry;
  readonly #links: IoLinks;
  /** In the thread that spawned the reactor. */
  readonly #supervisor: IoWorkerSupervisor | undefined;
  readonly #hosts: Hosts;
  readonly #stallWatch: StallWatch;
  readonly #timers: Timers;
  readonly #groups: GroupBackend;
  /** Of which no 'respawn' has told yet. */
  readonly #crashes = new Map<number, ReactorError>();
  readonly #causes: CrashCauses;
  #calls = 0;
  #referenced = true;
  #closing: Promise<CloseReport> | undefined;
  #ended = false;
  #fatal: ReactorError | undefined;

  static {
    showAs(Reactor, 'Reactor', (reactor) => {
      const { reactor: name, ioWorkers } = reactor.#handle;
      const state = reactor.#ended ? 'closed' : reactor.#closing === undefined ? 'open' : 'closing';
      const { connectionCount: connections } = reactor.#links;
      return { name, state, ioWorkers, connections };
    });
  }

  private constructor(handle: ReactorHandle, settings?: IoWorkerSettings) {
    super();
    this.#handle = handle;
    this.#registry = new Registry(new SharedMemory(handle.registry));
    if (settings !== undefined) {
      this.#supervisor = new IoWorkerSupervisor(this.#registry, settings, (of, error) =>
        this.#onCrash(of, error, settings.respawn),
      );
    }
    this.#causes = new CrashCauses(settings !== undefined);
    this.#links = new IoLinks(
      handle.reactor,
      this.#registry,
      {
        hostOf: (origin) => this.#hosts.get(origin),
        onLost: (worker, code, tell) => this.#hosts.loseAttempts(worker, code, tell),
        onConnections: () => this.#updateRef(),
        onServerClosed: (id) => this.#hosts.onServerClosed(id),
        onTimer: (id) => this.#timers.onTick(id),
        onRejoined: (link) => this.#onRejoined(link),
        onEnded: () => this.#onEnded(),
        hold: (wait) => this.#hold(wait),
      },
      (worker) => this.#requestLane(worker),
      this.#causes,
    );
    this.#hosts = new Hosts({
      handle,
      registry: this.#registry,
      links: this.#links,
      checkOpen: (call) => this.#checkOpen(call),
      isEnding: () => this.#closing !== undefined || this.#ended,
      hold: (wait) => this.#hold(wait),
      onChanged: () => this.#updateRef(),
    });
    this.#timers = new Timers({
      link: () => this.#links.up.find(({ worker }) => worker === TIMER_WORKER),
      defer: (run) => this.#links.loop.defer(run),
      onChanged: () => this.#updateRef(),
    });
    this.#groups = {
      reactor: handle.reactor,
      commandsOf: (call, id) => this.#linkOf(call, id).context.commands,
      commands: () => this.#links.up.map(({ lane }) => lane.commands),
    };
    this.#stallWatch = new StallWatch(
      handle.stallAfterMs,
      () => threadsOf(this.#links).filter((thread) => thread.threadId !== threadId),
      (stall) => {
        publishStall(handle.reactor, stall);
        this.emit('stall', stall);
      },
    );
  }

  /** @internal */
  listenerAdded(event: string | symbol): void {
    if (event === 'stall' && !this.#ended) this.#stallWatch.start();
  }

  /** @internal */
  override listenersRemoved(): void {
    if (this.listenerCount('stall') === 0) this.#stallWatch.stop();
  }

  /**
   * Starts a reactor and its io workers.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, before anything has been started, or ERR_REACTOR_IO_WORKER_CRASH.
   * Thread: any; the io workers end with the thread that has started them.
   */
  static async spawn(options: SpawnOptions = {}): Promise<Reactor> {
    checkSpawn(options);
    const handle: ReactorHandle = {
      reactor: `${threadId}.${++spawned}`,
      registry: Registry.allocate(threadId).memory.buffer,
      ioWorkers: options.ioWorkers ?? 1,
      stallAfterMs: options.stallAfterMs ?? DEFAULT_STALL_MS,
    };
    const { reuseReadBuffer = true, directWrites = true, respawn = true } = options;
    const sizes: LaneSizes = {
      commandRingBytes: options.commandRingBytes ?? DEFAULT_RING_BYTES,
      eventRingBytes: options.eventRingBytes ?? DEFAULT_RING_BYTES,
      slots: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
    };
    const logs = logSettings(options);
    const log =
      logs === undefined ? undefined : new LogReceiver(logs, options.logger, (error) => reactor.#onLogFailed(error));
    const reactor = new Reactor(handle, { sizes, sockets: { reuseReadBuffer, directWrites }, respawn, log });
    reactor.#registry.logThreshold = firstThreshold(options);
    answerPings();
    await reactor.#supervisor?.start(handle.ioWorkers);
    await reactor.#links.joinAll(handle.ioWorkers);
    reactor.#updateRef();
    reactors.set(handle.reactor, reactor);
    return reactor;
  }

  /** @internal See attach.ts. */
  static attach(handle: ReactorHandle): Promise<Reactor> {
    checkHandle(handle);
    const known = reactors.get(handle.reactor);
    // One that this thread is about to leave is of no use to anybody: the next one is made when it has left.
    if (known instanceof Reactor && known.#closing !== undefined) {
      const again = (): Promise<Reactor> => Reactor.attach(handle);
      return known.#closing.then(again, again);
    }
    if (known !== undefined) return Promise.resolve(known);
    const reactor = new Reactor(handle);
    const attached = (async () => {
      try {
        await reactor.#links.joinAll(handle.ioWorkers);
      } catch (error) {
        reactor.#links.stop(new ReactorError('ERR_REACTOR_CLOSED', 'attach() failed'));
        reactors.delete(handle.reactor);
        throw error;
      }
      reactor.#updateRef();
      reactors.set(handle.reactor, reactor);
      return reactor;
    })();
    reactors.set(handle.reactor, attached);
    return attached;
  }

  /** What other threads need to `attach()`: can be posted to any number of them. Thread: any. */
  get handle(): ReactorHandle {
    return this.#handle;
  }

  /**
   * Listens. Resolves once the address is bound; add listeners before the next `await`.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_LISTEN_FAILED (`cause` has the system error),
   * ERR_REACTOR_CLOSED, ERR_REACTOR_IO_WORKER_CRASH. Thread: any.
   */
  async listen(options: ListenOptions): Promise<TcpServer> {
    checkListen(options);
    this.#checkOpen('listen()');
    return this.#hosts.listen(options);
  }

  /**
   * The server of that id, which another thread has made: to subscribe to it, to send to all its connections, to close it. Whether it is
   * still there shows when it is used. Throws ERR_REACTOR_INVALID_ARGUMENT for what no server can have as its id, ERR_REACTOR_CLOSED.
   * Thread: any.
   */
  server(id: number): TcpServer {
    this.#checkOpen('server()');
    return this.#hosts.server(id);
  }

  /** Makes a client; nothing is connected yet. Throws ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_CLOSED. Thread: any. */
  client(options: ClientOptions = {}): TcpClient {
    checkClient(options);
    this.#checkOpen('client()');
    return this.#hosts.client(options, 'client()');
  }

  /** One connection, with a client of its own. Rejects like `client()` and `TcpClient.connect()`. Thread: any. */
  async connect(options: ConnectOptions & Omit<ClientOptions, 'reconnect'>): Promise<TcpConnection> {
    checkShorthandConnect(options);
    const { host, port, path, addresses, timeoutMs, signal, ...clientOptions } = options;
    this.#checkOpen('connect()');
    const showCaller = calledFrom(Reactor.prototype.connect);
    try {
      return await this.#hosts.connect(clientOptions, {
        ...(host !== undefined && { host }),
        ...(port !== undefined && { port }),
        ...(path !== undefined && { path }),
        ...(addresses !== undefined && { addresses }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(signal !== undefined && { signal }),
      });
    } catch (error) {
      showCaller(error);
      throw error;
    }
  }

  /**
   * The connection of that id, for sending and for its state; one that is over is 'closed'.
   * Throws ERR_REACTOR_INVALID_ARGUMENT if it cannot be an id of this reactor. Thread: any.
   */
  connection(id: ConnectionId): TcpConnection {
    return this.#linkOf('connection()', id).connection(slotOf(id), generationOf(id));
  }

  #linkOf(call: string, id: ConnectionId): IoLink {
    const link = Number.isSafeInteger(id) && id > 0 ? this.#links.all[workerOf(id)] : undefined;
    const [slot, generation] = link === undefined ? [0, 0] : [slotOf(id), generationOf(id)];
    if (link === undefined || slot >= link.context.table.slots || generation < 1 || generation > MAX_GENERATION) {
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', `${call} takes the id of a connection, got ${show(id)}`);
    }
    return link;
  }

  /**
   * Hands out events now, in a thread that computes and does not return to its event loop: if there are none, blocks it until there
   * are, for `timeoutMs` at most. Returns how many there were. What needs a turn of the event loop (promises, timers) does not go
   * on meanwhile. Of a reactor that is over there are no events: it returns 0 at once. Throws ERR_REACTOR_INVALID_ARGUMENT, also if it
   * is called from a handler. Thread: any.
   */
  pollSync(timeoutMs = 0): number {
    checkPoll(timeoutMs);
    return this.#links.loop.pollSync(timeoutMs);
  }

  /**
   * The group of that name, 1 to 255 bytes of UTF-8: to put connections into it and to send to all of them. It costs nothing as long
   * as it has no members. Throws ERR_REACTOR_INVALID_ARGUMENT, ERR_REACTOR_CLOSED. Thread: any.
   */
  group(name: string): Group {
    this.#checkOpen('group()');
    return new Group(name, this.#groups);
  }

  /**
   * Calls back in this thread every `intervalMs` (1 to 2^31 - 1, fractions too), first after `delayMs` (0 to 2^31 - 1; default: the
   * interval), by the clock of the io worker and without drift; with `once`, one time only. What this thread misses while it is
   * blocked comes as one call: over all calls, the sum of 1 + `missed` is the number of ticks. Keeps the process alive until it is
   * removed, unless `unref()` says otherwise. What the callback throws is an uncaught exception, and the timer goes on.
   *
   * Returns the timer's id in this thread. Throws ERR_REACTOR_INVALID_ARGUMENT, ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_CLOSED,
   * ERR_REACTOR_LIMIT (this thread has 1,000,000 timers). Thread: any.
   */
  addTimer(intervalMs: number, callback: TimerCallback, options: TimerOptions = {}): number {
    this.#checkOpen('addTimer()');
    return this.#timers.add(intervalMs, callback, options);
  }

  /**
   * Removes a timer of this thread: it does not call back any more. False if there is none of that id, which may have been one that
   * was to tick once and has. Thread: any.
   */
  removeTimer(id: number): boolean {
    return this.#timers.remove(id);
  }

  /** Read from shared memory, now; it never asks an io worker. Thread: any. */
  stats(): ReactorStats {
    return readStats(this.#links, this.#registry);
  }

  /**
   * From now on, io workers write lines of this level and above, also those that are started again. Of a reactor that is over it does
   * nothing. Throws ERR_REACTOR_INVALID_ARGUMENT, also if the reactor was spawned with `log: false`. Thread: any.
   */
  setLogLevel(level: LogLevel | 'silent'): void {
    const threshold = thresholdOf(level);
    if (threshold === undefined || this.#registry.logThreshold === logThreshold.NO_LOG) {
      const message =
        threshold === undefined
          ? `setLogLevel() takes one of ${logLevels.join(', ')}, silent, got ${show(level)}`
          : 'setLogLevel(): the reactor was spawned without a log';
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    this.#registry.logThreshold = threshold;
  }

  /** Keeps the process alive while this thread has servers or connections (the default). Thread: any. */
  ref(): this {
    this.#referenced = true;
    this.#updateRef();
    return this;
  }

  /** Lets the process end, whatever is open. Thread: any. */
  unref(): this {
    this.#referenced = false;
    this.#updateRef();
    return this;
  }

  /**
   * In the thread that spawned it: ends it gracefully. Stops accepting and connecting, tells peers goodbye (codec 'frame'), lets every connection handle what it has
   * received and send what it has to send, cuts what is not done after `timeoutMs`, ends the io workers. Connections end with reason
   * 'reactor-close', in all threads.
   *
   * In an attached thread: leaves it. Its clients are closed; its servers go on with the other threads that have subscribed, and
   * are closed if there are none. What it has sent is sent.
   *
   * Waits also for LogicPools of this thread to end with their servers, as far as `timeoutMs` allows; after it they go on ending.
   *
   * Resolves with what has become of the connections that it has closed. Twice is the same as once. Throws
   * ERR_REACTOR_INVALID_OPTION. Thread: any.
   */
  async close(options: ReactorCloseOptions = {}): Promise<CloseReport> {
    checkReactorClose(options);
    const timeoutMs = options.timeoutMs ?? DEFAULT_DRAIN_MS;
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<CloseReport> {
    const until = monotonicMs() + timeoutMs;
    const report = await (this.#supervisor === undefined ? this.#detach(timeoutMs) : this.#shutDown(timeoutMs));
    // Their servers have been closed: what their logic has still to do, in its stop(), is part of the end.
    await orOverdue(this.#hosts.poolsEnded(), Math.max(0, until - monotonicMs()));
    return report;
  }

  /**
   * Ends it now, in all threads; in an attached thread, leaves it now. Connections of this thread close with 'reactor-close'.
   * Thread: any.
   */
  destroy(): void {
    if (this.#ended) {
      this.#finishEnded();
      return;
    }
    this.#closing ??= Promise.resolve(NOTHING_CLOSED);
    this.#cut();
  }

  /** Also if the io worker does not answer: a codec of the user's may have it in a loop. */
  #cut(): void {
    if (this.#supervisor !== undefined) this.#registry.end('closed');
    void this.#supervisor?.stop();
    this.#end('reactor-close');
    this.#hosts.finishAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #onRejoined(link: IoLink): Promise<void> {
    if (link.worker === TIMER_WORKER) this.#timers.restore();
    await this.#hosts.restore(link, (error) => {
      if (this.#closing === undefined) surfaceErrors(() => this.emit('error', error));
    });
    const error = this.#crashes.get(link.worker);
    this.#crashes.delete(link.worker);
    if (link.isLost) return;
    surfaceErrors(() => this.emit('respawn', { ioWorker: link.worker, ...(error !== undefined && { error }) }));
  }

  // ---- ending ----

  /** It was over already: this thread takes no more of what is left. */
  #finishEnded(): CloseReport {
    this.#hosts.finishAll();
    return NOTHING_CLOSED;
  }

  async #shutDown(timeoutMs: number): Promise<CloseReport> {
    if (this.#ended) return this.#finishEnded();
    const unread = this.#hosts.watchUnread();
    const report = await this.#hold(() =>
      withDeadline(timeoutMs, async (deadline) => {
        const drained = await orOverdue(this.#links.callAll('close', timeoutMs), timeoutMs + GRACE_MS);
        if (drained === OVERDUE) {
          const cut = this.#links.drainReport();
          this.#cut();
          return closeReport(cut, unread());
        }
        // The last events are in the rings by now; they come before the end.
        await this.#links.caughtUp();
        await this.#hosts.finish(deadline);
        this.#registry.end('closed');
        await this.#supervisor?.stop();
        return closeReport(sumDrained(drained), unread());
      }),
    );
    this.#end('reactor-close');
    return report;
  }

  /** Leaves the reactor to the other threads. */
  async #detach(timeoutMs: number): Promise<CloseReport> {
    if (this.#ended) return this.#finishEnded();
    const report = await this.#hold(() =>
      withDeadline(timeoutMs, async (deadline) => {
        const late = new Promise<CloseReport>((resolve) => {
          deadline.addEventListener('abort', () => resolve(closeReport(this.#links.drainReport(), 0)));
        });
        const left = await Promise.race([this.#hosts.leave(timeoutMs), late]);
        // What waits for room in a command ring is lost with this thread.
        while (!this.#links.hasSent && !deadline.aborted) {
          this.#links.loop.wake();
          await new Promise((resolve) => setImmediate(resolve));
        }
        return left;
      }),
    );
    this.#end('reactor-close');
    this.#hosts.finishAll();
    return report;
  }

  /** Whoever does not care about the log must not die of it. */
  #onLogFailed(error: ReactorError): void {
    if (this.listenerCount('error') > 0) surfaceErrors(() => this.emit('error', error));
    else process.emitWarning(error);
  }

  #onCrash(of: IoThread, error: ReactorError, respawns: boolean): void {
    this.#crashes.set(of.worker, error);
    this.#causes.tell(of, error);
    if (respawns || this.#ended) return;
    this.#fatal = error;
    this.#registry.end('crashed');
    // The links notice by themselves, and hand out first what they still have.
    void this.#supervisor?.stop();
  }

  /** There will be no io worker any more: the reactor was closed elsewhere, or has crashed for good. */
  #onEnded(): void {
    if (this.#ended || this.#links.up.length > 0) return;
    if (this.#registry.wasClosed || (!this.#registry.isEnded && this.#supervisor === undefined)) {
      this.#end('reactor-close');
      return;
    }
    const message = 'The io worker ended unexpectedly, and is not started again';
    this.#fatal ??= new ReactorError('ERR_REACTOR_IO_WORKER_CRASH', message);
    const fatal = this.#fatal;
    this.#end('io-worker-crash');
    // Whoever is closing it anyway has nothing to mend.
    if (this.#closing === undefined) surfaceErrors(() => this.emit('error', fatal));
  }

  /** The io workers are gone, or this thread leaves them: what they have not told is told in their place. */
  #end(reason: CloseReason): void {
    if (this.#ended) return;
    this.#ended = true;
    reactors.delete(this.#handle.reactor);
    this.#stallWatch.stop();
    this.#timers.clear();
    const closed = this.#fatal ?? new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the reactor is closed');
    this.#links.stop(closed);
    this.#hosts.failAttempts(closed);
    // In other threads the connections go on.
    const isDead = this.#supervisor !== undefined || this.#registry.isEnded;
    for (const link of this.#links.all) link.endAll(reason, isDead);
    this.#hosts.endServers();
    this.#updateRef();
  }

  // ----

  #requestLane(worker: number): RequestLane {
    return (request, ports) => {
      if (this.#supervisor !== undefined) return this.#supervisor.requestLane(worker, request, ports);
      const ioThreadId = this.#registry.threadIdOf(worker) ?? -1;
      return postMessageToThread(ioThreadId, request, ports, MESSAGE_TIMEOUT_MS);
    };
  }

  /** Keeps the process alive, as everything does that somebody waits for. */
  async #hold<T>(wait: () => Promise<T>): Promise<T> {
    this.#calls++;
    this.#updateRef();
    try {
      return await wait();
    } finally {
      this.#calls--;
      this.#updateRef();
    }
  }

  #checkOpen(call: string): void {
    if (this.#fatal !== undefined) throw this.#fatal;
    if (this.#closing === undefined && !this.#ended) return;
    throw new ReactorError('ERR_REACTOR_CLOSED', `${call}: the reactor is closed`);
  }

  get #keepsAlive(): boolean {
    if (!this.#referenced || this.#ended) return false;
    return (
      this.#calls + this.#links.referencedCount > 0 ||
      !this.#links.hasSent ||
      this.#hosts.keepAlive ||
      this.#timers.size > 0
    );
  }

  #updateRef(): void {
    this.#links.ref(this.#keepsAlive);
  }
}

let answersPings = false;

/** Threads that have lost an io worker want to know whether the thread that would start it again is still there. */
function answerPings(): void {
  if (answersPings) return;
  answersPings = true;
  process.on('workerMessage', () => undefined);
}
