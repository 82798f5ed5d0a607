import { MAX_LANES } from './connection-table.js';
import { LATENESS_BUCKETS, latenessBucket } from './lateness-histogram.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What an io worker and the app threads on its lanes tell everybody, without being asked.
 *
 * ```
 *  byte 0      IO_ASLEEP         doorbell word of the io worker                                  doorbell.ts
 *     128      counters, f64     see boardCounter                                                io worker
 *     512      PING_LATENESS     f64 for each bucket of lateness-histogram.ts                    io worker
 *    1024 + n  lane n            +0  THREAD: thread id + 1, 0: there is none                     io worker
 *       * 128                    +4  PRODUCED: bytes that were ever put into the event ring      "
 *                                +8  RUNG_AT f64: when the sleeping thread was rung, ms (epoch)  "
 *                                +64 CONSUMED: of these bytes, those that it has handled         app thread
 *                                +72 PROGRESS_AT f64: when it last began to handle events, ms    "
 * ```
 * All but the doorbell word are for people and metrics: one writer each, plain accesses.
 */
const COUNTERS_OFFSET = 128;
const PING_LATENESS_OFFSET = 512;
const LANES_OFFSET: number = PING_LATENESS_OFFSET + LATENESS_BUCKETS * 8;
const LANE_BYTES = 128;
const BOARD_BYTES = LANES_OFFSET + MAX_LANES * LANE_BYTES;

const laneWord = { THREAD: 0, PRODUCED: 1, CONSUMED: 16 } as const;
const laneDouble = { RUNG_AT: 1, PROGRESS_AT: 9 } as const;

export const IO_SLEEP_WORD = 0;

/** Counters of the io worker, as 8-byte columns. */
export const boardCounter = {
  ACCEPTED: 0,
  CONNECTED: 1,
  REFUSED: 2,
  CLOSED: 3,
  IGNORED_FRAMES: 4,
  READ_PAUSES: 5,
  TURNS: 6,
  OPEN: 7,
  HELD: 8,
  RECLAIMED_LANES: 9,
  UNTOLD_TLS_ERRORS: 10,
  PINGS: 11,
  STALLS: 12,
  BROADCAST_ENCODINGS: 13,
  OVER_LIMIT: 14,
  RECONNECT_ATTEMPTS: 15,
  SERVICE_FAILURES: 16,
  SLOW_SERVICE_CALLS: 17,
  DROPPED_LOG_LINES: 18,
  TIMER_FIRES: 19,
  /** ms, not a count */
  PING_LATENESS_MAX: 20,
} as const;
export type BoardCounter = (typeof boardCounter)[keyof typeof boardCounter];

/** How far the app thread on a lane has come. */
export interface LaneProgress {
  readonly threadId: number;
  /** Bytes of events that it has not handled. */
  readonly waitingBytes: number;
  /** For how long they have waited without anything being handled; 0 if nothing waits. */
  readonly stalledMs: number;
}

export class StatusBoard {
  readonly memory: SharedMemory;
  readonly #doubles: Float64Array;

  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.#doubles = new Float64Array(memory.buffer);
  }

  static allocate(): StatusBoard {
    return new StatusBoard(SharedMemory.allocate(BOARD_BYTES));
  }

  // ---- the io worker's ----

  count(counter: BoardCounter, by = 1): void {
    (this.#doubles[COUNTERS_OFFSET / 8 + counter] as number) += by;
  }

  /** A ping has been sent so many ms after it was due. */
  notePing(latenessMs: number): void {
    this.count(boardCounter.PINGS);
    (this.#doubles[PING_LATENESS_OFFSET / 8 + latenessBucket(latenessMs)] as number)++;
    const max = COUNTERS_OFFSET / 8 + boardCounter.PING_LATENESS_MAX;
    if (latenessMs > (this.#doubles[max] as number)) this.#doubles[max] = latenessMs;
  }

  openLane(lane: number, threadId: number): void {
    const word = laneStart(lane) / 4;
    this.memory.write(word + laneWord.PRODUCED, 0);
    this.memory.write(word + laneWord.CONSUMED, 0);
    this.noteProgress(lane, 0, Date.now());
    this.memory.store(word + laneWord.THREAD, threadId + 1);
  }

  closeLane(lane: number): void {
    this.memory.store(laneStart(lane) / 4 + laneWord.THREAD, 0);
  }

  noteProduced(lane: number, position: number): void {
    this.memory.write(laneStart(lane) / 4 + laneWord.PRODUCED, position);
  }

  noteRung(lane: number, now: number): void {
    this.#doubles[laneStart(lane) / 8 + laneDouble.RUNG_AT] = now;
  }

  // ---- the app thread's ----

  noteProgress(lane: number, position: number, now: number): void {
    this.memory.write(laneStart(lane) / 4 + laneWord.CONSUMED, position);
    this.#doubles[laneStart(lane) / 8 + laneDouble.PROGRESS_AT] = now;
  }

  // ---- everyone's ----

  counter(counter: BoardCounter): number {
    return this.#doubles[COUNTERS_OFFSET / 8 + counter] as number;
  }

  /** How many pings fell into each bucket of lateness. */
  get pingLateness(): Float64Array {
    const start = PING_LATENESS_OFFSET / 8;
    return this.#doubles.subarray(start, start + LATENESS_BUCKETS);
  }

  /** The app threads that have a lane to this io worker. */
  lanes(now: number): LaneProgress[] {
    const lanes: LaneProgress[] = [];
    for (let lane = 0; lane < MAX_LANES; lane++) {
      const progress = this.lane(lane, now);
      if (progress !== undefined) lanes.push(progress);
    }
    return lanes;
  }

  /** Undefined if no thread has that lane. */
  lane(lane: number, now: number): LaneProgress | undefined {
    const word = laneStart(lane) / 4;
    const thread = this.memory.load(word + laneWord.THREAD);
    if (thread === 0) return undefined;
    const waitingBytes = (this.memory.read(word + laneWord.PRODUCED) - this.memory.read(word + laneWord.CONSUMED)) | 0;
    const double = laneStart(lane) / 8;
    const since = Math.max(
      this.#doubles[double + laneDouble.RUNG_AT] as number,
      this.#doubles[double + laneDouble.PROGRESS_AT] as number,
    );
    return {
      threadId: thread - 1,
      waitingBytes: Math.max(0, waitingBytes),
      stalledMs: waitingBytes > 0 ? Math.max(0, now - since) : 0,
    };
  }
}

function laneStart(lane: number): number {
  return LANES_OFFSET + lane * LANE_BYTES;
}
