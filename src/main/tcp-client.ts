import type { ConnectRequest } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { TlsClientSettings } from '../shared/tls-settings.js';
import type { CloseReport } from './close-report.js';
import type { ConnectionInfo } from './connection-events.js';
import { checkConnect, checkServerClose } from './option-checks.js';
import {
  type ClientOptions,
  type CloseOptions,
  type ConnectOptions,
  connectionSettings,
  DEFAULT_CONNECT_TIMEOUT_MS,
  DEFAULT_DRAIN_MS,
} from './options.js';
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
}

interface Attempt {
  readonly resolve: (connection: TcpConnection) => void;
  readonly reject: (error: Error) => void;
}

/** Makes connections of one kind, and hears of all of them. Made by `reactor.client()`. */
export class TcpClient extends TcpHost {
  readonly #backend: ClientBackend;
  readonly #options: ClientOptions;
  readonly #tls: TlsClientSettings | undefined;
  readonly #attempts = new Map<number, Attempt>();
  #closing: Promise<CloseReport> | undefined;

  /** @internal */
  constructor(id: number, options: ClientOptions, tls: TlsClientSettings | undefined, backend: ClientBackend) {
    super(id);
    this.#options = options;
    this.#tls = tls;
    this.#backend = backend;
  }

  /**
   * Connects; may be called any number of times, also at once.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_CONNECT_FAILED (`cause` has the system error),
   * ERR_REACTOR_CONNECT_TIMEOUT, ERR_REACTOR_TLS (`cause` has Node's error), ERR_REACTOR_ABORTED, ERR_REACTOR_TOO_MANY_CONNECTIONS, ERR_REACTOR_CLOSED,
   * ERR_REACTOR_IO_WORKER_CRASH. Thread: app.
   */
  async connect(options: ConnectOptions): Promise<TcpConnection> {
    checkConnect(options);
    const { host = 'localhost', port = 0, path, timeoutMs = DEFAULT_CONNECT_TIMEOUT_MS, signal } = options;
    throwIfAborted(signal);
    this.#throwIfClosed();
    const attempt = this.#backend.nextAttempt();
    const abort = (): void => {
      this.#backend.abort(attempt);
      if (signal !== undefined) this.#attempts.get(attempt)?.reject(abortError(signal));
    };
    onAbort(signal, abort);
    try {
      const connection = await new Promise<TcpConnection>((resolve, reject) => {
        // The connection itself comes through the event ring, in front of its messages; the answer to this call may come
        // earlier or later, and matters only if it is a failure.
        this.#attempts.set(attempt, { resolve, reject });
        const target = { client: this.id, attempt, host, port, path, timeoutMs };
        const settings = { connection: connectionSettings(this.#options), tls: this.#tls };
        this.#backend.connect({ ...target, ...settings }).catch(reject);
      });
      // Aborted, or the client closed, after it had succeeded and before anybody could know.
      if (signal?.aborted === true) connection.destroy();
      throwIfAborted(signal);
      return connection;
    } catch (error) {
      throwIfAborted(signal);
      this.#throwIfClosed();
      // It was made where the answer arrived; the caller wants to see who called.
      if (error instanceof Error) Error.captureStackTrace(error);
      throw error;
    } finally {
      this.#attempts.delete(attempt);
      this.#backend.settled(attempt);
      signal?.removeEventListener('abort', abort);
    }
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
    if (this.#closing !== undefined) throw new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the client is closed');
  }

  async #shutDown(drainMs: number): Promise<CloseReport> {
    for (const attempt of this.#attempts.keys()) this.#backend.abort(attempt);
    return this.#backend.close(this, drainMs);
  }

  /** @internal Their io worker has ended: they will not be answered. */
  failAttempts(error: ReactorError, isAffected: (attempt: number) => boolean): void {
    for (const [id, attempt] of this.#attempts) if (isAffected(id)) attempt.reject(error);
  }

  /** @internal */
  onOpen(connection: TcpConnection, attempt: number, info: ConnectionInfo): void {
    const waiting = this.#attempts.get(attempt);
    this.add(connection);
    // Behind the microtasks in which the caller's `await connect()` goes on and adds its listeners.
    this.#backend.defer(() => connection.start());
    // Aborted at the very moment it succeeded.
    if (waiting === undefined) connection.destroy();
    else waiting.resolve(connection);
    this.emit('connection', connection, info);
  }
}
