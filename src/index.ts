export type { CloseDetail, ConnectionEvents, ConnectionState, MessageInfo } from './main/connection-events.js';
export type {
  ClientOptions,
  CloseOptions,
  Codec,
  ConnectionOptions,
  ConnectOptions,
  LimitOptions,
  ListenOptions,
  ReactorCloseOptions,
  SpawnOptions,
  WaitOptions,
} from './main/options.js';
export { Reactor, type ReactorEvents } from './main/reactor.js';
export type { ReactorStats } from './main/reactor-stats.js';
export { TcpClient } from './main/tcp-client.js';
export { TcpConnection } from './main/tcp-connection.js';
export type { HostEvents, TcpHost } from './main/tcp-host.js';
export { TcpServer } from './main/tcp-server.js';
export { type CloseReason, closeReasons } from './shared/close-reason.js';
export type { ConnectionId } from './shared/connection-id.js';
export type { ServerAddress } from './shared/control-protocol.js';
export { errorCodes, ReactorError, type ReactorErrorCode } from './shared/reactor-error.js';
