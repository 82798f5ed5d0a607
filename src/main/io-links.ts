import { postMessageToThread, threadId } from 'node:worker_threads';
import type { DrainReport, IoWorkerControl } from '../shared/control-protocol.js';
import { SleepWord } from '../shared/doorbell.js';
import { sumDrained } from '../shared/drain-report.js';
import { allocateThreadWords, threadWord } from '../shared/lane.js';
import { ReactorError, type ReactorErrorCode } from '../shared/reactor-error.js';
import type { Registry } from '../shared/registry.js';
import type { SharedMemory } from '../shared/shared-memory.js';
import { AppLoop } from './app-loop.js';
import type { CrashCauses, IoThread, Tell } from './crash-causes.js';
import { type ControlValue, IoLink, type LinkOwner, nameOf, type RequestLane } from './io-link.js';
import type { TcpHost } from './tcp-host.js';

/** While an io worker is being started again, how often the registry is looked at. */
const LOOK_MS = 10;
const HOLD_MS = 60_000;
/**
 * What is sent to a thread that is just ending is never answered, and would be kept for ever. One that is given up too early,
 * since the main thread was blocked, is sent again.
 */
export const MESSAGE_TIMEOUT_MS = 500;

const TIMED_OUT = 'ERR_WORKER_MESSAGING_TIMEOUT';

const PING = { type: 'simple-reactor:ping' } as const;

/** What the links need of their reactor. */
export interface LinksOwner {
  hostOf(origin: number): TcpHost | undefined;
  onConnections(): void;
  onServerClosed(id: number): void;
  onTimer(id: number): void;
  /** An io worker is gone, and what it had told has been handed out: it will not tell anything more. */
  onLost(worker: number, code: ReactorErrorCode, tell: Tell): void;
  /** An io worker has been started again, and this thread has a lane to it. */
  onRejoined(link: IoLink): Promise<void>;
  /** There will be no io workers any more. */
  onEnded(): void;
  /** Keeps the thread alive while somebody waits. */
  hold<T>(wait: () => Promise<T>): Promise<T>;
}

/** This thread's links to all io workers. When one of them dies, a new link is made as soon as there is a new one. */
export class IoLinks implements LinkOwner {
  readonly reactor: string;
  readonly loop: AppLoop;
  readonly threadWords: SharedMemory = allocateThreadWords();
  readonly #registry: Registry;
  readonly #owner: LinksOwner;
  readonly #requestLane: (worker: number) => RequestLane;
  readonly #crashes: CrashCauses;
  /** The present or the last link to each io worker. */
  readonly #links: IoLink[] = [];
  /** Under way for those whose link is lost. */
  readonly #joins: (Promise<IoLink> | undefined)[] = [];
  /** What keeps the thread alive while it asks for a lane again. */
  readonly #holds = new Set<NodeJS.Timeout>();
  /** End the present wait of each of them. */
  readonly #wakes = new Set<() => void>();
  readonly #lostThreadIds = new Map<number, number>();
  #pinging = false;
  #spawnerIsGone = false;
  #stopped = false;
  #endError: ReactorError | undefined;

  constructor(
    reactor: string,
    registry: Registry,
    owner: LinksOwner,
    requestLane: (worker: number) => RequestLane,
    crashes: CrashCauses,
  ) {
    this.reactor = reactor;
    this.#registry = registry;
    this.#owner = owner;
    this.#requestLane = requestLane;
    this.#crashes = crashes;
    this.loop = new AppLoop(new SleepWord(this.threadWords, threadWord.ASLEEP), () => this.#noticeDeaths());
  }

  /** Gets a lane to each io worker. Rejects with ERR_REACTOR_TOO_MANY_THREADS, ERR_REACTOR_CLOSED, ERR_REACTOR_IO_WORKER_CRASH. */
  async joinAll(count: number): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, worker) => this.#join(worker)));
  }

  get all(): readonly IoLink[] {
    return this.#links;
  }

  get up(): readonly IoLink[] {
    return this.#links.filter((link) => !link.isLost);
  }

  /** How many connections keep the thread alive. */
  get referencedCount(): number {
    return this.#links.reduce((total, link) => total + link.referencedCount, 0);
  }

  /** Connections whose events this thread gets. */
  get connectionCount(): number {
    return this.#links.reduce((total, link) => total + link.connectionCount, 0);
  }

  /** What is lost if they are left now, as far as this thread knows. */
  drainReport(): DrainReport {
    return sumDrained(this.#links.map((link) => link.drainReport()));
  }

  /** Nothing that this thread has sent waits for room in a ring. */
  get hasSent(): boolean {
    return this.up.every(({ lane }) => lane.commands.isEmpty);
  }

  /** Calls an io worker; one that is being started again, when it is there. */
  async call<K extends keyof IoWorkerControl>(
    worker: number,
    method: K,
    ...args: Parameters<IoWorkerControl[K]>
  ): Promise<ControlValue<K>> {
    const link = this.#links[worker] as IoLink;
    // Asked before this returns, so that also a thread that does not yield gets its way.
    const isUsable = !link.isLost && this.#joins[worker] === undefined;
    if (isUsable) return link.call(method, ...args);
    return (await this.#successorOf(link, nameOf(method))).call(method, ...args);
  }

  /** The link to the io worker that takes its place. */
  #successorOf(lost: IoLink, call: string): Promise<IoLink> {
    return new Promise((resolve, reject) => {
      const join = this.#joins[lost.worker];
      if (join === undefined) this.whenGone(lost, call, reject);
      // There will be none: each call has its own error about that.
      else join.then(resolve, (error) => (isEnd(error) ? this.whenGone(lost, call, reject) : reject(error)));
    });
  }

  /** Calls all that are there. One that dies meanwhile has nothing left of what it was asked about. */
  async callAll<K extends keyof IoWorkerControl>(
    method: K,
    ...args: Parameters<IoWorkerControl[K]>
  ): Promise<(ControlValue<K> | undefined)[]> {
    return Promise.all(this.up.map((link) => link.call(method, ...args).catch(ignoreEnd)));
  }

  /** For a thread that does not turn its event loop: notices io workers that have died, as far as the registry knows of it. */
  #noticeDeaths(): void {
    for (const link of this.up) if (this.#registry.threadIdOf(link.worker) !== link.ioThreadId) link.ended();
  }

  /** Resolves when everything that the io workers have told by now has been handed out. */
  async caughtUp(): Promise<void> {
    this.loop.wake();
    await Promise.all(this.#links.map(({ lane }) => lane.caughtUp()));
  }

  ref(referenced: boolean): void {
    for (const link of this.up) link.ref(referenced);
    for (const hold of this.#holds) {
      if (referenced) hold.ref();
      else hold.unref();
    }
  }

  /** No more events, calls or new links. Those that wait for an io worker get the error. */
  stop(error: ReactorError): void {
    this.#stopped = true;
    this.#endError ??= error;
    for (const link of this.#links) link.leave();
    // At once: with the reactor goes what keeps the thread alive for them.
    for (const wake of this.#wakes) wake();
    this.#crashes.stop();
  }

  // ---- what the links tell ----

  hostOf(origin: number): TcpHost | undefined {
    return this.#owner.hostOf(origin);
  }

  onConnections(): void {
    this.#owner.onConnections();
  }

  hold<T>(wait: () => Promise<T>): Promise<T> {
    return this.#owner.hold(wait);
  }

  whenGone(of: IoThread, call: string, reject: (error: ReactorError) => void): void {
    const tell = (): void => reject(this.#goneError(call, this.#crashes.of(of)));
    // Of those that are being ended nobody is told what they have died of.
    if (this.#stopped || this.#registry.isEnded) tell();
    else this.#crashes.whenKnown(of, tell);
  }

  #goneError(call: string, crash?: ReactorError): ReactorError {
    if (this.#goneCode() === 'ERR_REACTOR_CLOSED') {
      if (this.#endError === undefined) return overError();
      return new ReactorError('ERR_REACTOR_CLOSED', `${call}: the reactor is closed`);
    }
    const cause = (crash ?? this.#endError)?.cause;
    const why = cause === undefined ? '' : `: ${cause instanceof Error ? cause.message : String(cause)}`;
    const message = `${call}: the io worker has ended${why}`;
    return new ReactorError('ERR_REACTOR_IO_WORKER_CRASH', message, cause === undefined ? {} : { cause });
  }

  #goneCode(): ReactorErrorCode {
    const isOver = this.#stopped || this.#registry.wasClosed;
    return isOver ? (this.#endError?.code ?? 'ERR_REACTOR_CLOSED') : 'ERR_REACTOR_IO_WORKER_CRASH';
  }

  onServerClosed(id: number): void {
    this.#owner.onServerClosed(id);
  }

  onTimer(id: number): void {
    this.#owner.onTimer(id);
  }

  onLost(lost: IoLink): void {
    const { worker } = lost;
    this.#lostThreadIds.set(worker, lost.ioThreadId);
    const reason = this.#registry.wasClosed ? 'reactor-close' : 'io-worker-crash';
    this.#owner.onLost(worker, this.#goneCode(), (reject) => this.whenGone(lost, nameOf('connect'), reject));
    if (this.#stopped) {
      lost.endAll(reason, true);
      return;
    }
    // Before the application hears of it: its handlers may connect again at once, and then wait for the new one.
    const rejoin = this.#rejoin(worker);
    this.#joins[worker] = rejoin;
    lost.endAll(reason, true);
    rejoin.catch(() => {
      if (!this.#stopped) this.#owner.onEnded();
    });
  }

  // ----

  /** Calls wait until the servers of this thread listen again: some of them will want to connect there. */
  async #rejoin(worker: number): Promise<IoLink> {
    const link = await this.#join(worker);
    this.#owner.onConnections();
    await this.#owner.onRejoined(link);
    // Unless it is lost again by now.
    if (!link.isLost) this.#joins[worker] = undefined;
    return link;
  }

  async #join(worker: number): Promise<IoLink> {
    // Nothing else keeps the thread alive while it asks, neither the promise of a message nor a port whose other end is gone.
    const hold = setInterval(() => undefined, HOLD_MS);
    if (this.#links[worker] !== undefined) {
      this.#holds.add(hold);
      this.#owner.onConnections();
    }
    try {
      for (;;) {
        const link = await this.#tryToJoin(worker);
        if (link !== undefined) {
          this.#links[worker] = link;
          return link;
        }
        await this.#look();
      }
    } finally {
      clearInterval(hold);
      this.#holds.delete(hold);
    }
  }

  /** Undefined: there is no such io worker at present. */
  async #tryToJoin(worker: number): Promise<IoLink | undefined> {
    this.#checkNotOver();
    const ioThreadId = this.#registry.threadIdOf(worker);
    // The registry may still have the one whose end this thread has noticed already.
    if (ioThreadId === undefined || ioThreadId === this.#lostThreadIds.get(worker)) return undefined;
    const gone = new AbortController();
    const watch = setInterval(() => {
      const isThere = this.#registry.threadIdOf(worker) === ioThreadId && !this.#registry.isEnded;
      if (!isThere || this.#stopped || this.#spawnerIsGone) gone.abort();
      else this.#pingSpawner();
    }, LOOK_MS);
    try {
      const link = await IoLink.join({ worker, ioThreadId }, this, this.#requestLane(worker), gone.signal);
      if (!this.#stopped) return link;
      link.leave();
    } catch (error) {
      if (!isEnd(error) && !isUnreachable(error)) throw error;
    } finally {
      clearInterval(watch);
    }
    this.#checkNotOver();
    return undefined;
  }

  /** Waits a moment, and makes sure that somebody is there who will start the io worker again. */
  async #look(): Promise<void> {
    this.#pingSpawner();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#wakes.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, LOOK_MS).unref();
      this.#wakes.add(wake);
    });
    this.#checkNotOver();
  }

  #checkNotOver(): void {
    if (this.#stopped || this.#registry.isEnded || this.#spawnerIsGone)
      throw this.#spawnerIsGone ? overError() : this.#goneError(nameOf('join'));
  }

  /** Only the thread that has spawned the reactor can start an io worker again; with it, all is over. */
  #pingSpawner(): void {
    const { spawnerThreadId } = this.#registry;
    if (spawnerThreadId === threadId || this.#pinging) return;
    this.#pinging = true;
    // Answered late if that thread is busy, which is no reason to give up.
    postMessageToThread(spawnerThreadId, PING, [], MESSAGE_TIMEOUT_MS).then(
      () => {
        this.#pinging = false;
      },
      (error: NodeJS.ErrnoException) => {
        this.#pinging = false;
        // It has not said that it is there, which it may be too busy for. Another error says that it is not.
        if (error.code !== TIMED_OUT) this.#spawnerIsGone = true;
      },
    );
  }
}

function overError(): ReactorError {
  return new ReactorError(
    'ERR_REACTOR_CLOSED',
    'The reactor is over: it was closed, or the thread that spawned it has ended',
  );
}

function isUnreachable(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ERR_WORKER_MESSAGING_FAILED' || code === TIMED_OUT;
}

function isEnd(error: unknown): boolean {
  if (!(error instanceof ReactorError)) return false;
  return error.code === 'ERR_REACTOR_CLOSED' || error.code === 'ERR_REACTOR_IO_WORKER_CRASH';
}

/** Closing something whose io worker has ended meanwhile is done. */
export function ignoreEnd(error: unknown): undefined {
  if (!isEnd(error)) throw error;
}
