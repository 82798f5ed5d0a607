import { boardCounter } from '../shared/status-board.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import type { SocketStream } from './socket-stream.js';

/** Why a socket is not read. */
export const pauseReason = {
  /** pause() */
  BY_APP: 1,
  /** What came is not taken: a ring is full, or no thread gets the connection's events at present. */
  BLOCKED: 2,
  /** Too many others of its lane are blocked. */
  WITH_LANE: 4,
  /** It has brought enough for now: into this turn, or of a long message into the ring. */
  RESTING: 8,
  /** The thread that gets the events makes no progress (`heartbeat.onStall`). */
  STALLED: 16,
  /** It has brought more than `maxReceiveBytesPerSecond`. */
  THROTTLED: 32,
  /** Services answer it more than it reads. */
  OUTPUT: 64,
} as const;

export type PauseReason = (typeof pauseReason)[keyof typeof pauseReason];

/** Both are no reason to look into, and have counters or limits of their own. */
const QUIET_PAUSES = pauseReason.RESTING | pauseReason.THROTTLED;

/** In place of a set that most connections never need: there are thousands of them. Nothing is ever added to it. */
const NO_LANES: Set<never> = new Set();

/** Whether the socket of a connection is read: it is while there is no reason not to. */
export class ReadPauses {
  readonly #loop: EventLoop;
  readonly #socket: SocketStream;
  #reasons = 0;
  /** Threads that have called pause(). */
  #by: Set<EventLane> = NO_LANES;
  #isOver = false;

  constructor(loop: EventLoop, socket: SocketStream) {
    this.#loop = loop;
    this.#socket = socket;
  }

  /** Until there is a thread that gets the connection's events. */
  start(): void {
    this.#reasons = pauseReason.BLOCKED;
    this.#socket.pause();
  }

  get isReading(): boolean {
    return !this.#isOver && this.#reasons === 0;
  }

  /** This side does not read, for reasons of its own: the peer's silence means nothing. */
  get isDeaf(): boolean {
    return (this.#reasons & ~pauseReason.OUTPUT) !== 0;
  }

  has(reason: PauseReason): boolean {
    return (this.#reasons & reason) !== 0;
  }

  set(reason: PauseReason, paused: boolean): void {
    const before = this.#reasons;
    const now = paused ? before | reason : before & ~reason;
    this.#reasons = now;
    if (this.#isOver) return;
    // A rest is everyday life of who sends much.
    if ((before & ~QUIET_PAUSES) === 0 && (now & ~QUIET_PAUSES) !== 0) this.#loop.board.count(boardCounter.READ_PAUSES);
    if ((before === 0) === (now === 0)) return;
    if (now === 0) this.#socket.resume();
    else this.#socket.pause();
  }

  setBy(lane: EventLane, paused: boolean): void {
    if (paused) {
      if (this.#by === NO_LANES) this.#by = new Set();
      this.#by.add(lane);
    } else this.#by.delete(lane);
    this.set(pauseReason.BY_APP, this.#by.size > 0);
  }

  /** The connection ends with the peer's FIN, which a paused socket would never see. The app side bounds what comes before. */
  end(): void {
    this.#by.clear();
    this.set(pauseReason.BY_APP, false);
    this.set(pauseReason.STALLED, false);
  }

  /** It is closed: its socket is not touched any more. */
  close(): void {
    this.#isOver = true;
  }
}
