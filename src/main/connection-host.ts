import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionId } from '../shared/connection-id.js';
import type { ConnectionTable } from '../shared/connection-table.js';
import type { ConnectionDetails } from '../shared/control-protocol.js';
import type { Activity } from './app-loop.js';
import type { CommandWriter } from './command-writer.js';
import type { CloseDetail, MessageInfo } from './connection-events.js';
import type { Reply } from './reply.js';
import type { Requests } from './requests.js';
import type { TcpConnection } from './tcp-connection.js';

/** The server or client that a connection belongs to; its listeners hear the connection's events, too. */
export interface ConnectionHost {
  hasMessageListener(): boolean;
  hasRequestListener(): boolean;
  /** False: nobody listens for messages. */
  onMessage(connection: TcpConnection, data: Buffer, info: MessageInfo): boolean;
  /** False: nobody listens for requests. */
  onRequest(connection: TcpConnection, data: Buffer, reply: Reply): boolean;
  /** Several threads get each event. */
  readonly sharesEvents: boolean;
  onDrain(connection: TcpConnection): void;
  /** After a crash of its io worker. */
  willReconnect(connection: TcpConnection): boolean;
  onBusy(connection: TcpConnection, stallMs: number): void;
  onGoodbye(connection: TcpConnection, reason: string): void;
  /** It is closed; the application hears of it behind the messages that it has still to take: that is `onClose`. */
  onEnded(): void;
  onClose(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void;
  /** Also the listeners of the connection itself have heard of it. */
  onCloseTold(connection: TcpConnection): void;
  /** Another thread gets its events. */
  onReleased(connection: TcpConnection): void;
}

/** What all connections of a thread on one io worker share. */
export interface ConnectionContext {
  /** Names the reactor. */
  readonly reactor: string;
  readonly worker: number;
  readonly lane: number;
  readonly table: ConnectionTable;
  readonly commands: CommandWriter;
  readonly activity: Activity;
  /** See AppLoop. */
  soon(run: () => boolean): void;
  readonly requests: Requests;
  /** Has a connection whose events this thread does not get told of DRAIN, FLUSHED and CLOSE. */
  watch(connection: TcpConnection): void;
  /** Tells the connection (`receiveFlushed`) when all that this thread has sent on it by now is with the kernel. */
  flush(connection: TcpConnection): void;
  /** This thread has done with the connection's events. */
  release(connection: TcpConnection): void;
  /** Whether the connection, as long as it is open, keeps the thread alive; by default it does. */
  setRef(connection: TcpConnection, referenced: boolean): void;
  /** Keeps the thread alive while somebody waits. */
  hold<T>(wait: () => Promise<T>): Promise<T>;
  /** Asks the io worker. */
  info(id: ConnectionId): Promise<ConnectionDetails | undefined>;
}
