import type { SleepWord } from '../shared/doorbell.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { AppLane } from './app-lane.js';
import { surfaceErrors } from './surface.js';

/** Turns without an event before this thread goes to sleep. */
const IDLE_TURNS = 2;
/** How long one turn may hand out events before timers and other I/O of this thread get their turn. */
const TURN_MS = 2;

/** What this thread is at, for those who must not do it twice at a time. */
export interface Activity {
  handlers: number;
}

/**
 * When this thread looks at its lanes, one to each io worker. While there are events, turns follow each other with
 * setImmediate; after a few idle ones the thread sleeps until an io worker rings.
 */
export class AppLoop {
  readonly #sleepWord: SleepWord;
  readonly #lanes = new Set<AppLane>();
  #immediate: NodeJS.Immediate | undefined;
  /** Commands that waited have found room. */
  #hasMoved = false;
  #idleTurns = 0;
  #running = false;
  /** Handlers of messages that are being called, by whoever. */
  readonly activity: Activity = { handlers: 0 };
  readonly #beforePoll: () => void;
  /** What is to be done in the next turn of the event loop, or in front of the next poll. */
  #deferred: (() => void)[] = [];
  /** What is to be done in a microtask, or in front of the next look of a thread that polls: that has none. */
  readonly #soon = new Set<() => boolean>();

  /** @param beforePoll called before each wait of `pollSync`: a thread that polls hears of nothing else */
  constructor(sleepWord: SleepWord, beforePoll: () => void) {
    this.#sleepWord = sleepWord;
    this.#beforePoll = beforePoll;
  }

  add(lane: AppLane): void {
    this.#lanes.add(lane);
    this.wake();
  }

  remove(lane: AppLane): void {
    this.#lanes.delete(lane);
    if (this.#lanes.size > 0) return;
    clearImmediate(this.#immediate);
    this.#immediate = undefined;
  }

  /** There may be something to do. */
  wake(): void {
    this.#idleTurns = 0;
    if (this.#immediate !== undefined || this.#lanes.size === 0) return;
    this.#sleepWord.awake();
    this.#schedule();
  }

  /** The doorbell rang: this is already a turn of its own. */
  rung(): void {
    this.#idleTurns = 0;
    if (this.#immediate === undefined && this.#lanes.size > 0 && !this.#running) this.#turn();
  }

  /**
   * Hands out events without a turn of the event loop; if there are none, blocks the thread until there are. Returns how many
   * there were.
   */
  pollSync(timeoutMs: number): number {
    if (this.#running || this.activity.handlers > 0) {
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', 'pollSync() cannot be called from a handler of an event');
    }
    const deadline = monotonicMs() + timeoutMs;
    this.#runDeferred();
    this.#beforePoll();
    try {
      for (;;) {
        const events = this.#runSoon() + this.#run();
        const left = deadline - monotonicMs();
        if (events > 0 || left <= 0) return events;
        this.#sleepWord.announcePark();
        if (this.#isIdle()) this.#sleepWord.park(left);
        else this.#sleepWord.awake();
      }
    } finally {
      // It is awake, and nobody rings: the next turn of the event loop looks again before it sleeps.
      this.#idleTurns = 0;
      if (this.#lanes.size > 0) this.#schedule();
    }
  }

  /** Does something when whoever is being answered now has had a chance to add listeners. */
  defer(run: () => void): void {
    if (this.#deferred.length === 0) setImmediate(() => this.#runDeferred());
    this.#deferred.push(run);
  }

  /**
   * Does something when the present handler has finished, and whoever is adding listeners.
   * @param run true: it has handed out events
   */
  soon(run: () => boolean): void {
    this.#soon.add(run);
    queueMicrotask(() => {
      if (this.#soon.delete(run)) run();
    });
  }

  /** Returns how many have handed out events. */
  #runSoon(): number {
    let busy = 0;
    this.#running = true;
    for (const run of this.#soon) {
      this.#soon.delete(run);
      surfaceErrors(() => {
        if (run()) busy++;
      });
    }
    this.#running = false;
    return busy;
  }

  #runDeferred(): void {
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const run of deferred) surfaceErrors(run);
  }

  readonly #turn = (): void => {
    this.#immediate = undefined;
    let completed = false;
    try {
      const isBusy = this.#run() > 0 || this.#hasMoved;
      this.#idleTurns = isBusy ? 0 : this.#idleTurns + 1;
      completed = true;
    } finally {
      const mayRest = completed && this.#idleTurns >= IDLE_TURNS;
      if (this.#lanes.size > 0 && !(mayRest && this.#fallAsleep())) this.#schedule();
    }
  };

  #run(): number {
    const deadline = monotonicMs() + TURN_MS;
    let events = 0;
    this.#hasMoved = false;
    this.#running = true;
    try {
      for (const lane of this.#lanes) {
        events += lane.run(deadline);
        if (lane.hasMoved) this.#hasMoved = true;
        // The others come first the next time: a busy lane must not keep them from their turn.
        if (this.#lanes.size > 1 && monotonicMs() > deadline) {
          if (this.#lanes.delete(lane)) this.#lanes.add(lane);
          break;
        }
      }
    } finally {
      this.#running = false;
    }
    return events;
  }

  #schedule(): void {
    this.#immediate ??= setImmediate(this.#turn);
  }

  #isIdle(): boolean {
    for (const lane of this.#lanes) if (!lane.isIdle()) return false;
    return true;
  }

  #fallAsleep(): boolean {
    this.#sleepWord.announceSleep();
    if (this.#isIdle()) return true;
    this.#sleepWord.awake();
    return false;
  }
}
