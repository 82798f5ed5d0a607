import type { HeartbeatSettings, StallAction } from '../shared/heartbeat-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type Check, type Checks, check, DAY_MS, integer, isPlainObject, nested, oneOf } from './checks.js';

export interface HeartbeatOptions {
  /**
   * When nothing came from the peer for so long, it is asked for a sign of life; each time a little earlier than that, by chance, so that
   * many connections do not ask at once. Default 10,000 ms, or a third of `timeoutMs`; 10 ms to one day.
   */
  intervalMs?: number | undefined;
  /**
   * When nothing came from the peer for so long, the connection closes with reason 'heartbeat-timeout', at most a fifth later. Longer
   * than `intervalMs`. Default three intervals; 20 ms to three days.
   */
  timeoutMs?: number | undefined;
  /** What happens when the thread that gets the connection's events makes no progress. */
  onStall?: StallOptions | undefined;
}

export interface StallOptions {
  /** For how long it has taken nothing, although something waits for it. Default 5,000 ms; 10 ms to one day. */
  afterMs?: number | undefined;
  /**
   * - `'report'` (default): peers are told by 'busy' for how long, again after each interval, and when it goes on; `stats().stalls` counts it.
   * - `'pause'`: the same, and nothing is read from them meanwhile.
   * - `'stop-heartbeat'`: nothing is asked and nothing answered any more: peers that have a heartbeat take this side for dead.
   * - `'close'`: connections close with reason 'app-stalled'.
   */
  action?: StallAction | undefined;
}

const DEFAULT_INTERVAL_MS = 10_000;
const DEFAULT_STALL_AFTER_MS = 5000;
const INTERVALS_PER_TIMEOUT = 3;

const stall: Checks<StallOptions> = {
  afterMs: integer(10, DAY_MS),
  action: oneOf('report', 'pause', 'stop-heartbeat', 'close'),
};

const form: Checks<HeartbeatOptions> = {
  intervalMs: integer(10, DAY_MS),
  timeoutMs: integer(20, INTERVALS_PER_TIMEOUT * DAY_MS),
  onStall: nested(stall),
};

export const heartbeat: Check = (value, path, call) => {
  if (typeof value === 'boolean') return undefined;
  if (!isPlainObject(value)) return 'true, false or an object';
  check(call, value, form, `${path}.`);
  return undefined;
};

/** What single options cannot tell: whether they go together. */
export function checkHeartbeat(call: string, codecType: string, options: boolean | HeartbeatOptions | undefined): void {
  const settings = heartbeatSettings(options);
  if (settings === undefined) return;
  if (codecType !== 'frame') {
    const own = codecType === 'simple-reactor' ? ', which has heartbeats of its own: codec.heartbeatMs' : '';
    const message = `${call}: option 'heartbeat' goes with codec 'frame' only, this one is '${codecType}'${own}`;
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
  }
  if (settings.timeoutMs > settings.intervalMs) return;
  const message = `${call}: option 'heartbeat.timeoutMs' must be longer than intervalMs (${settings.intervalMs}), got ${settings.timeoutMs}`;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

/** Undefined: there is none. */
export function heartbeatSettings(options: boolean | HeartbeatOptions = false): HeartbeatSettings | undefined {
  if (options === false) return undefined;
  const { intervalMs, timeoutMs, onStall } = options === true ? ({} as HeartbeatOptions) : options;
  const fallback = timeoutMs === undefined ? DEFAULT_INTERVAL_MS : Math.ceil(timeoutMs / INTERVALS_PER_TIMEOUT);
  const interval = intervalMs ?? fallback;
  return {
    intervalMs: interval,
    timeoutMs: timeoutMs ?? INTERVALS_PER_TIMEOUT * interval,
    stallAfterMs: onStall?.afterMs ?? DEFAULT_STALL_AFTER_MS,
    stallAction: onStall?.action ?? 'report',
  };
}
