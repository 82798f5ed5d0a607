/** Why a connection closed. The position in this list is the number that crosses the event ring: append, never reorder. */
export const closeReasons = [
  /** shutdown() was called on this side, or its client was closed; both sides are done, or nothing moved any more. */
  'local-shutdown',
  /** destroy() was called on this side. */
  'local-destroy',
  /** The peer ended its side (FIN) first. */
  'peer-end',
  /** The connection broke: reset by the peer, timed out, network gone. */
  'peer-reset',
  /** The peer sent bytes that the codec does not allow, or ended inside a frame. */
  'protocol-error',
  /** The peer announced a frame longer than `limits.maxFrameBytes`. */
  'frame-too-large',
  /** More than the overflow limit waited to be sent (`overflow: 'close'`). */
  'backpressure',
  /** Its server was closed. */
  'server-close',
  /** Its reactor was closed or destroyed. */
  'reactor-close',
  /** The thread that held the socket died. */
  'io-worker-crash',
  /** The thread that got its events died or left, and no other one took over in time (`orphanTimeoutMs`). */
  'orphaned',
  /** What the peer sent cannot be decompressed, or would be longer than `limits.maxFrameBytes`. */
  'decompression-failed',
  /** Nothing came from the peer for as long as a heartbeat allows. */
  'heartbeat-timeout',
  /** TLS failed on an open connection: the peer refused this side's certificate, or sent what TLS does not allow. */
  'tls-error',
  /** Nothing but heartbeats went through it for `limits.idleTimeoutMs`. */
  'idle-timeout',
  /** Its first message was not there within `limits.firstFrameTimeoutMs`. */
  'first-frame-timeout',
  /** It went beyond one of `limits`; the error says which. */
  'limit',
  /** The thread that gets its events made no progress (`heartbeat.onStall`). */
  'app-stalled',
  /** A service of the user's threw while it had the connection in hand. */
  'service-failed',
  /** Of an attempt of a client with `reconnect`, which 'reconnecting' tells of: there was no connection. */
  'connect-failed',
] as const;

export type CloseReason = (typeof closeReasons)[number];

export function closeReasonCode(reason: CloseReason): number {
  return closeReasons.indexOf(reason);
}

export function closeReasonOf(code: number): CloseReason {
  const reason = closeReasons[code];
  if (reason === undefined) throw new RangeError(`No close reason has the number ${code}`);
  return reason;
}
