import type { CloseReason } from '../shared/close-reason.js';
import type { ListenRequest, ServerDescription } from '../shared/control-protocol.js';
import { ReactorError, type ReactorErrorCode } from '../shared/reactor-error.js';
import type { Registry } from '../shared/registry.js';
import { show } from './checks.js';
import { type CloseReport, closeReport, NOTHING_CLOSED, sumReports } from './close-report.js';
import type { Tell } from './crash-causes.js';
import { withDeadline } from './deadline.js';
import type { IoLink } from './io-link.js';
import type { IoLinks } from './io-links.js';
import { isMissingServer, Listening } from './listening.js';
import {
  acceptLimits,
  type ClientOptions,
  type ConnectOptions,
  connectionSettings,
  DEFAULT_BACKLOG,
  DEFAULT_ORPHAN_TIMEOUT_MS,
  type ListenOptions,
} from './options.js';
import type { ReactorHandle } from './reactor-handle.js';
import { surfaceErrors } from './surface.js';
import { TcpClient } from './tcp-client.js';
import type { TcpConnection } from './tcp-connection.js';
import type { TcpHost } from './tcp-host.js';
import { type Closable, type ServerBackend, TcpServer } from './tcp-server.js';
import { tlsClientSettings, tlsServerSettings } from './tls-options.js';
import { WeakHandles } from './weak-handles.js';

/** What the hosts need of their reactor. */
export interface HostsOwner {
  readonly handle: ReactorHandle;
  readonly registry: Registry;
  readonly links: IoLinks;
  /** Throws ERR_REACTOR_CLOSED, or what the reactor has died of. */
  checkOpen(call: string): void;
  /** It is closed, or about to be. */
  isEnding(): boolean;
  /** Keeps the thread alive while somebody waits. */
  hold<T>(wait: () => Promise<T>): Promise<T>;
  /** Whether they keep the thread alive may have changed. */
  onChanged(): void;
}

/** The servers and clients that this thread has in hand: makes them, finds them for events, ends them. */
export class Hosts {
  readonly #owner: HostsOwner;
  readonly #listening: Listening;
  readonly #hosts = new Map<number, TcpHost>();
  /** Servers that other threads have closed, and of whose connections this one has still messages to take. */
  readonly #leftOver = new Set<TcpServer>();
  /** Servers of other threads, of whose connections this one gets no events. */
  readonly #others = new WeakHandles<number, TcpServer>();
  /** They end with their servers. */
  readonly #pools = new Set<Closable>();
  /** On which io worker each attempt to connect is. */
  readonly #attempts = new Map<number, number>();
  /** Whose turn it is to make an outgoing connection. */
  #nextWorker = 0;

  constructor(owner: HostsOwner) {
    this.#owner = owner;
    this.#listening = new Listening(owner.links, owner.handle.ioWorkers);
  }

  get(id: number): TcpHost | undefined {
    return this.#hosts.get(id);
  }

  get #servers(): TcpServer[] {
    return [...this.#hosts.values()].filter((host) => host instanceof TcpServer);
  }

  /** True while this thread has a server that listens, or gets the events of one. */
  get keepAlive(): boolean {
    for (const host of this.#hosts.values()) if (host instanceof TcpServer && host.keepsAlive) return true;
    return false;
  }

  // ---- making them ----

  async listen(options: ListenOptions): Promise<TcpServer> {
    const { registry } = this.#owner;
    const { host, port = 0, path, mode, backlog = DEFAULT_BACKLOG, dispatch = 'owner' } = options;
    const tls = options.tls === undefined ? undefined : tlsServerSettings('listen()', options.tls, 0);
    const server = new TcpServer(registry.nextNumber(), this.#serverBackend());
    // Known before the call is answered: its first connections may be announced earlier than the answer.
    this.#hosts.set(server.id, server);
    try {
      const request: ListenRequest = {
        server: server.id,
        host,
        port,
        path,
        mode,
        backlog,
        home: 0,
        dispatch,
        orphanTimeoutMs: options.orphanTimeoutMs ?? DEFAULT_ORPHAN_TIMEOUT_MS,
        connection: connectionSettings(options),
        tls,
        acceptLimits: acceptLimits(options.limits),
      };
      const seniority = dispatch === 'owner' ? registry.nextNumber() : undefined;
      server.seniority = seniority ?? 0;
      const description = await this.#owner.hold(() => this.#listening.listen(request, seniority));
      server.listening(description, seniority !== undefined);
      server.isListener = true;
    } catch (error) {
      this.#hosts.delete(server.id);
      throw error;
    } finally {
      this.#owner.onChanged();
    }
    return server;
  }

  /** The server of that id, which may be another thread's. Throws ERR_REACTOR_INVALID_ARGUMENT. */
  server(id: number): TcpServer {
    const known = this.#hosts.get(id) ?? this.#others.get(id);
    if (known instanceof TcpServer) return known;
    if (known !== undefined) throw noServer(`server() takes the id of a server, and ${id} is that of a client`);
    if (!Number.isSafeInteger(id) || id < 1) throw noServer(`server() takes the id of a server, got ${show(id)}`);
    if (!this.#owner.registry.hasNumber(id)) throw noServer(`server(): no server of this reactor has had the id ${id}`);
    const server = new TcpServer(id, this.#serverBackend());
    this.#others.set(id, server);
    return server;
  }

  /** @param call for messages */
  client(options: ClientOptions, call: string): TcpClient {
    const { registry, links, checkOpen, hold } = this.#owner;
    const tls = tlsClientSettings(call, options.tls);
    const client = new TcpClient(registry.nextId(), options, tls, {
      nextAttempt: () => registry.nextId(),
      connect: async (request) => {
        checkOpen('connect()');
        const worker = this.#chooseWorker();
        this.#attempts.set(request.attempt, worker);
        return hold(() => links.call(worker, 'connect', request));
      },
      settled: (attempt) => void this.#attempts.delete(attempt),
      abort: (attempt) => {
        const worker = this.#attempts.get(attempt);
        if (worker !== undefined) void links.call(worker, 'abortConnect', attempt).catch(() => undefined);
      },
      close: (self, drainMs) => this.#close(self, 'local-shutdown', drainMs),
      defer: (run) => links.loop.defer(run),
      checkOpen,
      hold,
    });
    this.#hosts.set(client.id, client);
    return client;
  }

  /** Connects with a client of its own, which is forgotten with its connection. */
  async connect(options: ClientOptions, to: ConnectOptions): Promise<TcpConnection> {
    const client = this.client(options, 'connect()');
    const forget = (): void => void this.#hosts.delete(client.id);
    client.once('disconnect', forget);
    try {
      return await client.connect(to);
    } catch (error) {
      forget();
      throw error;
    }
  }

  // ---- what io workers tell ----

  /** An io worker has been started again: servers listen there again. */
  async restore(link: IoLink, onFailed: (error: ReactorError) => void): Promise<void> {
    await this.#listening.restore(link, this.#servers, {
      onClosed: (server) => this.onServerClosed(server.id),
      onFailed,
    });
  }

  /** Some thread has closed the server. */
  onServerClosed(id: number): void {
    const server = this.#hosts.get(id);
    if (!(server instanceof TcpServer)) return;
    // Its other io workers may not have closed it yet: all their connections have been told to end.
    this.#hosts.delete(id);
    for (const left of this.#leftOver) if (left.connectionCount === 0) this.#leftOver.delete(left);
    if (server.connectionCount > 0) this.#leftOver.add(server);
    server.ended();
    this.#owner.onChanged();
  }

  // ---- ending them ----

  /** Resolves when all connections are closed and the application has heard of it; at the deadline it loses what it has not taken. */
  async finish(deadline: AbortSignal): Promise<void> {
    await Promise.all([...this.#hosts.values()].map((host) => host.finish(deadline)));
  }

  /** Returns what tells how many messages the application has not taken of connections that have closed since. */
  watchUnread(): () => number {
    // Some of them are forgotten with their connections.
    const hosts = [...this.#hosts.values()];
    const sum = (): number => hosts.reduce((total, host) => total + host.unreadMessages, 0);
    const before = sum();
    return () => sum() - before;
  }

  /** The same, now. */
  finishAll(): void {
    for (const host of [...this.#hosts.values(), ...this.#leftOver]) host.finishAll();
    this.#leftOver.clear();
  }

  /** Closes the clients, and leaves the servers to other threads; those that no other thread has are closed. */
  async leave(timeoutMs: number): Promise<CloseReport> {
    return sumReports(await Promise.all([...this.#hosts.values()].map((host) => this.#leave(host, timeoutMs))));
  }

  failAttempts(error: ReactorError): void {
    this.#failAttempts(error.code, (reject) => reject(error));
  }

  /** An io worker is gone. @param tell calls back when it is known why */
  loseAttempts(worker: number, code: ReactorErrorCode, tell: Tell): void {
    this.#failAttempts(code, tell, (attempt) => this.#attempts.get(attempt) === worker);
  }

  /** There are no io workers any more: the servers are closed. */
  endServers(): void {
    for (const server of [...this.#servers, ...this.#others.values()]) surfaceErrors(() => server.ended());
  }

  /** The servers are closed: resolves when the pools have ended, too. */
  async poolsEnded(): Promise<void> {
    await Promise.all([...this.#pools].map((pool) => pool.close()));
  }

  // ----

  #failAttempts(code: ReactorErrorCode, tell: Tell, isAffected: (attempt: number) => boolean = () => true): void {
    for (const host of this.#hosts.values()) if (host instanceof TcpClient) host.failAttempts(code, tell, isAffected);
  }

  #serverBackend(): ServerBackend {
    const { handle, registry, links, hold, onChanged, isEnding } = this.#owner;
    return {
      handle,
      subscribe: (server) => hold(() => this.#subscribe(server)),
      unsubscribe: (server) =>
        hold(async () => {
          await this.#listening.unsubscribe(server.id, false);
          // Their last events are in the ring by now.
          await links.caughtUp();
        }),
      updateTls: (server, tls) => hold(() => this.#listening.updateTls(server, tls)),
      describe: (server, worker) => hold(() => links.call(worker, 'describe', server.id)),
      close: (server, drainMs) => this.#close(server, 'server-close', drainMs),
      nextNumber: () => registry.nextNumber(),
      defer: (run) => links.loop.defer(run),
      onChanged,
      isEnding,
      pools: this.#pools,
      broadcast: (server, except, message) => {
        const writers = links.up.map(({ lane }) => lane.commands);
        // To all or to none.
        if (!writers.every((commands) => commands.hasRoomForBroadcast(message.length))) return false;
        for (const commands of writers) commands.broadcast(server.id, except, message);
        return true;
      },
    };
  }

  async #subscribe(server: TcpServer): Promise<ServerDescription> {
    this.#owner.checkOpen('subscribe()');
    const isNew = !this.#hosts.has(server.id);
    // Before it is answered: its first connections may be announced earlier than the answer.
    this.#hosts.set(server.id, server);
    this.#others.delete(server.id);
    try {
      return await this.#listening.subscribe(server);
    } catch (error) {
      if (isNew || isMissingServer(error)) {
        this.#hosts.delete(server.id);
        this.#others.set(server.id, server);
      }
      throw error;
    }
  }

  async #close(host: TcpHost, reason: CloseReason, drainMs: number): Promise<CloseReport> {
    const before = host.unreadMessages;
    const drained = await this.#owner.hold(() =>
      withDeadline(drainMs, async (deadline) => {
        const report = await this.#listening.close(host.id, reason, drainMs, deadline);
        await this.#owner.links.caughtUp();
        await host.finish(deadline);
        return report;
      }),
    );
    if (host instanceof TcpClient) {
      const closed = new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the client is closed');
      host.failAttempts(closed.code, (rejectAttempt) => rejectAttempt(closed));
    }
    this.#hosts.delete(host.id);
    if (host instanceof TcpServer) host.ended();
    this.#owner.onChanged();
    return closeReport(drained, host.unreadMessages - before);
  }

  async #leave(host: TcpHost, timeoutMs: number): Promise<CloseReport> {
    if (host instanceof TcpServer) {
      const listened = host.isListener;
      if (!listened && !host.isSubscribed) return NOTHING_CLOSED;
      if (await this.#listening.unsubscribe(host.id, listened)) return NOTHING_CLOSED;
    }
    return host.close({ drainMs: timeoutMs });
  }

  /** Takes turns, and passes over those that are being started again. */
  #chooseWorker(): number {
    const { ioWorkers } = this.#owner.handle;
    for (let tried = 0; tried < ioWorkers; tried++) {
      const worker = this.#nextWorker;
      this.#nextWorker = (worker + 1) % ioWorkers;
      if (this.#owner.links.all[worker]?.isLost === false) return worker;
    }
    return this.#nextWorker;
  }
}

function noServer(message: string): ReactorError {
  return new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
}
