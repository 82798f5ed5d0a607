import { ReactorError } from '../shared/reactor-error.js';
import { clockMs, TIMERS_PER_RECORD, type TimerTimes, ticksAt } from '../shared/timer-record.js';
import { type Checks, check, flag, show } from './checks.js';
import type { IoLink } from './io-link.js';

/** As far as `setInterval` reaches. */
const MAX_MS = 2 ** 31 - 1;
const MAX_TIMERS = 1_000_000;

export interface TimerOptions {
  /** ms until the first tick; default: the interval. */
  readonly delayMs?: number | undefined;
  /** It ticks once, and is removed then; default: false. */
  readonly once?: boolean | undefined;
}

/** What the callback of a timer is told. */
export interface TimerTick {
  /** Ticks since the last call that came and went while this thread could not be called: 0 if it keeps up. */
  readonly missed: number;
}

export type TimerCallback = (tick: TimerTick) => void;

const TIMER_CHECKS: Checks<TimerOptions> = {
  delayMs: (value) => (isMs(value, 0) ? undefined : `a number of ms from 0 to ${MAX_MS}`),
  once: flag,
};

interface Timer extends TimerTimes {
  told: number;
  readonly callback: TimerCallback;
}

/** What timers need of their reactor. */
export interface TimersOwner {
  /** To the io worker that has the clock. */
  link(): IoLink | undefined;
  /** Runs it in the next turn of the event loop. */
  defer(run: () => void): void;
  /** There is a first one, or none any more. */
  onChanged(): void;
}

/** The timers of this thread: which there are, and what the io worker has not been told of them. */
export class Timers {
  readonly #owner: TimersOwner;
  readonly #timers = new Map<number, Timer>();
  readonly #added = new Set<Timer>();
  #removed: number[] = [];
  #isDeferred = false;
  #lastId = 0;

  constructor(owner: TimersOwner) {
    this.#owner = owner;
  }

  get size(): number {
    return this.#timers.size;
  }

  add(intervalMs: number, callback: TimerCallback, options: TimerOptions): number {
    check('addTimer()', options, TIMER_CHECKS);
    if (!isMs(intervalMs, 1)) throw invalid(`a number of ms from 1 to ${MAX_MS}`, intervalMs);
    if (typeof callback !== 'function') throw invalid('a function to call', callback);
    if (this.#timers.size >= MAX_TIMERS) {
      throw new ReactorError(
        'ERR_REACTOR_LIMIT',
        `addTimer(): this thread has ${MAX_TIMERS} timers, which is the most`,
      );
    }
    const { delayMs = intervalMs, once = false } = options;
    const id = ++this.#lastId;
    const timer: Timer = { id, first: clockMs() + delayMs, interval: once ? 0 : intervalMs, told: 0, callback };
    this.#timers.set(id, timer);
    this.#added.add(timer);
    this.#deferFlush();
    if (this.#timers.size === 1) this.#owner.onChanged();
    return id;
  }

  remove(id: number): boolean {
    const timer = this.#timers.get(id);
    if (timer === undefined) return false;
    this.#forget(timer);
    // The io worker need not hear of one that it does not know.
    if (this.#added.delete(timer)) return true;
    this.#removed.push(id);
    this.#deferFlush();
    return true;
  }

  /** TIMER: the timer has ticked, since when and how often the clock says. */
  onTick(id: number): void {
    const timer = this.#timers.get(id);
    if (timer === undefined) return;
    const ticks = ticksAt(clockMs(), timer);
    const due = ticks - timer.told;
    // They were told with the event before.
    if (due <= 0) return;
    timer.told = ticks;
    if (timer.interval === 0) this.#forget(timer);
    timer.callback({ missed: due - 1 });
  }

  /** The io worker with the clock is a new one. */
  restore(): void {
    this.#removed = [];
    for (const timer of this.#timers.values()) this.#added.add(timer);
    this.#flush();
  }

  clear(): void {
    this.#timers.clear();
    this.#added.clear();
    this.#removed = [];
  }

  #forget(timer: Timer): void {
    this.#timers.delete(timer.id);
    if (this.#timers.size === 0) this.#owner.onChanged();
  }

  #deferFlush(): void {
    if (this.#isDeferred) return;
    this.#isDeferred = true;
    this.#owner.defer(() => {
      this.#isDeferred = false;
      this.#flush();
    });
  }

  #flush(): void {
    const link = this.#owner.link();
    // A new one will be told of all there are.
    if (link === undefined) return;
    const { commands } = link.context;
    for (let at = 0; at < this.#removed.length; at += TIMERS_PER_RECORD) {
      commands.removeTimers(this.#removed.slice(at, at + TIMERS_PER_RECORD));
    }
    this.#removed = [];
    let timers: Timer[] = [];
    for (const timer of this.#added) {
      timers.push(timer);
      if (timers.length < TIMERS_PER_RECORD) continue;
      commands.addTimers(timers);
      timers = [];
    }
    if (timers.length > 0) commands.addTimers(timers);
    this.#added.clear();
  }
}

function isMs(value: unknown, min: number): boolean {
  return typeof value === 'number' && value >= min && value <= MAX_MS;
}

function invalid(what: string, value: unknown): ReactorError {
  return new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', `addTimer() takes ${what}, got ${show(value)}`);
}
