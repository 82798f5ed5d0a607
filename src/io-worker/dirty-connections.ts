import { monotonicMs } from '../shared/monotonic-clock.js';

/** After so long, writes make way for commands and for sockets that are read; the clock is looked at once in so many writes. */
const FLUSH_MS = 4;
const FLUSHES_PER_LOOK = 32;

/**
 * What a thread sends while it hands out events waits for what it sends next, so that one write takes all of it: so long, unless it
 * comes to the end before, or so many bytes of one connection wait.
 */
const BATCH_MS = 0.2;
const BATCH_BYTES = 16 * 1024;

/** A connection with output. */
export interface DirtyConnection {
  /** Whether it is in the list of those that are flushed at the end of the turn, or of those that wait for the end of a batch. */
  dirty: 'no' | 'now' | 'batched';
  readonly outputBytes: number;
  flush(): void;
}

/** The connections that have output: one write for each of them takes all that a turn, or a batch of a thread's, has brought. */
export class DirtyConnections {
  #now: DirtyConnection[] = [];
  #batched: DirtyConnection[] = [];
  /** Since when the first of them waits. */
  #batchedAt = 0;
  /** What makes connections dirty now is of a batch. */
  isInBatch = false;

  /** None is to be flushed in this turn. */
  get isEmpty(): boolean {
    return this.#now.length === 0;
  }

  /** Some wait for the end of a batch. */
  get hasBatched(): boolean {
    return this.#batched.length > 0;
  }

  /** The connection has output. True: it is flushed at the end of the turn, and not later. */
  add(connection: DirtyConnection): boolean {
    if (connection.dirty === 'now') return false;
    if (this.isInBatch && connection.outputBytes < BATCH_BYTES) {
      if (connection.dirty === 'batched') return false;
      connection.dirty = 'batched';
      if (this.#batched.push(connection) === 1) this.#batchedAt = monotonicMs();
      return false;
    }
    connection.dirty = 'now';
    this.#now.push(connection);
    return true;
  }

  /** Has what waits for the end of a batch flushed in this turn, if it has waited long enough. @param isOver no thread is in a batch any more */
  endBatch(isOver: boolean): void {
    if (!isOver && monotonicMs() - this.#batchedAt < BATCH_MS) return;
    for (const connection of this.#batched) {
      // It may have been flushed for another reason, and may be in the list twice then.
      if (connection.dirty !== 'batched') continue;
      connection.dirty = 'now';
      this.#now.push(connection);
    }
    this.#batched = [];
  }

  flush(): void {
    // Connections that still have output afterwards put themselves into the next list.
    const dirty = this.#now;
    this.#now = [];
    const until = dirty.length > FLUSHES_PER_LOOK ? monotonicMs() + FLUSH_MS : Number.POSITIVE_INFINITY;
    let flushed = 0;
    for (const connection of dirty) {
      connection.dirty = 'no';
      connection.flush();
      flushed++;
      if (flushed % FLUSHES_PER_LOOK === 0 && monotonicMs() > until) break;
    }
    // A message to thousands of connections: the others come first in the next turn.
    if (flushed < dirty.length) this.#now = dirty.slice(flushed).concat(this.#now);
  }
}
