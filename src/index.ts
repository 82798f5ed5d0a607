export type { Codec, CodecChannel, CodecOutput, ConnectionCodec } from './io-worker/codec.js';
export { type DecodeFramesOptions, decodeFrames } from './io-worker/decode-frames.js';
export { type CodecDefinition, defineCodec } from './io-worker/define-codec.js';
export {
  defineService,
  type ServiceConnection,
  type ServiceContext,
  type ServiceDefinition,
  type ServiceLog,
} from './io-worker/define-service.js';
export { attach } from './main/attach.js';
export type { CloseReport } from './main/close-report.js';
export type {
  CodecOption,
  CompressionOptions,
  FixedCodecOptions,
  LengthFieldCodecOptions,
  LineCodecOptions,
  ModuleCodecOptions,
  SimpleReactorCodecOptions,
} from './main/codec-options.js';
export type { ConnectionDuplex } from './main/connection-duplex.js';
export type {
  CloseDetail,
  ConnectionEvents,
  ConnectionInfo,
  ConnectionState,
  MessageInfo,
} from './main/connection-events.js';
export { defineLogic, type Logic, type LogicContext } from './main/define-logic.js';
export type { DiagnosticMessages } from './main/diagnostics.js';
export { Group, type GroupSendOptions } from './main/group.js';
export type { HeartbeatOptions, StallOptions } from './main/heartbeat-options.js';
export type { Logger, LogOptions, LogRotation } from './main/log-options.js';
export { LogicPool, type LogicPoolEvents, type LogicRestart } from './main/logic-pool.js';
export type {
  AddressOptions,
  BroadcastOptions,
  ClientOptions,
  CloseOptions,
  ConnectionOptions,
  ConnectOptions,
  DuplexOptions,
  LimitOptions,
  ListenOptions,
  LogicPoolCloseOptions,
  LogicPoolOptions,
  ReactorCloseOptions,
  RequestOptions,
  ServerLimitOptions,
  SpawnOptions,
  WaitOptions,
} from './main/options.js';
export { Reactor, type ReactorEvents, type Respawn } from './main/reactor.js';
export type { ReactorHandle } from './main/reactor-handle.js';
export type { ReactorStats } from './main/reactor-stats.js';
export type { ReconnectOptions } from './main/reconnect-options.js';
export type { Reply } from './main/reply.js';
export type { ServiceFailure, SlowServiceCall } from './main/service-events.js';
export type { ServiceModuleOptions, ServiceOption } from './main/service-options.js';
export type { Stall } from './main/stall-watch.js';
export { TcpClient } from './main/tcp-client.js';
export { TcpConnection } from './main/tcp-connection.js';
export type { HostEvents, Reconnecting, TcpHost } from './main/tcp-host.js';
export { TcpServer } from './main/tcp-server.js';
export type { TimerCallback, TimerOptions, TimerTick } from './main/timers.js';
export type { TlsClientOptions, TlsOptions, TlsServerOptions } from './main/tls-options.js';
export { type CloseReason, closeReasons } from './shared/close-reason.js';
export type { ConnectionId } from './shared/connection-id.js';
export type { ConnectionDetails, Dispatch, ServerAddress } from './shared/control-protocol.js';
export type { ConnectionAddresses, TlsPeer } from './shared/event-record.js';
export type { StallAction } from './shared/heartbeat-settings.js';
export type { Lateness } from './shared/lateness-histogram.js';
export type { LogLevel } from './shared/log-protocol.js';
export { errorCodes, ReactorError, type ReactorErrorCode } from './shared/reactor-error.js';
export type { ServiceAction, ServiceHook } from './shared/service-report.js';
export type {
  CertificateName,
  PeerCertificate,
  TlsBytes,
  TlsCredentials,
  TlsInfo,
  TlsVersion,
} from './shared/tls-settings.js';
