import type { RotationSettings } from './log-protocol.js';

/**
 * When the period began in which a time lies: days and hours are those of local time, ms are counted from 1970 on (UTC). Without a
 * frequency there is one period.
 */
export function periodStart(frequency: RotationSettings['frequency'], now: number): number {
  if (frequency === undefined) return 0;
  if (typeof frequency === 'number') return now - (now % frequency);
  const date = new Date(now);
  if (frequency === 'daily') return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  // Not by setMinutes(): of an hour that comes twice, when summer time ends, it means the first one.
  return now - (date.getMinutes() * 60_000 + date.getSeconds() * 1000 + date.getMilliseconds());
}
