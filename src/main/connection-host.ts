import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionTable } from '../shared/connection-table.js';
import type { CommandWriter } from './command-writer.js';
import type { CloseDetail, MessageInfo } from './connection-events.js';
import type { TcpConnection } from './tcp-connection.js';

/** The server or client that a connection belongs to; its listeners hear the connection's events, too. */
export interface ConnectionHost {
  readonly borrows: boolean;
  readonly allowHalfOpen: boolean;
  hasMessageListener(): boolean;
  onMessage(connection: TcpConnection, data: Buffer, info: MessageInfo): void;
  onDrain(connection: TcpConnection): void;
  /** It is closed; the application hears of it behind the messages that it has still to take: that is `onClose`. */
  onEnded(): void;
  onClose(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void;
}

/** What all connections of a thread share. */
export interface ConnectionContext {
  readonly worker: number;
  readonly lane: number;
  readonly table: ConnectionTable;
  readonly commands: CommandWriter;
}
