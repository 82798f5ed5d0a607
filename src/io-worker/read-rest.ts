import type { EventLoop } from './event-loop.js';
import { Deadline } from './timing-wheel.js';

/**
 * One connection brings about so much into one turn, then it is the turn of the others. libuv would read up to 32 times in a row
 * from a socket that is faster than this thread.
 */
const READ_BYTES_PER_TURN = 256 * 1024;

/** When a thread that catches up is looked at again. */
const MIN_LOOK_MS = 1;
const MAX_LOOK_MS = 32;

/** When a connection has brought enough for now, and when it may go on. */
export class ReadRest {
  readonly #loop: EventLoop;
  /** Bytes read in the turn of that number. */
  #bytes = 0;
  #turn = 0;
  #look: Deadline | undefined;
  #lookMs = MIN_LOOK_MS;

  constructor(loop: EventLoop) {
    this.#loop = loop;
  }

  /** Notes what has been read. True: that is enough for this turn. */
  note(bytes: number): boolean {
    const { turn } = this.#loop;
    this.#bytes = turn === this.#turn ? this.#bytes + bytes : bytes;
    this.#turn = turn;
    return this.#bytes >= READ_BYTES_PER_TURN;
  }

  /**
   * Ends the rest, and returns true; not while the thread has to catch up, so that the short messages of others do not wait behind a ring
   * full of this one. The ring's own wake-up is for those who cannot go on at all; if there is no turn for another reason, it is looked
   * at again after a while.
   */
  end(isAhead: boolean): boolean {
    if (!isAhead) {
      this.stop();
      this.#lookMs = MIN_LOOK_MS;
      return true;
    }
    this.#look ??= new Deadline(() => this.#lookAgain());
    if (!this.#look.isSet) this.#loop.wheel.set(this.#look, this.#lookMs);
    return false;
  }

  stop(): void {
    if (this.#look !== undefined) this.#loop.wheel.clear(this.#look);
  }

  #lookAgain(): void {
    this.#lookMs = Math.min(2 * this.#lookMs, MAX_LOOK_MS);
    this.#loop.wake();
  }
}
