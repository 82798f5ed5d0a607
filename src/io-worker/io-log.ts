import type { LogLevel } from '../shared/log-protocol.js';

/** Where the io worker's parts write what happens. Never waits, never throws, and needs no other thread to go on. */
export interface IoLog {
  /** Ask before what goes into a line costs something. */
  isEnabled(level: LogLevel): boolean;
  write(level: LogLevel, fields: object, message: string): void;
}

/** Nobody wants to know. */
export const SILENT: IoLog = { isEnabled: () => false, write: () => undefined };
