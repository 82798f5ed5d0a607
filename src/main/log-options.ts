import { closeSync, fstatSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { firstFile, LogFiles, ownTarget } from '../shared/log-files.js';
import {
  type BackendSettings,
  type LogLevel,
  type LogSettings,
  logLevels,
  logThreshold,
} from '../shared/log-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type Check, type Checks, DAY_MS, integer, isPlainObject, nested, oneOf, text } from './checks.js';

export interface LogRotation {
  /** A new file each day, each hour (local time), or after so many ms (1,000 to 30 days), with the first line that is due. */
  frequency?: 'daily' | 'hourly' | number | undefined;
  /** A new file when one has so many bytes (1,024 to 2^40), or '100k', '10m', '1g'. It may become 64 KiB longer. */
  size?: string | number | undefined;
  /** So many full files are kept besides the current one, 1 to 10,000. Default: all. */
  keep?: number | undefined;
}

export interface LogOptions {
  /** Lines of this level and above. Default 'warn'; `reactor.setLogLevel()` changes it. */
  level?: LogLevel | 'silent' | undefined;
  /** Appended to. Its folder must be there. */
  file?: string | undefined;
  /** In place of a file; it stays open. Default 2, stderr. */
  fd?: number | undefined;
  /** Goes with `file`. 'app.log' becomes 'app.1.log', 'app.2.log' and so on; the highest is the current one. Default: none. */
  rotate?: LogRotation | undefined;
  /** How many bytes of payloads are shown, as hex: 1 to 65,536. False (default): their length only. */
  payloads?: false | number | undefined;
  /** Fields whose values are hidden, in pino's notation: 'remoteAddress'. Default: none. */
  redact?: readonly string[] | undefined;
}

type LogMethod = (fields: object, message: string) => void;

/** As pino has it; console will do, with `trace` and `fatal` added. */
export interface Logger {
  trace: LogMethod;
  debug: LogMethod;
  info: LogMethod;
  warn: LogMethod;
  error: LogMethod;
  fatal: LogMethod;
  /** If it is one of the levels, the log begins with it; otherwise with 'warn'. */
  level?: string | undefined;
}

const SIZE = /^(\d+)([kmg])$/;
const MIN_SIZE = 1024;
const MAX_SIZE = 2 ** 40;
const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 };
const MAX_SHOWN_BYTES = 65_536;
const STDERR = 2;

function bytesOf(size: unknown): number | undefined {
  if (typeof size === 'number') return size;
  const [, digits, unit] = (typeof size === 'string' ? SIZE.exec(size) : null) ?? [];
  return unit === undefined ? undefined : Number(digits) * (UNITS[unit] as number);
}

const rotation: Checks<LogRotation> = {
  frequency: (value) =>
    oneOf('daily', 'hourly')(value, '', '') === undefined || integer(1000, 30 * DAY_MS)(value, '', '') === undefined
      ? undefined
      : `'daily', 'hourly' or a number of ms from 1000 to ${30 * DAY_MS}`,
  size: (value) =>
    integer(MIN_SIZE, MAX_SIZE)(bytesOf(value), '', '') === undefined
      ? undefined
      : `a number of bytes from ${MIN_SIZE} to ${MAX_SIZE}, or one with a unit, such as '10m'`,
  keep: integer(1, 10_000),
};

const options: Checks<LogOptions> = {
  level: oneOf(...logLevels, 'silent'),
  file: text,
  fd: integer(0, 2 ** 31 - 1),
  rotate: nested(rotation),
  payloads: (value) =>
    value === false || integer(1, MAX_SHOWN_BYTES)(value, '', '') === undefined
      ? undefined
      : `false or a number of bytes from 1 to ${MAX_SHOWN_BYTES}`,
  redact: (value) =>
    Array.isArray(value) && value.every((path) => text(path, '', '') === undefined)
      ? undefined
      : 'an array of strings that are not empty',
};

export const log: Check = (value, path, call) => {
  if (value === false) return undefined;
  if (!isPlainObject(value)) return 'false or an object';
  return nested(options)(value, path, call);
};

export const logger: Check = (value, path, call) => {
  const must = `an object with the methods ${logLevels.join(', ')}`;
  if (typeof value !== 'object' || value === null) return must;
  const missing = logLevels.filter((level) => typeof (value as Logger)[level] !== 'function');
  if (missing.length === 0) return undefined;
  if (missing.length === logLevels.length) return must;
  // Not all that it has, which may be pages.
  throw invalid(call, `option '${path}' must be ${must}, got one without ${missing.join(', ')}`);
};

interface LogChoice {
  ioWorkers?: number | undefined;
  log?: false | LogOptions | undefined;
  logger?: Logger | undefined;
}

/** What the options above cannot say each for itself. Throws ERR_REACTOR_INVALID_OPTION. */
export function checkLog(call: string, options: LogChoice): void {
  const { log: given, logger: user, ioWorkers = 1 } = options;
  if (given === undefined || given === false) {
    if (given === false && user !== undefined) throw invalid(call, "options 'log' and 'logger' exclude each other");
    return;
  }
  if (user !== undefined) throw invalid(call, "options 'log' and 'logger' exclude each other");
  const { file, fd, rotate, redact } = given;
  if (redact !== undefined) checkPaths(call, redact);
  if (file !== undefined && fd !== undefined) throw invalid(call, "options 'log.file' and 'log.fd' exclude each other");
  if (rotate !== undefined) {
    if (file === undefined) throw invalid(call, "option 'log.rotate' goes with 'log.file'");
    if (rotate.frequency === undefined && rotate.size === undefined) {
      throw invalid(call, "option 'log.rotate' needs 'frequency' or 'size'");
    }
  }
  try {
    if (fd !== undefined) fstatSync(fd);
    else if (file !== undefined) {
      const backend = backendOf(given);
      for (let worker = 0; worker < ioWorkers; worker++) tryToOpen(ownTarget(backend, worker, ioWorkers));
    }
  } catch (cause) {
    const what = fd === undefined ? `'log.file' cannot be written` : `'log.fd' is not open`;
    throw invalid(call, `option ${what}: ${(cause as Error).message}`, { cause });
  }
}

/** As the io worker will: the file that it begins with is there from now on. */
function tryToOpen({ to, rotate }: BackendSettings): void {
  let path = String(to);
  if (rotate !== undefined) {
    const files = new LogFiles(path);
    path = files.pathOf(firstFile(files, rotate, Date.now()).number);
  }
  closeSync(openSync(path, 'a'));
}

/** Which paths there are, only pino knows. */
function checkPaths(call: string, paths: readonly string[]): void {
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  try {
    pino({ redact: [...paths] }, { write: () => undefined });
  } catch (cause) {
    throw invalid(call, `option 'log.redact' has a path that pino does not take: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function invalid(call: string, message: string, options?: ErrorOptions): ReactorError {
  return new ReactorError('ERR_REACTOR_INVALID_OPTION', `${call}: ${message}`, options);
}

/** Undefined: there is no log. */
export function logSettings({ log: given, logger: user }: LogChoice): LogSettings | undefined {
  if (given === false) return undefined;
  const { payloads, redact = [] } = given ?? {};
  return {
    backend: user === undefined ? backendOf(given ?? {}) : undefined,
    startsAtOnce: given !== undefined,
    payloadBytes: payloads === undefined || payloads === false ? 0 : payloads,
    redact,
  };
}

function backendOf({ file, fd = STDERR, rotate }: LogOptions): BackendSettings {
  return {
    to: file === undefined ? fd : resolve(file),
    rotate: rotate && { frequency: rotate.frequency, sizeBytes: bytesOf(rotate.size), keep: rotate.keep },
  };
}

/** The threshold that a reactor begins with. */
export function firstThreshold({ log: given, logger: user }: LogChoice): number {
  if (given === false) return logThreshold.NO_LOG;
  const level = user === undefined ? given?.level : user.level;
  return thresholdOf(level) ?? (thresholdOf('warn') as number);
}

export function thresholdOf(level: unknown): number | undefined {
  if (level === 'silent') return logThreshold.SILENT;
  const rank = logLevels.indexOf(level as LogLevel);
  return rank < 0 ? undefined : rank;
}
