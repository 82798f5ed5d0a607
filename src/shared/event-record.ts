import { type CloseReason, closeReasonCode, closeReasonOf } from './close-reason.js';
import type { ConnectionCounts } from './connection-table.js';
import { type ErrorData, toErrorData } from './reactor-error.js';

/**
 * Records from the io worker to an app thread. Slot and generation in the record's header name the connection.
 *
 * ```
 *  OPEN           who it is, see below; always a connection's first
 *  MESSAGES       whole data and request frames (frame-format.ts), one after the other
 *  CHUNK          one message: the payload as it is
 *  PART_FIRST     u32 length of a message that needs more than one record, u32 kind of its frame, then its first bytes
 *  PART           its next bytes; it is complete when as many as announced have come
 *  END            the peer has ended its side; nothing more will be received
 *  WIND_DOWN      the server or the reactor closes: handle what came before, then shut this connection down
 *  DRAIN          as little as the low-water mark is buffered again
 *  FLUSHED        answers FLUSH
 *  CLOSE          see below; always a connection's last
 *  REDELIVERY     u32 n: another thread has died that may have handled any of the next n messages
 *  LEAVE          nothing more will come: answer RELEASED when you have done with what came
 *  SERVER_CLOSED  the server whose id is in place of the slot is closed
 *  ANSWERS        whole frames that answer requests of this thread, whoever gets the connection's messages
 *  ANSWER_FIRST   like PART_FIRST, of an answer
 *  ANSWER_PART    like PART, of an answer
 *  TLS_FAILED     a handshake with that server has failed, see below
 *  TLS_UPDATED    u32 version: that server has new TLS settings
 *  BUSY           u32 ms: the peer's application has stood still for so long; 0: it goes on
 *  RECONNECTING   ReconnectNews as JSON: a client is about to connect again, or gives up
 *  PROBE          nothing: whether the thread takes it says whether it is alive
 *  TIMER          a timer of this thread has ticked: timer-record.ts
 *  SERVICE_REPORT a service threw or was slow: service-report.ts; slot and generation mean nothing
 * ```
 */
export const eventKind = {
  OPEN: 1,
  MESSAGES: 2,
  CHUNK: 3,
  PART_FIRST: 4,
  PART: 5,
  END: 6,
  WIND_DOWN: 7,
  DRAIN: 8,
  FLUSHED: 9,
  CLOSE: 10,
  REDELIVERY: 11,
  LEAVE: 12,
  SERVER_CLOSED: 13,
  ANSWERS: 14,
  ANSWER_FIRST: 15,
  ANSWER_PART: 16,
  TLS_FAILED: 17,
  TLS_UPDATED: 18,
  BUSY: 19,
  GOODBYE: 20,
  PROBE: 21,
  TIMER: 22,
  RECONNECTING: 23,
  SERVICE_REPORT: 24,
} as const;

/** In front of the first piece of a message. */
export interface PartHeader {
  /** The whole message's, in bytes. */
  readonly length: number;
  /** Of its frame. */
  readonly kind: number;
}
export const PART_HEADER_BYTES = 8;
export const partOffset = { LENGTH: 0, KIND: 4 } as const;
export const REDELIVERY_BYTES = 4;
export const TLS_VERSION_BYTES = 4;

/** Both ends of a connection. Of a Unix domain socket the side that listens has its path as address, the other one ''. */
export interface ConnectionAddresses {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly remoteFamily: 'IPv4' | 'IPv6' | 'Unix';
  readonly localAddress: string;
  readonly localPort: number;
  /** It has TLS. */
  readonly encrypted: boolean;
}

/** What a thread is told of a connection that is new to it. */
export interface OpenNews {
  /** The server or client that the connection belongs to. */
  readonly origin: number;
  /** Which connect() this answers; 0 for an accepted connection. */
  readonly attempt: number;
  /** It is not new: another thread got its events before. */
  readonly handedOver: boolean;
  /** It takes the place of one that was lost. */
  readonly reconnected: boolean;
}

export type OpenEvent = ConnectionAddresses & OpenNews;

/**
 * ```
 *  0            8             16            18            20       21       22
 *  +------------+-------------+-------------+-------------+--------+--------+----------------+---------------+
 *  | origin f64 | attempt f64 | remote port | local port  | flags  | length | remote address | local address |
 *  +------------+-------------+-------------+-------------+--------+--------+----------------+---------------+
 * ```
 * Flags: 1 IPv6, 2 handed over, 4 Unix, 8 encrypted, 16 reconnected. `length` is that of the remote address; the local one takes the rest. Both
 * are UTF-8, and no longer than a path of a Unix domain socket.
 */
const openOffset = { ORIGIN: 0, ATTEMPT: 8, REMOTE_PORT: 16, LOCAL_PORT: 18, FLAGS: 20, LENGTH: 21, TEXT: 22 } as const;
const openFlag = { IPV6: 1, HANDED_OVER: 2, UNIX: 4, ENCRYPTED: 8, RECONNECTED: 16 } as const;

export function encodeOpen(addresses: ConnectionAddresses, news: OpenNews): Buffer {
  const split = openOffset.TEXT + Buffer.byteLength(addresses.remoteAddress);
  const payload = Buffer.allocUnsafe(split + Buffer.byteLength(addresses.localAddress));
  payload.writeDoubleLE(news.origin, openOffset.ORIGIN);
  payload.writeDoubleLE(news.attempt, openOffset.ATTEMPT);
  payload.writeUInt16LE(addresses.remotePort, openOffset.REMOTE_PORT);
  payload.writeUInt16LE(addresses.localPort, openOffset.LOCAL_PORT);
  const flags =
    (addresses.remoteFamily === 'IPv6' ? openFlag.IPV6 : 0) |
    (addresses.remoteFamily === 'Unix' ? openFlag.UNIX : 0) |
    (news.handedOver ? openFlag.HANDED_OVER : 0) |
    (addresses.encrypted ? openFlag.ENCRYPTED : 0) |
    (news.reconnected ? openFlag.RECONNECTED : 0);
  payload.writeUInt8(flags, openOffset.FLAGS);
  payload.writeUInt8(split - openOffset.TEXT, openOffset.LENGTH);
  payload.write(addresses.remoteAddress, openOffset.TEXT);
  payload.write(addresses.localAddress, split);
  return payload;
}

export function decodeOpen(payload: Buffer): OpenEvent {
  const flags = payload.readUInt8(openOffset.FLAGS);
  const split = openOffset.TEXT + payload.readUInt8(openOffset.LENGTH);
  const ipFamily = (flags & openFlag.IPV6) !== 0 ? 'IPv6' : 'IPv4';
  return {
    origin: payload.readDoubleLE(openOffset.ORIGIN),
    attempt: payload.readDoubleLE(openOffset.ATTEMPT),
    remotePort: payload.readUInt16LE(openOffset.REMOTE_PORT),
    localPort: payload.readUInt16LE(openOffset.LOCAL_PORT),
    remoteFamily: (flags & openFlag.UNIX) !== 0 ? 'Unix' : ipFamily,
    remoteAddress: payload.toString('utf8', openOffset.TEXT, split),
    localAddress: payload.toString('utf8', split),
    handedOver: (flags & openFlag.HANDED_OVER) !== 0,
    encrypted: (flags & openFlag.ENCRYPTED) !== 0,
    reconnected: (flags & openFlag.RECONNECTED) !== 0,
  };
}

/** With whom a handshake has failed. Of a Unix domain socket '' and 0. */
export interface TlsPeer {
  readonly remoteAddress: string;
  readonly remotePort: number;
}

export interface TlsFailedEvent {
  readonly peer: TlsPeer;
  readonly error: ErrorData;
}

/**
 * ```
 *  0                 2        3
 *  +-----------------+--------+----------------+---------------+
 *  | remote port u16 | length | remote address | error as JSON |
 *  +-----------------+--------+----------------+---------------+
 * ```
 */
const tlsFailedOffset = { PORT: 0, LENGTH: 2, TEXT: 3 } as const;

export function encodeTlsFailed({ peer, error }: { readonly peer: TlsPeer; readonly error: Error }): Buffer {
  const address = Buffer.from(peer.remoteAddress);
  const json = Buffer.from(JSON.stringify(toErrorData(error)));
  const payload = Buffer.alloc(tlsFailedOffset.TEXT + address.length + json.length);
  payload.writeUInt16LE(peer.remotePort, tlsFailedOffset.PORT);
  payload.writeUInt8(address.length, tlsFailedOffset.LENGTH);
  payload.set(address, tlsFailedOffset.TEXT);
  payload.set(json, tlsFailedOffset.TEXT + address.length);
  return payload;
}

export function decodeTlsFailed(payload: Buffer): TlsFailedEvent {
  const split = tlsFailedOffset.TEXT + payload.readUInt8(tlsFailedOffset.LENGTH);
  return {
    peer: {
      remoteAddress: payload.toString('utf8', tlsFailedOffset.TEXT, split),
      remotePort: payload.readUInt16LE(tlsFailedOffset.PORT),
    },
    error: JSON.parse(payload.toString('utf8', split)) as ErrorData,
  };
}

export interface CloseEvent {
  readonly reason: CloseReason;
  /** Bytes that send() had accepted and the kernel never got. */
  readonly unsentBytes: number;
  /** Another one will be made in its place. */
  readonly reconnecting?: boolean;
  /** The time that a close() had is up: what has been received and not been taken is lost. */
  readonly isCut?: boolean;
  /** As the table had them: by the time the event is read, its slot may be another's. */
  readonly counts: ConnectionCounts;
  readonly error?: ErrorData;
}

/**
 * ```
 *  0            2           4                  12                                60
 *  +------------+-----------+------------------+---------------------------------+---------------------------+
 *  | reason u16 | flags u16 | unsent bytes f64 | the six final counts, f64 each  | error as JSON, or nothing |
 *  +------------+-----------+------------------+---------------------------------+---------------------------+
 * ```
 */
const closeOffset = { REASON: 0, FLAGS: 2, UNSENT: 4, COUNTS: 12, ERROR: 60 } as const;
const closeFlag = { RECONNECTING: 1, CUT: 2 } as const;
const COUNT_BYTES = 8;

export function encodeClose(event: Omit<CloseEvent, 'error'>, error: Error | undefined): Buffer {
  const json = error === undefined ? '' : JSON.stringify(toErrorData(error));
  const payload = Buffer.alloc(closeOffset.ERROR + Buffer.byteLength(json));
  payload.writeUInt16LE(closeReasonCode(event.reason), closeOffset.REASON);
  const reconnecting = event.reconnecting === true ? closeFlag.RECONNECTING : 0;
  payload.writeUInt16LE(reconnecting | (event.isCut === true ? closeFlag.CUT : 0), closeOffset.FLAGS);
  payload.writeDoubleLE(event.unsentBytes, closeOffset.UNSENT);
  const { lastReceivedAt, bytesReceived, bytesSent, messagesReceived, droppedMessages, roundTripMs } = event.counts;
  for (const [index, count] of [
    lastReceivedAt,
    bytesReceived,
    bytesSent,
    messagesReceived,
    droppedMessages,
    roundTripMs,
  ].entries()) {
    payload.writeDoubleLE(count, closeOffset.COUNTS + index * COUNT_BYTES);
  }
  payload.write(json, closeOffset.ERROR);
  return payload;
}

export function decodeClose(payload: Buffer): CloseEvent {
  const count = (index: number): number => payload.readDoubleLE(closeOffset.COUNTS + index * COUNT_BYTES);
  const flags = payload.readUInt16LE(closeOffset.FLAGS);
  const event: CloseEvent = {
    reason: closeReasonOf(payload.readUInt16LE(closeOffset.REASON)),
    ...((flags & closeFlag.RECONNECTING) !== 0 && { reconnecting: true }),
    ...((flags & closeFlag.CUT) !== 0 && { isCut: true }),
    unsentBytes: payload.readDoubleLE(closeOffset.UNSENT),
    counts: {
      lastReceivedAt: count(0),
      bytesReceived: count(1),
      bytesSent: count(2),
      messagesReceived: count(3),
      droppedMessages: count(4),
      roundTripMs: count(5),
    },
  };
  if (payload.length === closeOffset.ERROR) return event;
  return { ...event, error: JSON.parse(payload.toString('utf8', closeOffset.ERROR)) as ErrorData };
}
