import type { HeartbeatSettings } from '../shared/heartbeat-settings.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import type { EventLane } from './event-lane.js';
import type { IoLog } from './io-log.js';
import type { Origin } from './origin.js';
import type { TcpConnection } from './tcp-connection.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/** How often a thread is looked at, in parts of `afterMs`: a stall is measured too short by as much at worst. */
const LOOKS = 8;
const MIN_LOOK_MS = 2;
/** A look is late, and judges nobody, when the one before was so many of them and so many ms ago. */
const LATE_LOOKS = 2;
const LATE_MS = 50;

/** Thousands of connections are told by and by: pings must not wait behind them. */
const TELL_EVERY_MS = 10;
const TELL_SLICES = 50;
const MIN_TOLD_AT_ONCE = 16;

/** What it needs of the event loop. */
export interface AppStallsParts {
  readonly board: StatusBoard;
  readonly wheel: TimingWheel;
  readonly log: IoLog;
}

/** A server or client whose threads are looked at. */
class Watched {
  readonly settings: HeartbeatSettings;
  /** Its threads that make no progress, and when their connections have been told last. */
  readonly stalled = new Map<EventLane, number>();
  /** When the one that has stood still for the longest time began to. */
  since = 0;
  /** By the wheel's clock. */
  lookedAt = Number.POSITIVE_INFINITY;
  /** Connections that are still to be told how it is. */
  readonly untold = new Set<TcpConnection>();
  atOnce = MIN_TOLD_AT_ONCE;
  readonly look: Deadline;
  readonly tell: Deadline;

  constructor(settings: HeartbeatSettings, onLook: () => void, onTell: () => void) {
    this.settings = settings;
    this.look = new Deadline(onLook);
    this.tell = new Deadline(onTell);
  }

  get everyMs(): number {
    return Math.max(MIN_LOOK_MS, this.settings.stallAfterMs / LOOKS);
  }
}

/**
 * The second clock: the io worker is alive whatever the application does, so that a heartbeat alone would hide an application that
 * hangs. Threads that get events of connections with heartbeats are given something to take now and then; one that does not take it for
 * `heartbeat.onStall.afterMs` has stalled, and its connections do what `onStall.action` says.
 */
export class AppStalls {
  readonly #loop: AppStallsParts;
  readonly #watched = new Map<Origin, Watched>();

  constructor(loop: AppStallsParts) {
    this.#loop = loop;
  }

  /** Looks at the threads of a server or client for as long as it has connections. */
  watch(origin: Origin): void {
    const { heartbeat } = origin.settings;
    if (heartbeat === undefined || this.#watched.has(origin)) return;
    const watched = new Watched(
      heartbeat,
      () => this.#look(origin, watched),
      () => this.#tell(watched),
    );
    this.#watched.set(origin, watched);
    this.#loop.wheel.set(watched.look, watched.everyMs);
  }

  /** Its last connection is over. The next look may be hours away: until then, clients that come and go would gather. */
  unwatch(origin: Origin): void {
    const watched = this.#watched.get(origin);
    if (watched === undefined) return;
    this.#watched.delete(origin);
    watched.untold.clear();
    this.#loop.wheel.clear(watched.look);
    this.#loop.wheel.clear(watched.tell);
  }

  #look(origin: Origin, watched: Watched): void {
    // First: what comes of the look may end the last connection.
    this.#loop.wheel.set(watched.look, watched.everyMs);
    const { settings, stalled } = watched;
    const now = Date.now();
    // This thread has stood still itself, with the whole process perhaps: the others get their time.
    const isLate = this.#loop.wheel.now - watched.lookedAt > LATE_LOOKS * watched.everyMs + LATE_MS;
    watched.lookedAt = this.#loop.wheel.now;
    if (isLate) return;
    const before = stalled.size;
    let longestMs = 0;
    let isDue = false;
    for (const lane of stalled.keys()) if (lane.isRetired || !origin.audience.has(lane)) stalled.delete(lane);
    for (const lane of origin.audience.lanes) {
      const progress = this.#loop.board.lane(lane.index, now);
      if (progress === undefined) continue;
      if (progress.waitingBytes === 0) lane.probe();
      if (progress.stalledMs < settings.stallAfterMs) {
        stalled.delete(lane);
        continue;
      }
      longestMs = Math.max(longestMs, progress.stalledMs);
      const toldAt = stalled.get(lane);
      if (toldAt === undefined) this.#noteStall(lane, progress.stalledMs, settings);
      if (toldAt === undefined || now - toldAt >= settings.intervalMs) {
        stalled.set(lane, now);
        isDue = true;
      }
    }
    watched.since = now - longestMs;
    if (stalled.size > 0 || before > 0) this.#choose(origin, watched, isDue);
  }

  /** @param isDue also those are told again that have been told */
  #choose(origin: Origin, watched: Watched, isDue: boolean): void {
    for (const connection of origin.connections) {
      const isStalled = connection.input.recipients.isNoneBut(watched.stalled);
      if (isStalled !== connection.isStalled || (isDue && isStalled)) watched.untold.add(connection);
    }
    watched.atOnce = Math.max(MIN_TOLD_AT_ONCE, Math.ceil(watched.untold.size / TELL_SLICES));
    this.#tell(watched);
  }

  #tell(watched: Watched): void {
    const { settings, stalled, untold } = watched;
    const stallMs = Date.now() - watched.since;
    let left = watched.atOnce;
    for (const connection of untold) {
      if (left-- === 0) break;
      untold.delete(connection);
      if (connection.input.recipients.isNoneBut(stalled)) connection.appStalled(stallMs, settings.stallAction);
      else connection.appMovesOn(settings.stallAction);
    }
    if (untold.size > 0) this.#loop.wheel.set(watched.tell, TELL_EVERY_MS);
  }

  #noteStall(lane: EventLane, stalledMs: number, { stallAction }: HeartbeatSettings): void {
    this.#loop.board.count(boardCounter.STALLS);
    const { threadId } = lane;
    this.#loop.log.write('warn', { threadId, stalledMs, action: stallAction }, 'A thread makes no progress');
  }
}
