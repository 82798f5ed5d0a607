import { monotonicMs } from '../shared/monotonic-clock.js';

/** How long an answer is looked for, at most: about as long as it takes to block and to be woken. */
const SPIN_MS = 0.04;

/** Of so many chances one is taken, at least, while answers do not come in time. */
const MAX_CHANCES = 64;

/**
 * When the io worker looks for the answer to an event before it does anything else. To be woken takes longer than most handlers take, and
 * where one request is on the way at a time, that is what its latency is made of.
 *
 * The sockets wait meanwhile, so it happens only if there was a single event since the last turn: then hardly anything else is going on.
 * And only if it pays: each time that no answer has come in time, twice as many chances pass until the next one is taken. Those are turns that
 * have come for another reason, mostly for an answer: threads that answer nothing cost nothing.
 */
export class AnswerSpin {
  #events = 0;
  /** Of chances: how many pass until the next one is taken, and how many did so the last time. */
  #pass = 0;
  #passed = 0;

  /** An event has been given to a thread. True: look for its answer in the next turn. */
  noteEvent(): boolean {
    this.#events++;
    return this.#events === 1 && this.#pass === 0;
  }

  /** At the beginning of a turn: looks, if it is worth it. */
  spin(isAnswered: () => boolean): void {
    const isChance = this.#events === 1;
    this.#events = 0;
    if (!isChance) return;
    if (this.#pass > 0) {
      this.#pass--;
      return;
    }
    this.#passed = this.#look(isAnswered) ? 0 : Math.min(2 * this.#passed + 1, MAX_CHANCES - 1);
    this.#pass = this.#passed;
  }

  #look(isAnswered: () => boolean): boolean {
    const until = monotonicMs() + SPIN_MS;
    do {
      if (isAnswered()) return true;
    } while (monotonicMs() < until);
    return false;
  }
}
