import { AcceptCounts } from '../shared/accept-counts.js';
import type { ConnectionSettings, Dispatch } from '../shared/control-protocol.js';
import type { AcceptLimitSettings, ConnectionLimitSettings } from '../shared/limit-settings.js';
import { type CodecOption, type CompressionOptions, codecSettings } from './codec-options.js';
import type { Excepted } from './excepted.js';
import { type HeartbeatOptions, heartbeatSettings } from './heartbeat-options.js';
import type { Logger, LogOptions } from './log-options.js';
import type { ReconnectOptions } from './reconnect-options.js';
import { type ServiceOption, serviceSettings } from './service-options.js';
import type { TlsClientOptions, TlsServerOptions } from './tls-options.js';

/** What a connection is set up with, whichever side opened it. */
export interface ConnectionOptions {
  /** Default `'frame'`. */
  codec?: CodecOption | undefined;
  /**
   * Compresses messages with LZ4, each for itself, towards peers that have the same option. Codec 'frame' only. Default false.
   */
  compression?: boolean | CompressionOptions | undefined;
  /**
   * `'copy'` (default): each message is the application's to keep. It is part of a block of up to 256 KiB that stays in
   * memory as long as any message of it is kept.
   * `'borrow'`: each message is a view of the ring itself, valid only until the handler returns; fastest. Messages that
   * cannot be handled at once (paused, no listener yet, async iteration) are copied.
   */
  messages?: 'copy' | 'borrow' | undefined;
  /**
   * Bytes that may wait to be sent on a connection before `send()` answers false; 'drain' comes at half of it.
   * Default 1 MiB; 1 byte to 32 MiB.
   */
  highWaterMark?: number | undefined;
  /**
   * What happens to a message that would make more than 16 x highWaterMark bytes wait: `'close'` (default) closes the
   * connection with reason 'backpressure', `'drop'` drops the message and counts it in `connection.droppedMessages`.
   * A single message may be longer than that when nothing else waits.
   */
  overflow?: 'close' | 'drop' | undefined;
  limits?: LimitOptions | undefined;
  /** Code of yours that runs on the io worker; docs/services.md. In this order they get messages. Up to 16. Default none. */
  services?: readonly ServiceOption[] | undefined;
  /**
   * Each side notices when the other one is gone, and when its application hangs. True: with its defaults. Codec 'frame' only.
   * Default false; peers' pings are answered all the same.
   */
  heartbeat?: boolean | HeartbeatOptions | undefined;
  /**
   * A connection that is shutting down closes when nothing was sent or received on it for this long. Default 30,000 ms; 1 ms
   * to one day.
   */
  shutdownTimeoutMs?: number | undefined;
  /**
   * False (default): when the peer has ended its side, what was sent up to the end of the handler of its last message still
   * leaves, then this side ends, too. True: this side stays open until `shutdown()`.
   */
  allowHalfOpen?: boolean | undefined;
}

export interface LimitOptions {
  /**
   * The largest length that a frame may announce, in bytes. It counts kind and flags: the longest message is 2 bytes
   * shorter. A peer that announces more is closed with reason 'frame-too-large' before anything is allocated; a `send()` of
   * more throws. Default 16 MiB; 256 bytes to 512 MiB.
   */
  maxFrameBytes?: number | undefined;
  /**
   * Requests that one thread may have waiting for an answer on one connection; `request()` rejects beyond. Default 1,024; 1 to
   * 1,000,000.
   */
  maxRequests?: number | undefined;
  /**
   * How long a peer may take until its first whole frame has come, of whatever kind (with other codecs than 'frame': its first message),
   * counted from when it was accepted or connected; the TLS handshake of an accepted one is part of it. Then the connection closes with
   * 'first-frame-timeout', up to a quarter later. Time in which this side does not read does not count. Default: no limit; 1 ms to one day.
   */
  firstFrameTimeoutMs?: number | undefined;
  /**
   * A connection on which nothing but heartbeats has passed for so long, in either direction, closes with 'idle-timeout'. As long as
   * this side does not read, it is not idle. Default: no limit; 1 ms to one day.
   */
  idleTimeoutMs?: number | undefined;
  /**
   * Bytes per second that are read from one connection, TLS not counted; those of one second may come at once. Default: no limit;
   * 1,024 to 2^40.
   */
  maxReceiveBytesPerSecond?: number | undefined;
  /** The same for what is written to one connection, with all that the codec adds. Default: no limit; 1,024 to 2^40. */
  maxSendBytesPerSecond?: number | undefined;
  /**
   * What happens beyond these two: `'throttle'` (default) reads no more, or writes no more, until there is room; `'close'` closes the
   * connection with reason 'limit' and ERR_REACTOR_LIMIT.
   */
  overRate?: 'throttle' | 'close' | undefined;
}

/** A server has some more: who goes beyond these is turned away as soon as it is accepted, and counted in `stats().overLimit`. */
export interface ServerLimitOptions extends LimitOptions {
  /** Connections of the server at once, in all io workers, TLS handshakes included. Default: no limit; 1 to 2^31 - 1. */
  maxConnections?: number | undefined;
  /**
   * Of these, how many from one address. Each io worker counts its own; with several of them that share a port it is a limit for each.
   * Default: no limit; 1 to 2^31 - 1. Not with `path`.
   */
  maxConnectionsPerAddress?: number | undefined;
  /** Connections accepted in each second of the clock, in all io workers. Default: no limit; 1 to 2^31 - 1. */
  maxAcceptsPerSecond?: number | undefined;
}

export interface SpawnOptions {
  /**
   * How many io workers. Default 1; 1 to 32. One serves tens of thousands of connections; more are for more than one core
   * of network work. A server listens on all of them where Node can share a port (22.12 and later, not on Windows and macOS),
   * otherwise on one; outgoing connections are spread over all.
   */
  ioWorkers?: number | undefined;
  /**
   * True (default): an io worker that has died is started again, after 50 ms the first time, and its servers listen again.
   * False: the reactor ends with 'error'.
   */
  respawn?: boolean | undefined;
  /**
   * A thread that has events waiting and has handled none for so long is reported to the other threads by 'stall'. Default
   * 1,000 ms; 10 ms to one day.
   */
  stallAfterMs?: number | undefined;
  /**
   * Slots of the connection table, open connections at most, for each io worker. 128 bytes each, in use only. Default
   * 65,536; 1 to 2,097,152.
   */
  maxConnections?: number | undefined;
  /** Size of each thread's ring towards an io worker, a power of two. Default 1 MiB; 512 KiB to 256 MiB. */
  commandRingBytes?: number | undefined;
  /** Size of each thread's ring from an io worker, a power of two. Default 1 MiB; 512 KiB to 256 MiB. */
  eventRingBytes?: number | undefined;
  /**
   * True (default): sockets are read into one reused buffer, which is faster. For accepted sockets that depends on internals
   * of Node that are checked first. False: never.
   */
  reuseReadBuffer?: boolean | undefined;
  /**
   * True (default): sockets without TLS are written past the stream that is on them, which is faster. That depends on internals of
   * Node that are checked first. False: never.
   */
  directWrites?: boolean | undefined;
  /** What io workers write, by pino, without any other thread. Default: lines of level 'warn' and above, to stderr. False: nothing. */
  log?: false | LogOptions | undefined;
  /**
   * Gets the lines in place of `log`, in this thread. 1,000 for each io worker may wait for it; more are dropped and counted
   * (`stats().droppedLogLines`).
   */
  logger?: Logger | undefined;
}

export interface ListenOptions extends ConnectionOptions {
  limits?: ServerLimitOptions | undefined;
  /** Default: every address of the machine, as `net.Server` does it. */
  host?: string | undefined;
  /** 0 to 65,535; 0 takes a free one, which `server.address` tells. Required, if there is no `path`. */
  port?: number | undefined;
  /**
   * A Unix domain socket in place of `host` and `port`: a file, which is made, and removed when the server is closed; one that
   * nobody listens on any more is replaced. On Linux, `'\0'` and a name is a socket without a file. 107 bytes at most (macOS: 103).
   */
  path?: string | undefined;
  /** Permissions of that file, such as 0o660. Default: what the process's umask leaves. */
  mode?: number | undefined;
  /** Connections are encrypted. Default: they are not. */
  tls?: TlsServerOptions | undefined;
  /**
   * Connections that the kernel may queue before they are accepted; without TLS, as many more may be accepted and wait for their turn. Default
   * 4096; 1 to 65,535.
   */
  backlog?: number | undefined;
  /**
   * Which threads get the events of its connections.
   * - `'owner'` (default): the thread that called `listen()`. Others that subscribe stand by: the first of them takes over when
   *   it leaves or dies.
   * - `'balance'`: each connection belongs to one of the threads that have called `subscribe()`, the one with the fewest.
   * - `'all'`: every thread that has called `subscribe()` gets every event.
   */
  dispatch?: Dispatch | undefined;
  /**
   * When no thread gets the events, connections are held and their sockets not read, for so long; then they close with reason
   * 'orphaned'. Default 30,000 ms; 0 ms to one day.
   */
  orphanTimeoutMs?: number | undefined;
}

export interface ClientOptions extends ConnectionOptions {
  /**
   * A connection that is lost is made again, and so is a first one that does not come about; by the io worker, whatever this thread is
   * at. True: with its defaults. Default false. Not for `reactor.connect()`, which has no client that could tell of the next one.
   */
  reconnect?: boolean | ReconnectOptions | undefined;
  /** Connections are encrypted. `true` is the same as `{}`. Default false. */
  tls?: boolean | TlsClientOptions | undefined;
}

export interface AddressOptions {
  /** Default 'localhost'. */
  host?: string | undefined;
  /** 1 to 65,535. Required, if there is no `path`. */
  port?: number | undefined;
  /** A Unix domain socket in place of `host` and `port`. */
  path?: string | undefined;
}

export interface ConnectOptions {
  /** Default 'localhost'. */
  host?: string | undefined;
  /** 1 to 65,535. Required, if there is no `path`. */
  port?: number | undefined;
  /** A Unix domain socket in place of `host` and `port`. */
  path?: string | undefined;
  /** Several addresses in place of one: tried in turn, until one of them answers. 1 to 64 of them. */
  addresses?: readonly AddressOptions[] | undefined;
  /** Until the connection must be made, name look-up and TLS included; for each address. Default 10,000 ms; 1 ms to one day. */
  timeoutMs?: number | undefined;
  /** Aborts the attempt; later, those to connect again. A connection that is there stays. */
  signal?: AbortSignal | undefined;
}

export interface RequestOptions {
  /** Until the answer must have come. Default 30,000 ms; 1 ms to one day. */
  timeoutMs?: number | undefined;
  /** Aborts the wait; the peer is not told. */
  signal?: AbortSignal | undefined;
}

export interface CloseOptions {
  /** How long handlers and output may take before connections are cut. Default 5,000 ms; 0 ms to one day. */
  drainMs?: number | undefined;
}

export interface ReactorCloseOptions {
  /** How long handlers and output may take before connections are cut. Default 5,000 ms; 0 ms to one day. */
  timeoutMs?: number | undefined;
}

export interface LogicPoolOptions {
  /** The module whose default export is the logic (`defineLogic`): a URL, or a path. */
  filename: URL | string;
  /** Default: one less than the machine has cores, at least 1; 1 to 31. */
  threads?: number | undefined;
  /** Given to each thread's logic, cloned. */
  data?: unknown;
}

export interface LogicPoolCloseOptions {
  /** How long handlers that run may take. Default 5,000 ms; 0 ms to one day. */
  timeoutMs?: number | undefined;
}

export interface BroadcastOptions {
  /** Connections that do not get it, or their ids. */
  except?: Excepted | undefined;
}

export interface DuplexOptions {
  /**
   * False: when the peer has ended its side, the stream ends, too, behind what has been written by then. True: it stays
   * writable until `end()`. Default: as the connection's `allowHalfOpen`.
   */
  allowHalfOpen?: boolean | undefined;
}

export interface WaitOptions {
  /** Aborts the wait, not what is waited for. */
  signal?: AbortSignal | undefined;
}

export const DEFAULT_DRAIN_MS = 5000;
export const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;
export const DEFAULT_REQUEST_TIMEOUT_MS = 30_000;
export const DEFAULT_MAX_CONNECTIONS = 65_536;
export const DEFAULT_BACKLOG = 4096;
export const DEFAULT_ORPHAN_TIMEOUT_MS = 30_000;
export const DEFAULT_STALL_MS = 1000;
const DEFAULT_HIGH_WATER_MARK = 1024 * 1024;
const DEFAULT_MAX_REQUESTS = 1024;
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 30_000;
const OVERFLOW_FACTOR = 16;

/** The part of the options that the io worker needs, with defaults filled in. */
export function connectionSettings(options: ConnectionOptions): ConnectionSettings {
  const highWaterMark = options.highWaterMark ?? DEFAULT_HIGH_WATER_MARK;
  return {
    codec: codecSettings(options),
    maxRequests: options.limits?.maxRequests ?? DEFAULT_MAX_REQUESTS,
    highWaterMark,
    overflowLimit: OVERFLOW_FACTOR * highWaterMark,
    dropOnOverflow: options.overflow === 'drop',
    borrowed: options.messages === 'borrow',
    allowHalfOpen: options.allowHalfOpen === true,
    shutdownTimeoutMs: options.shutdownTimeoutMs ?? DEFAULT_SHUTDOWN_TIMEOUT_MS,
    limits: connectionLimits(options.limits ?? {}),
    heartbeat: heartbeatSettings(options.heartbeat),
    services: serviceSettings(options.services),
  };
}

function connectionLimits(limits: LimitOptions): ConnectionLimitSettings {
  const { firstFrameTimeoutMs, idleTimeoutMs, maxReceiveBytesPerSecond, maxSendBytesPerSecond, overRate } = limits;
  const closesOverRate = overRate === 'close';
  return { firstFrameTimeoutMs, idleTimeoutMs, maxReceiveBytesPerSecond, maxSendBytesPerSecond, closesOverRate };
}

/** Undefined if there is nothing to look at. */
export function acceptLimits(limits: ServerLimitOptions = {}): AcceptLimitSettings | undefined {
  const { maxConnections, maxConnectionsPerAddress, maxAcceptsPerSecond } = limits;
  if ((maxConnections ?? maxConnectionsPerAddress ?? maxAcceptsPerSecond) === undefined) return undefined;
  return { maxConnections, maxConnectionsPerAddress, maxAcceptsPerSecond, counts: AcceptCounts.allocate() };
}
