import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionCounts } from '../shared/connection-table.js';
import type { LogLevel } from '../shared/log-protocol.js';
import { ReactorError, toErrorData } from '../shared/reactor-error.js';
import type { IoLog } from './io-log.js';
import type { Origin } from './origin.js';
import type { TcpConnection } from './tcp-connection.js';

/** What peers do is worth knowing for who looks; what this side cannot keep up with, for everybody. The rest is everyday life. */
const closeLevels: Partial<Record<CloseReason, LogLevel>> = {
  backpressure: 'warn',
  'app-stalled': 'warn',
  'service-failed': 'warn',
  'protocol-error': 'info',
  'frame-too-large': 'info',
  'decompression-failed': 'info',
  'heartbeat-timeout': 'info',
  'first-frame-timeout': 'info',
  limit: 'info',
  'tls-error': 'info',
};

export function logOpened(log: IoLog, { id, addresses, origin, role }: TcpConnection): void {
  if (log.isEnabled('debug')) {
    log.write('debug', { connection: id, [role]: origin.id, ...addresses }, 'Connection opened');
  }
}

export interface Closing {
  readonly reason: CloseReason;
  readonly unsentBytes: number;
  readonly openMs: number;
  readonly counts: ConnectionCounts;
  readonly error: Error | undefined;
}

export function logClosed(log: IoLog, { id, addresses, origin, role }: TcpConnection, closing: Closing): void {
  const { reason, unsentBytes, openMs, counts, error } = closing;
  const code = error instanceof ReactorError ? error.code : undefined;
  const isCodecs = code === 'ERR_REACTOR_CODEC_FAILED';
  const level = isCodecs ? 'warn' : (closeLevels[reason] ?? 'debug');
  if (!log.isEnabled(level)) return;
  const { bytesReceived, bytesSent, messagesReceived } = counts;
  const { message, cause } = error === undefined ? {} : toErrorData(error);
  const fields = {
    connection: id,
    [role]: origin.id,
    ...addresses,
    reason,
    ...(code !== undefined && { code }),
    ...(message !== undefined && { error: message }),
    // What a service threw has a line of its own.
    ...(isCodecs && { stack: cause?.stack }),
    openMs: Math.round(openMs),
    bytesReceived,
    bytesSent,
    messagesReceived,
    unsentBytes,
  };
  log.write(level, fields, 'Connection closed');
}

/** Otherwise nobody would know why peers are turned away: there is no thread to hear of it. Once for each server. */
export function logOrphaned(log: IoLog, origin: Origin): void {
  const { id, request } = origin;
  if (request === undefined || origin.hasOrphans) return;
  origin.hasOrphans = true;
  const { dispatch, orphanTimeoutMs } = request;
  const message =
    'Connections end because no thread has subscribed: call subscribe() of the server, or start a LogicPool';
  log.write('warn', { server: id, dispatch, orphanTimeoutMs }, message);
}
