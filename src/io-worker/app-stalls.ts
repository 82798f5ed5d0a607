import type { HeartbeatSettings } from '../shared/heartbeat-settings.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import type { EventLane } from './event-lane.js';
import type { IoLog } from './io-log.js';
import type { Origin } from './origin.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/** How often a thread is looked at, in parts of `afterMs`: a stall is measured too short by as much at worst. */
const LOOKS = 8;
const MIN_LOOK_MS = 2;

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
  readonly deadline: Deadline;

  constructor(settings: HeartbeatSettings, onDue: () => void) {
    this.settings = settings;
    this.deadline = new Deadline(onDue);
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
    const watched = new Watched(heartbeat, () => this.#look(origin, watched));
    this.#watched.set(origin, watched);
    this.#loop.wheel.set(watched.deadline, watched.everyMs);
  }

  #look(origin: Origin, watched: Watched): void {
    if (origin.connections.size === 0) {
      this.#watched.delete(origin);
      return;
    }
    const { settings, stalled } = watched;
    const now = Date.now();
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
    if (stalled.size > 0) this.#tell(origin, watched, longestMs, isDue);
    else if (before > 0) for (const connection of [...origin.connections]) connection.appMovesOn(settings.stallAction);
    this.#loop.wheel.set(watched.deadline, watched.everyMs);
  }

  #noteStall(lane: EventLane, stalledMs: number, { stallAction }: HeartbeatSettings): void {
    this.#loop.board.count(boardCounter.STALLS);
    const { threadId } = lane;
    this.#loop.log.write('warn', { threadId, stalledMs, action: stallAction }, 'A thread makes no progress');
  }

  /** @param isDue not only those are told that have not been yet */
  #tell(origin: Origin, { settings, stalled }: Watched, stalledMs: number, isDue: boolean): void {
    for (const connection of [...origin.connections]) {
      if (!connection.input.isOnNoneBut(stalled)) connection.appMovesOn(settings.stallAction);
      else if (isDue || !connection.isStalled) connection.appStalled(stalledMs, settings.stallAction);
    }
  }
}
