import { ReactorError } from '../shared/reactor-error.js';
import type { ReconnectSettings } from '../shared/reconnect-settings.js';
import { type Check, type Checks, check, DAY_MS, integer, isPlainObject } from './checks.js';

export interface ReconnectOptions {
  /** Until the first attempt. Default 500 ms; 1 ms to one day. */
  minDelayMs?: number | undefined;
  /** What the delay grows to. Default 30,000 ms; `minDelayMs` to one day. */
  maxDelayMs?: number | undefined;
  /** By which each delay is longer than the one before. Default 2; 1 to 100. */
  factor?: number | undefined;
  /** So much of each delay is left to chance, up and down. Default 0.2; 0 to 1. */
  jitter?: number | undefined;
  /** How many attempts in a row may fail, the first one included; a connection that has not lasted counts as one. Default: no end; 1 and more. */
  maxAttempts?: number | undefined;
}

const MAX_FACTOR = 100;
const MAX_ATTEMPTS = 2 ** 31 - 1;

function number(min: number, max: number): Check {
  return (value) =>
    typeof value === 'number' && value >= min && value <= max ? undefined : `a number from ${min} to ${max}`;
}

const form: Checks<ReconnectOptions> = {
  minDelayMs: integer(1, DAY_MS),
  maxDelayMs: integer(1, DAY_MS),
  factor: number(1, MAX_FACTOR),
  jitter: number(0, 1),
  maxAttempts: integer(1, MAX_ATTEMPTS),
};

export const reconnect: Check = (value, path, call) => {
  if (typeof value === 'boolean') return undefined;
  if (!isPlainObject(value)) return 'true, false or an object';
  check(call, value, form, `${path}.`);
  const { minDelayMs, maxDelayMs } = reconnectSettings(value) as ReconnectSettings;
  if (minDelayMs <= maxDelayMs) return undefined;
  const message = `${call}: option '${path}.maxDelayMs' must not be shorter than minDelayMs (${minDelayMs}), got ${maxDelayMs}`;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
};

/** Undefined: it does not connect again. */
export function reconnectSettings(options: boolean | ReconnectOptions = false): ReconnectSettings | undefined {
  if (options === false) return undefined;
  const given = options === true ? {} : options;
  const { minDelayMs = 500, maxDelayMs = Math.max(30_000, minDelayMs), factor = 2, jitter = 0.2 } = given;
  return { minDelayMs, maxDelayMs, factor, jitter, maxAttempts: given.maxAttempts ?? Number.POSITIVE_INFINITY };
}
