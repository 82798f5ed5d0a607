import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionSettings, ConnectRequest } from '../shared/control-protocol.js';
import { fromErrorData, ReactorError, type ReactorErrorCode } from '../shared/reactor-error.js';
import type { ReconnectNews, ReconnectSettings, Target } from '../shared/reconnect-settings.js';
import type { TlsClientSettings } from '../shared/tls-settings.js';
import { calledFrom } from './called-from.js';
import type { CloseReport } from './close-report.js';
import type { CloseDetail, ConnectionInfo } from './connection-events.js';
import type { Tell } from './crash-causes.js';
import { showAs } from './inspection.js';
import { checkConnect, checkServerClose } from './option-checks.js';
import {
  type AddressOptions,
  type ClientOptions,
  type CloseOptions,
  type ConnectOptions,
  connectionSettings,
  DEFAULT_CONNECT_TIMEOUT_MS,
  DEFAULT_DRAIN_MS,
} from './options.js';
import { reconnectSettings } from './reconnect-options.js';
import type { TcpConnection } from './tcp-connection.js';
import { TcpHost } from './tcp-host.js';
import { abortError, onAbort, throwIfAborted } from './waiters.js';

/** @internal What a client needs of its reactor. */
export interface ClientBackend {
  nextAttempt(): number;
  /** Resolves when the io worker has connected. Whether it has told of the connection by then, or will be able to, is another matter. */
  connect(request: ConnectRequest): Promise<unknown>;
  /** The attempt is over, one way or the other. */
  settled(attempt: number): void;
  abort(attempt: number): void;
  close(client: TcpClient, drainMs: number): Promise<CloseReport>;
  /** Behind the microtasks that an answer sets in motion. */
  defer(run: () => void): void;
  /** Throws what the reactor has died of, or that it is closed. */
  checkOpen(call: string): void;
  /** Keeps the thread alive while somebody waits. */
  hold<T>(wait: () => Promise<T>): Promise<T>;
}

/** A call of `connect()` with `reconnect`: its connection comes back until it is dropped. */
interface Kept {
  readonly request: ConnectRequest;
  /** The last one that there was. */
  connection?: TcpConnection;
  /** An io worker is being asked for it, and has not answered. */
  isCalling: boolean;
  /** Lets the thread end, if it was kept alive while there is no connection. */
  release?: () => void;
  readonly signal: AbortSignal | undefined;
  readonly onAborted: () => void;
}

/** Whoever is gone is looked for so often. */
const LOOK_AGAIN_MS = 10;

interface Attempt {
  readonly resolve: (connection: TcpConnection) => void;
  readonly reject: (error: Error) => void;
}

/** Makes connections of one kind, and hears of all of them. Made by `reactor.client()`. */
export class TcpClient extends TcpHost {
  readonly #backend: ClientBackend;
  readonly #connection: ConnectionSettings;
  readonly #reconnect: ReconnectSettings | undefined;
  readonly #tls: TlsClientSettings | undefined;
  readonly #attempts = new Map<number, Attempt>();
  readonly #kept = new Map<number, Kept>();
  readonly #calls = new WeakMap<TcpConnection, number>();
  /** The last news of what follows a connection, while the application has not been told of its close. */
  readonly #held = new Map<TcpConnection, () => void>();
  #closing: Promise<CloseReport> | undefined;
  #isClosed = false;

  static {
    showAs(TcpClient, 'TcpClient', (client) => {
      const { id, connectionCount } = client;
      const state = client.#isClosed ? 'closed' : client.#closing === undefined ? 'open' : 'closing';
      return { id, state, connectionCount };
    });
  }

  /** @internal */
  constructor(id: number, options: ClientOptions, tls: TlsClientSettings | undefined, backend: ClientBackend) {
    super(id);
    // Its own: the options are the caller's, who may change them.
    this.#connection = structuredClone(connectionSettings(options));
    this.#reconnect = reconnectSettings(options.reconnect);
    this.#tls = tls;
    this.#backend = backend;
  }

  /**
   * Connects; may be called any number of times, also at once. With `reconnect` it tries until there is a connection, and the next
   * ones come with 'connection' and `info.reconnected`; 'reconnecting' and 'reconnectFailed' tell of attempts.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_CONNECT_FAILED (`cause` has the system error; of several addresses that of the last),
   * ERR_REACTOR_CONNECT_TIMEOUT, ERR_REACTOR_TLS (`cause` has Node's error), ERR_REACTOR_ABORTED, ERR_REACTOR_TOO_MANY_CONNECTIONS, ERR_REACTOR_CLOSED,
   * ERR_REACTOR_IO_WORKER_CRASH. Thread: app.
   */
  async connect(options: ConnectOptions): Promise<TcpConnection> {
    checkConnect(options);
    const showCaller = calledFrom(TcpClient.prototype.connect);
    const { timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS, signal } = options;
    throwIfAborted('connect()', signal);
    this.#throwIfClosed();
    const attempt = this.#backend.nextAttempt();
    const abort = (): void => {
      this.#backend.abort(attempt);
      this.#drop(attempt);
      if (signal !== undefined) this.#attempts.get(attempt)?.reject(abortError('connect()', signal));
    };
    onAbort(signal, abort);
    const request: ConnectRequest = {
      client: this.id,
      attempt,
      targets: (options.addresses ?? [options]).map(targetOf),
      timeoutMs,
      reconnect: this.#reconnect,
      isAgain: false,
      connection: this.#connection,
      tls: this.#tls,
    };
    if (request.reconnect !== undefined) {
      this.#kept.set(attempt, { request, isCalling: false, signal, onAborted: abort });
    }
    try {
      const connection = await new Promise<TcpConnection>((resolve, reject) => {
        // The connection itself comes through the event ring, in front of its messages; the answer to this call may come
        // earlier or later, and matters only if it is a failure.
        this.#attempts.set(attempt, { resolve, reject });
        const kept = this.#kept.get(attempt);
        const call = kept === undefined ? this.#backend.connect(request) : this.#call(attempt, kept);
        call.catch((error) => this.#callFailed(attempt, error, reject));
      });
      // Aborted, or the client closed, after it had succeeded and before anybody could know.
      if (signal?.aborted === true) connection.destroy();
      throwIfAborted('connect()', signal);
      return connection;
    } catch (error) {
      this.#drop(attempt);
      const isAborted = signal?.aborted === true;
      const failure = isAborted ? abortError('connect()', signal) : this.#closing === undefined ? error : closedError();
      // It was made where the answer arrived.
      showCaller(failure);
      throw failure;
    } finally {
      this.#attempts.delete(attempt);
      if (!this.#kept.has(attempt)) {
        this.#backend.settled(attempt);
        signal?.removeEventListener('abort', abort);
      }
    }
  }

  /** Asks io workers for it until one of them has an answer: one that dies is started again. */
  async #call(id: number, kept: Kept): Promise<void> {
    kept.isCalling = true;
    try {
      while (this.#kept.get(id) === kept && this.#closing === undefined) {
        try {
          // The connection may have been here and gone before the call that has asked for it is answered.
          await this.#backend.connect({ ...kept.request, isAgain: kept.connection !== undefined });
          return;
        } catch (error) {
          if (!(error instanceof ReactorError) || error.code !== 'ERR_REACTOR_IO_WORKER_CRASH') throw error;
          // The same code says that there will be no other one (`respawn: false`).
          this.#backend.checkOpen('connect()');
          await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
        }
      }
    } finally {
      kept.isCalling = false;
    }
  }

  /** There will be no connection. The first one that there was, if there was one, may have come before its call was answered. */
  #callFailed(id: number, error: Error, reject = this.#attempts.get(id)?.reject): void {
    const connection = this.#kept.get(id)?.connection;
    if (connection === undefined) reject?.(error);
    else if (this.#drop(id)) this.#tellBehind(connection, () => this.emit('reconnectFailed', error));
  }

  /** Tells it behind the last event of that connection, which may have messages in front of it that wait for the application. */
  #tellBehind(connection: TcpConnection | undefined, tell: () => void): void {
    // A later one takes its place: those who do not take messages for hours have no use for all that was tried meanwhile.
    if (connection !== undefined && this.has(connection)) this.#held.set(connection, tell);
    else tell();
  }

  /** Nobody connects again for that call. Returns whether anybody would have. */
  #drop(id: number): boolean {
    const kept = this.#kept.get(id);
    if (kept === undefined) return false;
    this.#kept.delete(id);
    kept.release?.();
    kept.signal?.removeEventListener('abort', kept.onAborted);
    this.#backend.settled(id);
    return true;
  }

  /** The call whose connection it is at present, if it comes back. */
  #callOf(connection: TcpConnection): number | undefined {
    const id = this.#calls.get(connection);
    return id !== undefined && this.#kept.get(id)?.connection === connection ? id : undefined;
  }

  /**
   * Aborts attempts, tells peers goodbye (codec 'frame'), lets every connection handle what it has received and send what it has to send, then shuts it down;
   * cuts what is not done after `drainMs`. Resolves with what has become of the connections. Twice is the same as once. Throws ERR_REACTOR_INVALID_OPTION. Thread: app.
   */
  async close(options: CloseOptions = {}): Promise<CloseReport> {
    checkServerClose(options);
    this.#closing ??= this.#shutDown(options.drainMs ?? DEFAULT_DRAIN_MS);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #throwIfClosed(): void {
    if (this.#closing !== undefined) throw closedError();
  }

  async #shutDown(drainMs: number): Promise<CloseReport> {
    for (const attempt of [...this.#attempts.keys(), ...this.#kept.keys()]) this.#backend.abort(attempt);
    for (const id of [...this.#kept.keys()]) if (!this.#attempts.has(id)) this.#drop(id);
    try {
      return await this.#backend.close(this, drainMs);
    } finally {
      this.#isClosed = true;
    }
  }

  /**
   * @internal They will not be answered: their io worker has ended, or all is over.
   * @param tell calls back when it is known why
   */
  failAttempts(code: ReactorErrorCode, tell: Tell, isAffected: (attempt: number) => boolean = () => true): void {
    const isCrash = code === 'ERR_REACTOR_IO_WORKER_CRASH';
    for (const [id, kept] of this.#kept) {
      if (!isAffected(id)) continue;
      if (!isCrash) this.#drop(id);
      // Nobody is being asked for it.
      else if (!kept.isCalling) this.#call(id, kept).catch((reason) => this.#callFailed(id, reason));
    }
    for (const [id, attempt] of this.#attempts) if (isAffected(id) && !this.#kept.has(id)) tell(attempt.reject);
  }

  /** @internal */
  override willReconnect(connection: TcpConnection): boolean {
    return this.#callOf(connection) !== undefined;
  }

  /** @internal */
  override onReconnecting({ call, attempt, delayMs, error, reason }: ReconnectNews): void {
    const kept = this.#kept.get(call);
    if (kept === undefined) return;
    const rebuilt = error === undefined ? undefined : fromErrorData(error);
    if (delayMs !== undefined) {
      const why = { ...(rebuilt !== undefined && { error: rebuilt }), ...(reason !== undefined && { reason }) };
      this.#tellBehind(kept.connection, () => {
        // Dropped meanwhile, it is not tried any more.
        if (this.#kept.get(call) === kept) this.emit('reconnecting', { attempt, delayMs, ...why });
      });
      return;
    }
    this.#drop(call);
    const message = `No connection has lasted in ${attempt - 1} attempts; the last one: ${reason ?? 'failed'}`;
    const failure = rebuilt ?? new ReactorError('ERR_REACTOR_CONNECT_FAILED', message);
    this.#tellBehind(kept.connection, () => this.emit('reconnectFailed', failure));
  }

  /** @internal */
  override onClose(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void {
    const id = this.#callOf(connection);
    if (id !== undefined) {
      const kept = this.#kept.get(id) as Kept;
      if (detail.reconnecting !== true) this.#drop(id);
      // Until it is there again, or is given up: the news of that follow.
      else if (reason !== 'io-worker-crash') {
        void this.#backend.hold(
          () =>
            new Promise<void>((resolve) => {
              kept.release = resolve;
            }),
        );
      }
    }
    super.onClose(connection, reason, detail);
  }

  /** @internal */
  override onCloseTold(connection: TcpConnection): void {
    const tell = this.#held.get(connection);
    this.#held.delete(connection);
    tell?.();
  }

  /** @internal */
  onOpen(connection: TcpConnection, attempt: number, info: ConnectionInfo): void {
    const waiting = this.#attempts.get(attempt);
    this.add(connection);
    // Behind the microtasks in which the caller's `await connect()` goes on and adds its listeners.
    this.#backend.defer(() => connection.start());
    const kept = this.#kept.get(attempt);
    if (kept !== undefined) {
      kept.connection = connection;
      this.#calls.set(connection, attempt);
      kept.release?.();
    }
    // Aborted at the very moment it succeeded.
    if (waiting === undefined && kept === undefined) connection.destroy();
    else waiting?.resolve(connection);
    this.emit('connection', connection, info);
  }
}

function targetOf({ host = 'localhost', port = 0, path }: AddressOptions): Target {
  return { host, port, path };
}

function closedError(): ReactorError {
  return new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the client is closed');
}
