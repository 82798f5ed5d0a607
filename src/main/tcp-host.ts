import type { CloseReason } from '../shared/close-reason.js';
import type { TlsFailedEvent, TlsPeer } from '../shared/event-record.js';
import { fromErrorData } from '../shared/reactor-error.js';
import type { ReconnectNews } from '../shared/reconnect-settings.js';
import type { ServiceReport } from '../shared/service-report.js';
import type { CloseReport } from './close-report.js';
import type { CloseDetail, ConnectionInfo, MessageInfo } from './connection-events.js';
import { ListenedEmitter } from './listened-emitter.js';
import type { CloseOptions } from './options.js';
import type { Reply } from './reply.js';
import { failureOf, type ServiceFailure, type SlowServiceCall, slowCallOf } from './service-events.js';
import { surfaceErrors } from './surface.js';
import type { TcpConnection } from './tcp-connection.js';
import { Waiters } from './waiters.js';

/** What a client is about to do. */
export interface Reconnecting {
  /** Which attempt it will be: 1 for the first since there was a connection that lasted. */
  readonly attempt: number;
  /** Until then, in ms. */
  readonly delayMs: number;
  /** Why the attempt before has failed, or the connection before has closed, if an error was the reason. */
  readonly error?: Error;
  /** Why the connection before has closed; 'connect-failed': there was none. */
  readonly reason?: CloseReason;
}

/** What servers and clients tell of their connections. */
export interface HostEvents {
  connection: [connection: TcpConnection, info: ConnectionInfo];
  message: [connection: TcpConnection, data: Buffer, info: MessageInfo];
  /** The peer has called `request()`: `reply` answers it, now or later. */
  request: [connection: TcpConnection, data: Buffer, reply: Reply];
  /** No more than half of the high-water mark is buffered again, after `send()` answered false. */
  drain: [connection: TcpConnection];
  /** The peer's application makes no progress, for so many ms by now; 0: it goes on. See the event of the connection. */
  busy: [connection: TcpConnection, stallMs: number];
  /** The peer says that it is about to end, and why: see the event of the connection. */
  goodbye: [connection: TcpConnection, reason: string];
  /**
   * Of a client with `reconnect`: it has lost a connection, or has not got one, and tries again. Behind the 'disconnect' of the
   * connection that was lost; if that has to wait for messages to be taken, only the last of what was tried meanwhile is told.
   */
  reconnecting: [reconnecting: Reconnecting];
  /** Of a client with `reconnect`: `maxAttempts` have failed, and it tries no more. The error is that of the last attempt. In the same order. */
  reconnectFailed: [error: Error];
  /** Always a connection's last event. */
  disconnect: [connection: TcpConnection, reason: CloseReason, detail: CloseDetail];
  /**
   * Of a server with TLS: a handshake has failed, and the peer has been turned away. `error.cause` has the reason. In all threads that
   * have listened or subscribed; one whose event ring is full is not told.
   */
  tlsClientError: [error: Error, peer: TlsPeer];
  /** A service of its threw, or a promise of the service's was rejected. */
  serviceError: [failure: ServiceFailure];
  /** A service of its held the io worker up. Told of once a second, for each service. */
  slowService: [call: SlowServiceCall];
  /** Of a server: it is closed, whichever thread has closed it. */
  close: [];
}

/** What a server and a client have in common: connections, and listeners for all of them. */
export abstract class TcpHost extends ListenedEmitter<HostEvents> {
  /** Unique among the servers and clients of the reactor, in every thread. */
  readonly id: number;
  readonly #connections = new Set<TcpConnection>();
  /** Of those, how many are not closed; the others have only messages left to be taken. */
  #open = 0;
  readonly #ended = new Waiters<void>();
  readonly #finished = new Waiters<void>();
  /** @internal Of all that have closed: messages that the application has not taken. */
  unreadMessages = 0;

  /** @internal */
  protected constructor(id: number) {
    super();
    this.id = id;
  }

  /** Connections whose events this thread gets, and whose 'disconnect' has not been emitted. Thread: any. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** These connections. They may come and go while it is walked. Thread: any. */
  connections(): IterableIterator<TcpConnection> {
    return this.#connections.values();
  }

  /** @internal */
  listenerAdded(event: string | symbol): void {
    if (event !== 'message' && event !== 'request') return;
    for (const connection of this.#connections) connection.hostListenerAdded();
  }

  /** @internal */
  hasMessageListener(): boolean {
    return this.listenerCount('message') > 0;
  }

  /** @internal */
  hasRequestListener(): boolean {
    return this.listenerCount('request') > 0;
  }

  /** @internal */
  onMessage(connection: TcpConnection, data: Buffer, info: MessageInfo): boolean {
    return this.emit('message', connection, data, info);
  }

  /** @internal */
  onRequest(connection: TcpConnection, data: Buffer, reply: Reply): boolean {
    return this.emit('request', connection, data, reply);
  }

  /** @internal */
  get sharesEvents(): boolean {
    return false;
  }

  /** @internal */
  onDrain(connection: TcpConnection): void {
    this.emit('drain', connection);
  }

  /** @internal Clients have something to say to it. */
  onReconnecting(_news: ReconnectNews): void {}

  /** @internal After a crash of its io worker. */
  willReconnect(_connection: TcpConnection): boolean {
    return false;
  }

  /** @internal */
  onBusy(connection: TcpConnection, stallMs: number): void {
    this.emit('busy', connection, stallMs);
  }

  /** @internal */
  onGoodbye(connection: TcpConnection, reason: string): void {
    this.emit('goodbye', connection, reason);
  }

  /** @internal */
  onTlsFailed({ error, peer }: TlsFailedEvent): void {
    this.emit('tlsClientError', fromErrorData(error), peer);
  }

  /** @internal */
  onServiceReport(report: ServiceReport): void {
    if (report.type === 'error') this.emit('serviceError', failureOf(report));
    else this.emit('slowService', slowCallOf(report));
  }

  /** @internal See TcpServer. */
  onTlsUpdated(_version: number, _worker: number): void {}

  /** @internal */
  onEnded(): void {
    this.#open--;
    if (this.#open === 0) this.#ended.resolveAll();
  }

  /** @internal */
  onReleased(connection: TcpConnection): void {
    this.#connections.delete(connection);
    this.#open--;
    if (this.#open === 0) this.#ended.resolveAll();
    if (this.#connections.size === 0) this.#finished.resolveAll();
  }

  /** @internal */
  onClose(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void {
    this.#connections.delete(connection);
    this.unreadMessages += detail.unreadMessages;
    if (this.#connections.size === 0) this.#finished.resolveAll();
    this.emit('disconnect', connection, reason, detail);
  }

  /** @internal Also the listeners of the connection itself have heard of it. */
  onCloseTold(_connection: TcpConnection): void {}

  /** @internal Its 'disconnect' is still to come. */
  protected has(connection: TcpConnection): boolean {
    return this.#connections.has(connection);
  }

  /**
   * @internal Resolves when all connections are closed and the application has heard of it. Those whose messages it has not
   * taken by `signal` lose them.
   */
  async finish(signal: AbortSignal): Promise<void> {
    if (this.#open > 0) await this.#ended.wait('close()', undefined);
    if (this.#connections.size > 0) await this.#finished.wait('close()', signal).catch(() => undefined);
    this.finishAll();
  }

  /** @internal All are closed, and the application will not take their messages any more. */
  finishAll(): void {
    for (const connection of this.#connections) surfaceErrors(() => connection.finish());
  }

  /** See TcpServer and TcpClient. */
  abstract close(options?: CloseOptions): Promise<CloseReport>;

  /** @internal A connection has been opened; `attempt` names the connect() it answers. */
  abstract onOpen(connection: TcpConnection, attempt: number, info: ConnectionInfo): void;

  /** @internal */
  protected add(connection: TcpConnection): void {
    this.#connections.add(connection);
    this.#open++;
  }
}
