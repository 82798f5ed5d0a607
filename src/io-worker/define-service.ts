import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionId } from '../shared/connection-id.js';

/** What a service has of a connection. Each service has its own object for it. Thread: io worker. */
export interface ServiceConnection<Data = unknown, Options = unknown> {
  readonly id: ConnectionId;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** The service's own, for whatever it likes to keep with the connection; undefined at first. */
  data: Data;
  readonly context: ServiceContext<Options, Data>;
  readonly state: 'open' | 'closing' | 'closed';
  /** Bytes sent and not yet with the kernel, by whichever thread. */
  readonly bufferedAmount: number;
  /**
   * Sends a message, a string as UTF-8. It is copied, and leaves at the end of the loop's turn, with all else that this turn sends. False:
   * more than `highWaterMark` waits now, and the socket is not read until half of it is left; or it was not sent, because the connection
   * is not open, or more than the overflow limit would wait (then its `overflow` says what happens).
   * Throws ERR_REACTOR_INVALID_ARGUMENT, ERR_REACTOR_MESSAGE_TOO_LARGE.
   */
  send(data: Uint8Array | string): boolean;
  /**
   * Sends a system message, which a service of the peer's that has its `kind` (64 to 255) gets. It is never compressed. Otherwise like `send`.
   * Throws what `send` does, and ERR_REACTOR_UNSUPPORTED unless the codec is 'frame'.
   */
  sendSystem(kind: number, data?: Uint8Array | string): boolean;
  /** FIN behind what was sent; the connection closes with 'local-shutdown' when the peer has ended, too. */
  shutdown(): void;
  /** Closes it now, with 'local-destroy'. What it has received and nobody has taken is dropped. */
  destroy(): void;
}

/** Writes lines to the io worker's log, with the service's name in them. Never throws, never waits. */
export interface ServiceLog {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
}

/** What a service has of its server or client, on one io worker. */
export interface ServiceContext<Options = unknown, Data = unknown> {
  /** What stood beside `module`. */
  readonly options: Options;
  /** The number of the io worker; 0 if there is one. */
  readonly ioWorker: number;
  readonly log: ServiceLog;
  /** The open connections of the server or client on this io worker. They may come and go while it is walked. */
  readonly connections: IterableIterator<ServiceConnection<Data, Options>>;
  /** Calls `fn` once, after `ms` (0 to one day). Returns what `cancel` takes. Throws ERR_REACTOR_INVALID_ARGUMENT. */
  after(ms: number, fn: () => void | Promise<void>): number;
  /** Calls `fn` every `ms` (1 to one day); what is missed while the io worker is busy is left out. Otherwise like `after`. */
  every(ms: number, fn: () => void | Promise<void>): number;
  /** Ends a timer; of one that is over already it does nothing. */
  cancel(timer: number): void;
}

/**
 * What a service module exports as its default. All of it runs on the io worker, between the sockets: it must not block, and must not
 * throw outside of these calls (in a `setTimeout` of its own, for example), which would end the io worker. What one of the calls throws,
 * or rejects with, is counted and reported, and `onError` says what follows.
 */
export interface ServiceDefinition<Data = unknown, Options = unknown> {
  /** 1 to 64 characters, unique among the services of the server or client. */
  readonly name: string;
  /** Kinds of system messages that it gets: 64 to 255. With codec 'frame' only. */
  readonly kinds?: readonly number[] | undefined;
  /** `'close'` (default): the connection at hand closes with 'service-failed'. `'disable'`: the service is called no more. */
  readonly onError?: 'close' | 'disable' | undefined;
  /** A call that takes longer is counted and reported. Default 20 ms; 1 ms to one day. */
  readonly slowMs?: number | undefined;
  /** Before the server listens, or the client connects; what it throws rejects that call. */
  start?(context: ServiceContext<Options, Data>): void | Promise<void>;
  /** Before anything is received. */
  onOpen?(connection: ServiceConnection<Data, Options>): void | Promise<void>;
  /**
   * True: it is handled, and goes no further. Anything else, a promise too: it goes on to the next service, then to the application's
   * threads. `data` lies in the memory that was read into, and is valid until the call returns: copy what you keep.
   */
  onMessage?(connection: ServiceConnection<Data, Options>, data: Buffer): boolean | void | Promise<void>;
  /** A system message of one of its `kinds`. `data` as in `onMessage`. */
  onSystem?(connection: ServiceConnection<Data, Options>, kind: number, data: Buffer): void | Promise<void>;
  /** It has closed: nothing can be sent any more. */
  onClose?(connection: ServiceConnection<Data, Options>, reason: CloseReason): void | Promise<void>;
  /** The server or client has ended, or the service was disabled. Its timers are cleared. A promise is waited for, for a second at most. */
  stop?(): void | Promise<void>;
}

/**
 * For a service module: `export default defineService({ name, onMessage(connection, data) { ... } })`. It gives back what it is given, with
 * its types checked. TypeScript cannot tell `Data`, what is kept in `connection.data`, nor `Options`: `defineService<Data, Options>({ ... })`.
 * Thread: any.
 */
export function defineService<Data, Options = unknown>(
  definition: ServiceDefinition<Data, Options>,
): ServiceDefinition<Data, Options> {
  return definition;
}
