import type { ListenRequest, ServerAddress, ServerDescription } from '../shared/control-protocol.js';
import { maxBodyBytes } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { TlsServerSettings } from '../shared/tls-settings.js';
import { show } from './checks.js';
import { type CloseReport, NOTHING_CLOSED } from './close-report.js';
import type { ConnectionInfo } from './connection-events.js';
import { idsOf } from './excepted.js';
import { showAs } from './inspection.js';
import { checkBroadcast, checkServerClose } from './option-checks.js';
import { type BroadcastOptions, type CloseOptions, DEFAULT_DRAIN_MS } from './options.js';
import type { ReactorHandle } from './reactor-handle.js';
import { surfaceErrors } from './surface.js';
import type { TcpConnection } from './tcp-connection.js';
import { TcpHost } from './tcp-host.js';
import { type TlsServerOptions, tlsServerSettings } from './tls-options.js';

/** @internal What a server needs of its reactor. */
export interface ServerBackend {
  readonly handle: ReactorHandle;
  nextNumber(): number;
  subscribe(server: TcpServer): Promise<ServerDescription>;
  unsubscribe(server: TcpServer): Promise<void>;
  updateTls(server: TcpServer, tls: TlsServerSettings): Promise<void>;
  /** As an io worker knows it. */
  describe(server: TcpServer, worker: number): Promise<ServerDescription>;
  close(server: TcpServer, drainMs: number): Promise<CloseReport>;
  /** Behind the microtasks that an answer sets in motion. */
  defer(run: () => void): void;
  /** Whether it keeps the process alive may have changed. */
  onChanged(): void;
  broadcast(server: TcpServer, except: readonly number[], message: Uint8Array): boolean;
  /** The reactor is closed, or about to be. */
  isEnding(): boolean;
  /** Pools of this thread that have servers of the reactor: its close() waits for them. */
  readonly pools: Set<Closable>;
}

/** @internal */
export interface Closable {
  close(): Promise<unknown>;
}

const NOWHERE: ServerAddress = Object.freeze({ address: '', port: 0, family: '' });

/**
 * A server and its connections. Made by `reactor.listen()`; `reactor.server(id)` gives the same server in another thread.
 *
 * Which threads get the events of its connections is up to `dispatch` and `subscribe()`; each thread hears of those that it gets.
 */
export class TcpServer extends TcpHost {
  readonly #backend: ServerBackend;
  /** Private: there are keys in it, and whoever logs a server writes what all can see. */
  #request: ListenRequest | undefined;
  #address: ServerAddress = NOWHERE;
  #subscribed = false;
  /** @internal This thread has called listen(). */
  isListener = false;
  /** @internal Among those that stand by: the lower one is first. */
  seniority = 0;
  /** The last time that this thread left. */
  #joining: Promise<void> | undefined;
  #leaving: Promise<void> | undefined;
  #closing: Promise<CloseReport> | undefined;
  #isClosed = false;
  /** Connections that came before whoever called listen() or subscribe() had a chance to listen to events. */
  #early: { readonly connection: TcpConnection; readonly info: ConnectionInfo }[] | undefined = [];

  static {
    showAs(TcpServer, 'TcpServer', (server) => {
      const { id, address, isSubscribed, connectionCount } = server;
      const state = server.#isClosed ? 'closed' : server.isOver ? 'closing' : 'open';
      const shown = address === NOWHERE ? undefined : addressText(address);
      return { id, address: shown, state, dispatch: server.request?.dispatch, isSubscribed, connectionCount };
    });
  }

  /** @internal */
  constructor(id: number, backend: ServerBackend) {
    super(id);
    this.#backend = backend;
  }

  /** @internal The reactor's. */
  get handle(): ReactorHandle {
    return this.#backend.handle;
  }

  /** @internal What it listens with, its port included; undefined in a thread that has neither listened nor subscribed. */
  get request(): ListenRequest | undefined {
    return this.#request;
  }

  /** @internal */
  get pools(): Set<Closable> {
    return this.#backend.pools;
  }

  /** Where it listens, as `net.Server` gives it. In another thread it is known after `subscribe()`. Thread: any. */
  get address(): ServerAddress {
    return this.#address;
  }

  /** True if this thread is one of those that get events. Thread: any. */
  get isSubscribed(): boolean {
    return this.#subscribed;
  }

  /**
   * This thread joins those that get the events of the server's connections; add listeners before the next `await`. Connections
   * that come from another thread are announced with `info.handedOver`, and their unfinished messages come first.
   * Subscribed already, it does nothing.
   *
   * Rejects with ERR_REACTOR_NO_SUCH_SERVER, ERR_REACTOR_CLOSED, ERR_REACTOR_IO_WORKER_CRASH. Thread: any.
   */
  async subscribe(): Promise<void> {
    if (this.#subscribed) return;
    this.#joining ??= this.#join().finally(() => {
      this.#joining = undefined;
    });
    return this.#joining;
  }

  async #join(): Promise<void> {
    this.seniority ||= this.#backend.nextNumber();
    this.#early ??= [];
    this.listening(await this.#backend.subscribe(this), true);
    this.#backend.onChanged();
  }

  /**
   * This thread leaves them. Handlers that run finish, an iteration finishes with its message; everything behind goes to other
   * subscribers, in order, nothing lost and nothing twice; without any it is held for the next one (`orphanTimeoutMs`).
   * Resolves when all connections have been handed over.
   *
   * Rejects with ERR_REACTOR_CLOSED, ERR_REACTOR_IO_WORKER_CRASH. Thread: any.
   */
  async unsubscribe(): Promise<void> {
    // Whether it has joined is its caller's business.
    if (this.#joining !== undefined) await this.#joining.catch(() => undefined);
    if (this.#subscribed) {
      this.#subscribed = false;
      this.seniority = 0;
      this.#leaving = this.#backend.unsubscribe(this);
    }
    await this.#leaving;
  }

  /**
   * Sends a message to all connections of the server, whichever threads get their events. It is encoded once. A connection on which
   * more than its overflow limit would wait is closed or skipped, as its `overflow` says; the others are not held up.
   *
   * Returns false, and sends nothing, if more than 16 MiB of broadcasts wait in this thread already.
   * Throws ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_INVALID_ARGUMENT, and ERR_REACTOR_MESSAGE_TOO_LARGE where the thread has listened or
   * subscribed and the codec is 'frame'. Otherwise a message that a connection cannot carry counts in its `droppedMessages`. Thread: any.
   */
  broadcast(data: Uint8Array | string, options: BroadcastOptions = {}): boolean {
    checkBroadcast(options);
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
      const message = `broadcast() takes a Uint8Array or a string, got ${show(data)}`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    const message = typeof data === 'string' ? Buffer.from(data) : data;
    const codec = this.request?.connection.codec;
    if (codec?.type === 'frame' && message.length > maxBodyBytes(codec.maxFrameBytes)) {
      const most = `${maxBodyBytes(codec.maxFrameBytes)} at most`;
      throw new ReactorError(
        'ERR_REACTOR_MESSAGE_TOO_LARGE',
        `broadcast(): a message of ${message.length} bytes; this server's connections take ${most}`,
      );
    }
    if (this.#isClosed) return false;
    return this.#backend.broadcast(this, idsOf('broadcast()', options.except, this.handle.reactor), message);
  }

  /**
   * New connections get these TLS settings, in place of all that the server had; connections that there are go on with theirs. Once
   * it has resolved, no handshake begins with the old ones.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, also for a server that listens without TLS, and then nothing changes;
   * ERR_REACTOR_INVALID_ARGUMENT in a thread that has neither listened nor subscribed; ERR_REACTOR_NO_SUCH_SERVER;
   * ERR_REACTOR_CLOSED; ERR_REACTOR_IO_WORKER_CRASH. Thread: any.
   */
  async updateTls(options: TlsServerOptions): Promise<void> {
    const { request } = this;
    if (request === undefined) {
      const message = 'updateTls(): this thread has neither listened nor subscribed, and does not know the server';
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    if (request.tls === undefined) {
      throw new ReactorError('ERR_REACTOR_INVALID_OPTION', `updateTls(): server ${this.id} listens without 'tls'`);
    }
    const tls = tlsServerSettings('updateTls()', options, this.#backend.nextNumber());
    await this.#backend.updateTls(this, tls);
    this.#noteTls(tls);
  }

  /**
   * Stops accepting, tells peers goodbye (codec 'frame'), lets every connection handle what it has received and send what it has to send, then shuts it down.
   * What is not done after `drainMs` is cut; its 'disconnect' says how many bytes were not sent. Connections end with
   * reason 'server-close'. Resolves with what has become of them. Twice is the same as once.
   *
   * Throws ERR_REACTOR_INVALID_OPTION. Thread: any.
   */
  async close(options: CloseOptions = {}): Promise<CloseReport> {
    checkServerClose(options);
    this.#closing ??= this.#backend.close(this, options.drainMs ?? DEFAULT_DRAIN_MS);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  listening({ request, address }: ServerDescription, subscribed: boolean): void {
    // If it has to be done again, then on the same port.
    this.#request = { ...request, port: address.port };
    this.#subscribed = subscribed;
    this.#address = address;
    // The caller's `await` goes on in a microtask; only then can it add listeners.
    this.#backend.defer(() => this.#announceEarly());
  }

  /** @internal An io worker has newer settings than this thread may know of: it would restore the old ones after a crash. */
  override onTlsUpdated(version: number, worker: number): void {
    const known = this.request?.tls;
    if (known === undefined || known.version >= version) return;
    this.#backend.describe(this, worker).then(
      ({ request }) => this.#noteTls(request.tls),
      // The server or the io worker is gone: others are asked, or nobody needs to know.
      () => undefined,
    );
  }

  #noteTls(tls: TlsServerSettings | undefined): void {
    const { request } = this;
    if (tls === undefined || request?.tls === undefined || tls.version <= request.tls.version) return;
    this.#request = { ...request, tls };
  }

  /** @internal Whoever closed it, it is over. */
  ended(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#subscribed = false;
    this.#closing ??= Promise.resolve(NOTHING_CLOSED);
    this.emit('close');
  }

  /** @internal */
  override get sharesEvents(): boolean {
    return this.request?.dispatch === 'all';
  }

  /** @internal It is closed, or about to be. */
  get isOver(): boolean {
    return this.#isClosed || this.#closing !== undefined;
  }

  /** @internal The same, or its reactor is. */
  get isEnding(): boolean {
    return this.isOver || this.#backend.isEnding();
  }

  /** @internal */
  get keepsAlive(): boolean {
    return !this.#isClosed && (this.isListener || this.#subscribed);
  }

  /** @internal */
  override finishAll(): void {
    this.#announceEarly();
    super.finishAll();
  }

  #announceEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const { connection, info } of early) surfaceErrors(() => this.#announce(connection, info));
  }

  /** @internal */
  onOpen(connection: TcpConnection, _attempt: number, info: ConnectionInfo): void {
    this.add(connection);
    if (this.#early === undefined) this.#announce(connection, info);
    else this.#early.push({ connection, info });
  }

  #announce(connection: TcpConnection, info: ConnectionInfo): void {
    try {
      this.emit('connection', connection, info);
    } finally {
      connection.start();
    }
  }
}

function addressText({ address, port, family }: ServerAddress): string {
  if (family === 'Unix') return address;
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}
