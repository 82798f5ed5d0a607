import type { MessagePort } from 'node:worker_threads';
import type { CloseReason } from './close-reason.js';
import type { CodecSettings } from './codec-settings.js';
import type { ConnectionId } from './connection-id.js';
import type { ConnectionAddresses } from './event-record.js';
import type { HeartbeatSettings } from './heartbeat-settings.js';
import type { LaneMemory, LaneSizes } from './lane.js';
import type { AcceptLimitSettings, ConnectionLimitSettings } from './limit-settings.js';
import type { LogWiring } from './log-protocol.js';
import type { ErrorData } from './reactor-error.js';
import type { ReconnectSettings, Target } from './reconnect-settings.js';
import type { ServiceSettings } from './service-settings.js';
import type { TlsClientSettings, TlsInfo, TlsServerSettings } from './tls-settings.js';

/**
 * The control plane: rare calls that want an answer, over comlink, on a port of the lane. Data never takes this way.
 *
 * Everything here has been validated in the app thread and has its defaults filled in.
 */
export interface IoWorkerControl {
  /** The first call of a lane. */
  join(): ControlResult<LaneWelcome>;
  /**
   * Listens; if the server is there already (another thread was faster after a crash), answers its address.
   * @param seniority subscribes at the same time
   */
  listen(request: ListenRequest, seniority: number | undefined): ControlResult<ServerAddress>;
  /**
   * This thread gets events of the server's connections from now on.
   * @param seniority of those that stand by, the one with the lowest is next
   */
  subscribe(server: number, seniority: number): ControlResult<ServerDescription>;
  /**
   * It gets none any more; answers when all its connections have been handed over.
   * @param unlessLast answer false, and change nothing, if no other thread is subscribed
   */
  unsubscribe(server: number, unlessLast: boolean): ControlResult<boolean>;
  /** New connections get these settings from now on, unless the server has newer ones. */
  updateTls(server: number, tls: TlsServerSettings): ControlResult<void>;
  /** What the server listens with now. */
  describe(server: number): ControlResult<ServerDescription>;
  /** Ends a server or a client: stops accepting, winds its connections down, answers when the last is closed. */
  closeOrigin(id: number, reason: CloseReason, drainMs: number): ControlResult<DrainReport>;
  /** Answers when there is a first connection. With `reconnect` it goes on, until `abortConnect`. */
  connect(request: ConnectRequest): ControlResult<ConnectionId>;
  abortConnect(attempt: number): ControlResult<void>;
  /** Answers undefined if it is closed. */
  info(id: ConnectionId): ControlResult<ConnectionDetails | undefined>;
  /** Winds down everything there is. */
  close(drainMs: number): ControlResult<DrainReport>;
}

/** comlink carries only an error's message, so that failures travel as data. */
export type ControlResult<T> = Promise<
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorData }
>;

export interface ConnectionSettings {
  readonly codec: CodecSettings;
  readonly maxRequests: number;
  readonly highWaterMark: number;
  readonly overflowLimit: number;
  readonly dropOnOverflow: boolean;
  readonly borrowed: boolean;
  readonly allowHalfOpen: boolean;
  readonly shutdownTimeoutMs: number;
  readonly limits: ConnectionLimitSettings;
  /** Undefined: none. */
  readonly heartbeat: HeartbeatSettings | undefined;
  readonly services: readonly ServiceSettings[];
}

/** What has become of the connections that were open when something was closed. */
export interface DrainReport {
  readonly connections: number;
  /** Of them, those that were not done at the deadline. */
  readonly cut: number;
  /** Bytes that had been accepted on them and that the kernel never got. */
  readonly unsentBytes: number;
  /** Messages that a thread had not finished when it died, and that no other thread came for. */
  readonly lostMessages: number;
}

/**
 * Who gets the events of a server's connections: one thread at a time, each connection one thread, or every thread every
 * event.
 */
export type Dispatch = 'owner' | 'balance' | 'all';

export interface ListenRequest {
  readonly server: number;
  readonly host: string | undefined;
  readonly port: number;
  /** In place of host and port. */
  readonly path: string | undefined;
  readonly mode: number | undefined;
  readonly backlog: number;
  /** The io worker that it lives on; undefined: all of them listen, and share the port. */
  readonly home: number | undefined;
  readonly dispatch: Dispatch;
  readonly orphanTimeoutMs: number;
  readonly connection: ConnectionSettings;
  readonly tls: TlsServerSettings | undefined;
  /** Undefined: it accepts whoever comes. */
  readonly acceptLimits: AcceptLimitSettings | undefined;
}

/** What the io worker knows of a connection. */
export interface ConnectionDetails extends ConnectionAddresses {
  /** Of one that is encrypted. */
  readonly tls?: TlsInfo;
}

export interface ServerDescription {
  readonly request: ListenRequest;
  readonly address: ServerAddress;
}

/** `{ address: path, port: 0, family: 'Unix' }` if it is a path. */
export interface ServerAddress {
  readonly address: string;
  readonly port: number;
  readonly family: string;
}

export interface ConnectRequest {
  readonly client: number;
  /** Unique in the reactor; OPEN carries it, abortConnect names it. */
  readonly attempt: number;
  /** Tried in turn. */
  readonly targets: readonly Target[];
  /** For each of them. */
  readonly timeoutMs: number;
  /** Undefined: once there is a connection, or none, that is the end of it. */
  readonly reconnect: ReconnectSettings | undefined;
  /** An io worker that has died had it before. */
  readonly isAgain: boolean;
  readonly connection: ConnectionSettings;
  readonly tls: TlsClientSettings | undefined;
}

/** How sockets are read and written. Each of them off: as documented, as on a Node whose internals are unknown. */
export interface SocketWays {
  /** Off: through 'data' events. */
  readonly reuseReadBuffer: boolean;
  /** Off: through the stream that a socket is. */
  readonly directWrites: boolean;
}

/** What an io worker is started with. */
export interface IoWorkerData {
  readonly worker: number;
  /** How many there are. */
  readonly ioWorkers: number;
  /** Servers with lower numbers were there before it: threads may want it to have them listen again. */
  readonly firstFreshServer: number;
  readonly board: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  readonly firstGeneration: number;
  readonly sizes: LaneSizes;
  /** It takes the place of one that has died of this: threads will restore their servers. Undefined: it is the first. */
  readonly predecessorError: ErrorData | undefined;
  readonly sockets: SocketWays;
  readonly registry: SharedArrayBuffer;
  /** Undefined: there is no log. */
  readonly log: LogWiring | undefined;
}

/** The io worker's only message to the thread that started it. */
export const IO_WORKER_READY = 'ready';

export const LANE_REQUEST = 'simple-reactor:lane';

/** A message to the io worker from a thread that wants a lane. The next thing on `controlPort` is `join`. */
export interface LaneRequest {
  readonly type: typeof LANE_REQUEST;
  readonly threadId: number;
  /** Its own words (lane.ts), the same for all its lanes. */
  readonly thread: SharedArrayBuffer;
  readonly doorbellPort: MessagePort;
  readonly controlPort: MessagePort;
}

export interface LaneWelcome {
  readonly lane: number;
  readonly memory: LaneMemory;
  readonly board: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  readonly firstGeneration: number;
}

export function isLaneRequest(message: unknown): message is LaneRequest {
  return typeof message === 'object' && message !== null && (message as LaneRequest).type === LANE_REQUEST;
}
