import type { MessagePort } from 'node:worker_threads';
import type { CloseReason } from './close-reason.js';
import type { ConnectionId } from './connection-id.js';
import type { CodecTrait } from './connection-table.js';
import type { LaneMemory } from './lane.js';
import type { ErrorData } from './reactor-error.js';

/**
 * The control plane: rare calls that want an answer, over comlink. Data never takes this way.
 *
 * Everything here has been validated in the app thread and has its defaults filled in.
 */
export interface IoWorkerControl {
  listen(lane: number, request: ListenRequest): ControlResult<ServerAddress>;
  /** Ends a server or a client: stops accepting, winds its connections down, answers when the last is closed. */
  closeOrigin(id: number, reason: CloseReason, drainMs: number): ControlResult<void>;
  connect(lane: number, request: ConnectRequest): ControlResult<ConnectionId>;
  abortConnect(attempt: number): ControlResult<void>;
  /** The same for everything there is. */
  close(drainMs: number): ControlResult<void>;
}

/** comlink carries only an error's message, so that failures travel as data. */
export type ControlResult<T> = Promise<
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ErrorData }
>;

export interface ConnectionSettings {
  readonly codec: CodecTrait;
  readonly maxFrameBytes: number;
  readonly highWaterMark: number;
  readonly overflowLimit: number;
  readonly dropOnOverflow: boolean;
  readonly shutdownTimeoutMs: number;
}

export interface ListenRequest {
  readonly server: number;
  readonly host: string | undefined;
  readonly port: number;
  readonly backlog: number;
  readonly connection: ConnectionSettings;
}

export interface ServerAddress {
  readonly address: string;
  readonly port: number;
  readonly family: string;
}

export interface ConnectRequest {
  readonly client: number;
  /** Unique in the reactor; OPEN carries it, abortConnect names it. */
  readonly attempt: number;
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly connection: ConnectionSettings;
}

/** What an io worker is started with. */
export interface IoWorkerData {
  readonly registry: SharedArrayBuffer;
  readonly table: SharedArrayBuffer;
  readonly worker: number;
  readonly lane: LaneAttachment;
  /** Off: sockets are read through 'data' events, as on a Node whose internals are unknown. */
  readonly reuseReadBuffer: boolean;
}

export interface LaneAttachment {
  readonly lane: number;
  readonly memory: LaneMemory;
  readonly doorbellPort: MessagePort;
  readonly controlPort: MessagePort;
}

/** The io worker's only message to the thread that started it. */
export const IO_WORKER_READY = 'ready';
