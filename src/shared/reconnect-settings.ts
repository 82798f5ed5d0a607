import type { CloseReason } from './close-reason.js';
import type { ErrorData } from './reactor-error.js';

/** `reconnect` with its defaults filled in. */
export interface ReconnectSettings {
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly factor: number;
  readonly jitter: number;
  /** How many attempts in a row may fail. */
  readonly maxAttempts: number;
}

/** Where to connect. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** In place of host and port. */
  readonly path: string | undefined;
}

/** What an event RECONNECTING carries, as JSON: rare, and for people. */
export interface ReconnectNews {
  /** The call of connect() that it is about. */
  readonly client: number;
  readonly call: number;
  /** Of the attempt that follows: 1 for the first since there was a connection that lasted. */
  readonly attempt: number;
  /** Until then; undefined: there are no more, and `error` says why. */
  readonly delayMs?: number;
  /** Of the attempt before. */
  readonly error?: ErrorData;
  /** Of the connection before. */
  readonly reason?: CloseReason;
}
