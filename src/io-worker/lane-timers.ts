import { eventKind } from '../shared/event-record.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import {
  clockMs,
  decodeTimerIds,
  decodeTimers,
  TIMER_EVENT_BYTES,
  type TimerTimes,
  ticksAt,
  timerGeneration,
  timerSlot,
} from '../shared/timer-record.js';
import type { BlockedSource, EventLane } from './event-lane.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

class LaneTimer extends Deadline {
  readonly times: TimerTimes;
  /** Ticks that there have been. */
  ticks: number;
  /** The number of its last event, as long as that is under way. */
  event = 0;

  constructor(times: TimerTimes, onDue: (timer: LaneTimer) => void) {
    super(() => onDue(this));
    this.times = times;
    this.ticks = times.told;
  }

  /** When it ticks next; undefined if it does not any more. */
  get nextTick(): number | undefined {
    const { first, interval } = this.times;
    if (interval > 0) return first + this.ticks * interval;
    return this.ticks === 0 ? first : undefined;
  }
}

/**
 * The timers of one app thread. A timer has one event under way at most: the thread says in a word that it shares with this one which
 * event it has taken last, and only then reads the clock. So whoever sees here, at a tick, that the last event has not been taken,
 * knows that the thread will count this tick when it takes it.
 */
export class LaneTimers implements BlockedSource {
  readonly #lane: EventLane;
  readonly #wheel: TimingWheel;
  readonly #board: StatusBoard;
  readonly #timers = new Map<number, LaneTimer>();
  /** They have ticked, and there was no room in the ring. */
  readonly #waiting = new Set<LaneTimer>();
  /** They have events that had not been taken at the last look, the oldest first. Numbers alone would not do: they come round again. */
  readonly #underWay = new Set<LaneTimer>();
  readonly #now: () => number;
  readonly #payload: Buffer = Buffer.alloc(TIMER_EVENT_BYTES);
  /** The number of the last event; it wraps. */
  #events: number;

  constructor(lane: EventLane, wheel: TimingWheel, board: StatusBoard, now: () => number = clockMs) {
    this.#now = now;
    this.#lane = lane;
    this.#wheel = wheel;
    this.#board = board;
    this.#events = lane.timerEventsTaken;
  }

  /** TIMER_ADD. One that is there already is set anew. */
  add(payload: Buffer): void {
    for (const times of decodeTimers(payload)) {
      this.#drop(times.id);
      const timer = new LaneTimer(times, this.#onDue);
      this.#timers.set(times.id, timer);
      this.#setNext(timer, this.#now());
    }
  }

  /** TIMER_REMOVE. */
  remove(payload: Buffer): void {
    for (const id of decodeTimerIds(payload)) this.#drop(id);
  }

  /** The thread is gone. */
  clear(): void {
    for (const timer of this.#timers.values()) this.#wheel.clear(timer);
    this.#timers.clear();
    this.#waiting.clear();
    this.#underWay.clear();
  }

  retryDelivery(): boolean {
    this.#forgetTaken();
    for (const timer of this.#waiting) {
      if (!this.#offer(timer)) return false;
      this.#waiting.delete(timer);
    }
    return true;
  }

  readonly #onDue = (timer: LaneTimer): void => {
    const now = this.#now();
    const ticks = ticksAt(now, timer.times);
    // The wheel's clock and this one may differ by a fraction of a tick.
    if (ticks > timer.ticks) {
      timer.ticks = ticks;
      this.#tell(timer);
    }
    this.#setNext(timer, now);
  };

  #tell(timer: LaneTimer): void {
    this.#forgetTaken();
    if (this.#waiting.has(timer) || this.#underWay.has(timer)) return;
    if (this.#waiting.size === 0 && this.#offer(timer)) return;
    this.#waiting.add(timer);
    this.#lane.block(this);
  }

  /** Before each event: those that are left are not older than what the ring holds. */
  #forgetTaken(): void {
    const taken = this.#lane.timerEventsTaken;
    for (const timer of this.#underWay) {
      if (((timer.event - taken) | 0) > 0) break;
      this.#underWay.delete(timer);
    }
  }

  #offer(timer: LaneTimer): boolean {
    const { id } = timer.times;
    const number = (this.#events + 1) | 0;
    this.#payload.writeInt32LE(number);
    // First, so that a thread that takes it finds it counted.
    this.#board.count(boardCounter.TIMER_FIRES);
    if (!this.#lane.offer(eventKind.TIMER, timerSlot(id), timerGeneration(id), this.#payload, 0, TIMER_EVENT_BYTES)) {
      this.#board.count(boardCounter.TIMER_FIRES, -1);
      return false;
    }
    this.#events = number;
    // It has nothing more to do.
    if (timer.nextTick === undefined) this.#timers.delete(id);
    else {
      timer.event = number;
      this.#underWay.add(timer);
    }
    return true;
  }

  #setNext(timer: LaneTimer, now: number): void {
    const { nextTick } = timer;
    if (nextTick !== undefined) this.#wheel.set(timer, Math.max(0, nextTick - now));
  }

  #drop(id: number): void {
    const timer = this.#timers.get(id);
    if (timer === undefined) return;
    this.#wheel.clear(timer);
    this.#timers.delete(id);
    this.#waiting.delete(timer);
    this.#underWay.delete(timer);
  }
}
