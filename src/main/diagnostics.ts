import { channel } from 'node:diagnostics_channel';
import type { CloseReason } from '../shared/close-reason.js';
import type { ReactorError } from '../shared/reactor-error.js';
import type { CloseDetail } from './connection-events.js';
import type { Stall } from './stall-watch.js';
import type { TcpConnection } from './tcp-connection.js';

/** What goes to the subscribers of node:diagnostics_channel, in the thread that gets the event, right before its handlers. */
export interface DiagnosticMessages {
  'simple-reactor:open': { readonly reactor: string; readonly connection: TcpConnection; readonly handedOver: boolean };
  'simple-reactor:close': {
    readonly reactor: string;
    readonly connection: TcpConnection;
    readonly reason: CloseReason;
    readonly detail: CloseDetail;
  };
  /** In front of 'simple-reactor:close', if that is its reason. */
  'simple-reactor:protocol-error': {
    readonly reactor: string;
    readonly connection: TcpConnection;
    readonly error: ReactorError | Error | undefined;
  };
  /** Only in threads that listen to the reactor's 'stall'. */
  'simple-reactor:stall': { readonly reactor: string; readonly stall: Stall };
}

const [open, close, protocolError, stalled] = (['open', 'close', 'protocol-error', 'stall'] as const).map((name) =>
  channel(`simple-reactor:${name}`),
) as [Channel, Channel, Channel, Channel];
type Channel = ReturnType<typeof channel>;

export function publishOpen(reactor: string, connection: TcpConnection, handedOver: boolean): void {
  if (open.hasSubscribers) open.publish({ reactor, connection, handedOver });
}

export function publishClose(
  reactor: string,
  connection: TcpConnection,
  reason: CloseReason,
  detail: CloseDetail,
): void {
  if (reason === 'protocol-error' && protocolError.hasSubscribers) {
    protocolError.publish({ reactor, connection, error: detail.error });
  }
  if (close.hasSubscribers) close.publish({ reactor, connection, reason, detail });
}

export function publishStall(reactor: string, stall: Stall): void {
  if (stalled.hasSubscribers) stalled.publish({ reactor, stall });
}
