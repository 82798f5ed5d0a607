import { EventEmitter } from 'node:events';
import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionOptions } from './options.js';
import type { CloseDetail, ConnectionHost, MessageInfo, TcpConnection } from './tcp-connection.js';

/** What servers and clients tell of their connections. */
export interface HostEvents {
  connection: [connection: TcpConnection];
  message: [connection: TcpConnection, data: Buffer, info: MessageInfo];
  /** No more than half of the high-water mark is buffered again, after `send()` answered false. */
  drain: [connection: TcpConnection];
  /** Always a connection's last event. */
  disconnect: [connection: TcpConnection, reason: CloseReason, detail: CloseDetail];
}

/** What a server and a client have in common: connections, and listeners for all of them. */
export abstract class TcpHost extends EventEmitter<HostEvents> implements ConnectionHost {
  /** Unique among the servers and clients of the reactor, in every thread. */
  readonly id: number;
  /** @internal */
  readonly borrows: boolean;
  /** @internal */
  readonly allowHalfOpen: boolean;
  readonly #connections = new Set<TcpConnection>();
  #whenEmpty: (() => void)[] = [];

  /** @internal */
  protected constructor(id: number, options: ConnectionOptions) {
    super();
    this.id = id;
    this.borrows = options.messages === 'borrow';
    this.allowHalfOpen = options.allowHalfOpen === true;
    (this as EventEmitter).on('newListener', (event) => {
      if (event === 'message') for (const connection of this.#connections) connection.listenerAdded();
    });
  }

  /** Connections that are not closed. Thread: app. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** The connections that are not closed. Connections may come and go while it is walked. Thread: app. */
  connections(): IterableIterator<TcpConnection> {
    return this.#connections.values();
  }

  /** @internal */
  hasMessageListener(): boolean {
    return this.listenerCount('message') > 0;
  }

  /** @internal */
  onMessage(connection: TcpConnection, data: Buffer, info: MessageInfo): void {
    this.emit('message', connection, data, info);
  }

  /** @internal */
  onDrain(connection: TcpConnection): void {
    this.emit('drain', connection);
  }

  /** @internal */
  forget(connection: TcpConnection): void {
    this.#connections.delete(connection);
    if (this.#connections.size > 0) return;
    for (const resolve of this.#whenEmpty) resolve();
    this.#whenEmpty = [];
  }

  /** @internal Resolves when no connection is left. */
  whenEmpty(): Promise<void> {
    if (this.#connections.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenEmpty.push(resolve));
  }

  /** @internal */
  onClose(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void {
    this.emit('disconnect', connection, reason, detail);
  }

  /** @internal A connection has been opened; `attempt` names the connect() it answers. */
  abstract onOpen(connection: TcpConnection, attempt: number): void;

  /** Adds the connection and tells the listeners. */
  protected add(connection: TcpConnection): void {
    this.#connections.add(connection);
    this.emit('connection', connection);
  }
}
