/**
 * Timers of app threads, on the io worker's clock. Both sides count ticks from the same moment on the clock of the machine, so that
 * an event need only say that a timer has ticked: how often, the thread sees for itself when it takes the event.
 *
 * ```
 *  TIMER_ADD      for each timer   id f64 | first tick f64, ms on `clockMs` | interval f64, ms, 0: ticks once | ticks told f64
 *  TIMER_REMOVE   for each timer   id f64
 *  TIMER          slot and generation have the id; u32 number of the event, among all TIMER events of the thread
 * ```
 */
const WORD_BYTES = 8;
const ADDED_BYTES = 4 * WORD_BYTES;
const addedOffset = { ID: 0, FIRST: 8, INTERVAL: 16, TOLD: 24 } as const;
const ID_SLOTS = 2 ** 20;

/** More of them go into several records. */
export const TIMERS_PER_RECORD = 1024;
export const TIMER_EVENT_BYTES = 4;

export interface TimerTimes {
  /** Unique in its thread. */
  readonly id: number;
  /** When it ticks first, in ms on `clockMs`. */
  readonly first: number;
  /** 0: it ticks once. */
  readonly interval: number;
  /** Ticks that the thread has been told of. */
  readonly told: number;
}

const NS_PER_MS = 1e6;
const MS_PER_S = 1e3;

/** ms on a clock that all threads of the machine share, and that never goes back. */
export function clockMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * MS_PER_S + nanoseconds / NS_PER_MS;
}

/** How often a timer has ticked by then. Both sides use this, so that rounding cannot make them disagree. */
export function ticksAt(now: number, { first, interval }: Pick<TimerTimes, 'first' | 'interval'>): number {
  if (now < first) return 0;
  return interval === 0 ? 1 : Math.floor((now - first) / interval) + 1;
}

export function timerSlot(id: number): number {
  return id % ID_SLOTS;
}

export function timerGeneration(id: number): number {
  return Math.floor(id / ID_SLOTS);
}

export function timerId(slot: number, generation: number): number {
  return generation * ID_SLOTS + slot;
}

export function encodeTimers(timers: readonly TimerTimes[]): Buffer {
  const payload = Buffer.allocUnsafeSlow(timers.length * ADDED_BYTES);
  for (const [index, { id, first, interval, told }] of timers.entries()) {
    const at = index * ADDED_BYTES;
    payload.writeDoubleLE(id, at + addedOffset.ID);
    payload.writeDoubleLE(first, at + addedOffset.FIRST);
    payload.writeDoubleLE(interval, at + addedOffset.INTERVAL);
    payload.writeDoubleLE(told, at + addedOffset.TOLD);
  }
  return payload;
}

export function decodeTimers(payload: Buffer): TimerTimes[] {
  return Array.from({ length: payload.length / ADDED_BYTES }, (_, index) => {
    const at = index * ADDED_BYTES;
    return {
      id: payload.readDoubleLE(at + addedOffset.ID),
      first: payload.readDoubleLE(at + addedOffset.FIRST),
      interval: payload.readDoubleLE(at + addedOffset.INTERVAL),
      told: payload.readDoubleLE(at + addedOffset.TOLD),
    };
  });
}

export function encodeTimerIds(ids: readonly number[]): Buffer {
  const payload = Buffer.allocUnsafeSlow(ids.length * WORD_BYTES);
  for (const [index, id] of ids.entries()) payload.writeDoubleLE(id, index * WORD_BYTES);
  return payload;
}

export function decodeTimerIds(payload: Buffer): number[] {
  return Array.from({ length: payload.length / WORD_BYTES }, (_, index) => payload.readDoubleLE(index * WORD_BYTES));
}
