import { MAX_IO_WORKERS } from './connection-id.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What the io workers of one server count together, so that its limits are those of the server and not of each io worker.
 *
 * ```
 *  byte 0      SECOND       the second (of the epoch) that ACCEPTS is about     any io worker
 *       4      ACCEPTS      connections accepted in that second                 any io worker adds
 *       8 + n  io worker n  connections of the server that it has               io worker n
 *       * 4
 * ```
 * One that is started again begins with no connections, whatever its predecessor has left there.
 */
const countWord = { SECOND: 0, ACCEPTS: 1, WORKERS: 2 } as const;
const WORD_BYTES = 4;

export class AcceptCounts {
  readonly #memory: SharedMemory;
  readonly #own: number;

  /** @param worker whose end of it this is */
  constructor(buffer: SharedArrayBuffer, worker: number) {
    this.#memory = new SharedMemory(buffer);
    this.#own = countWord.WORKERS + worker;
    this.#memory.store(this.#own, 0);
  }

  static allocate(): SharedArrayBuffer {
    return SharedMemory.allocate((countWord.WORKERS + MAX_IO_WORKERS) * WORD_BYTES).buffer;
  }

  /** One connection more. False, and it does not count: there would be more than `most`, on all io workers. */
  open(most: number): boolean {
    const memory = this.#memory;
    // First the addition: of two io workers that want the last place, at most one gets it.
    memory.add(this.#own, 1);
    let open = 0;
    for (let worker = 0; worker < MAX_IO_WORKERS; worker++) open += memory.load(countWord.WORKERS + worker);
    if (open <= most) return true;
    memory.add(this.#own, -1);
    return false;
  }

  /** One less. */
  close(): void {
    this.#memory.add(this.#own, -1);
  }

  /** One is accepted in this second of the clock. False: `most` have been already. */
  accept(most: number, now: number): boolean {
    const memory = this.#memory;
    const second = Math.floor(now / 1000) | 0;
    // At the turn of a second, what others accept at the same moment may go uncounted.
    if (memory.load(countWord.SECOND) !== second && memory.exchange(countWord.SECOND, second) !== second) {
      memory.store(countWord.ACCEPTS, 0);
    }
    return memory.load(countWord.ACCEPTS) < most && memory.add(countWord.ACCEPTS, 1) < most;
  }
}
