import type { MessagePort } from 'node:worker_threads';
import type { ErrorData } from './reactor-error.js';

/** How important a line is, as pino has it. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof logLevels)[number];

/** From which level on lines are written, as the registry has it: an index of `logLevels`, or one of these. */
export const logThreshold: { readonly SILENT: 6; readonly NO_LOG: 7 } = { SILENT: 6, NO_LOG: 7 };

/** When a file is full, and how many full ones are kept. */
export interface RotationSettings {
  readonly frequency: 'daily' | 'hourly' | number | undefined;
  readonly sizeBytes: number | undefined;
  readonly keep: number | undefined;
}

/** Where a backend thread of the io worker writes. */
export interface BackendSettings {
  /** An absolute path, or a file descriptor. */
  readonly to: string | number;
  readonly rotate: RotationSettings | undefined;
}

/** What an io worker has to know to write a log. */
export interface LogSettings {
  /** Undefined: lines go to the user's logger, in the thread that spawned the reactor. */
  readonly backend: BackendSettings | undefined;
  /** The backend starts with the io worker; otherwise with the first line. */
  readonly startsAtOnce: boolean;
  /** So many bytes of a payload are shown. */
  readonly payloadBytes: number;
  readonly redact: readonly string[];
}

/** What goes with them: its way to the thread that spawned the reactor. */
export interface LogWiring {
  readonly settings: LogSettings;
  readonly port: MessagePort;
}

/** The log cannot be written any more; or it can, but one of its full files cannot be deleted. */
export type LogFailure = 'failed' | 'undeleted';

/** From the io worker: a line for the user's logger, or what is wrong with a log. */
export type LogMessage =
  | readonly [level: LogLevel, fields: object, message: string]
  | { readonly what: LogFailure; readonly error: ErrorData };

/** Lines for the user's logger that it has not had yet, at most. It acknowledges them with their number. */
export const MAX_WAITING_LINES = 1000;
