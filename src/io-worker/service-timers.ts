import { inspect } from 'node:util';
import { ReactorError } from '../shared/reactor-error.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

const DAY_MS = 24 * 60 * 60 * 1000;

type TimerFunction = () => void | Promise<void>;

/** The timers of one service. */
export class ServiceTimers {
  readonly #wheel: TimingWheel;
  readonly #call: (fn: TimerFunction) => void;
  readonly #deadlines = new Map<number, Deadline>();
  #last = 0;
  #isEnded = false;

  /** @param call calls what is due, and never throws */
  constructor(wheel: TimingWheel, call: (fn: TimerFunction) => void) {
    this.#wheel = wheel;
    this.#call = call;
  }

  after(ms: number, fn: TimerFunction): number {
    check('after()', ms, 0, fn);
    const id = ++this.#last;
    this.#set(id, ms, () => {
      this.#deadlines.delete(id);
      this.#call(fn);
    });
    return id;
  }

  every(ms: number, fn: TimerFunction): number {
    check('every()', ms, 1, fn);
    const id = ++this.#last;
    let due = this.#wheel.now + ms;
    const deadline = this.#set(id, ms, () => {
      const { now } = this.#wheel;
      // What has been missed is left out; the rhythm stays.
      due += ms * Math.max(1, Math.ceil((now - due) / ms));
      this.#wheel.set(deadline, Math.max(0, due - now));
      this.#call(fn);
    });
    return id;
  }

  cancel(id: number): void {
    const deadline = this.#deadlines.get(id);
    if (deadline === undefined) return;
    this.#wheel.clear(deadline);
    this.#deadlines.delete(id);
  }

  /** Clears all of them, and takes no others. */
  end(): void {
    this.#isEnded = true;
    for (const deadline of this.#deadlines.values()) this.#wheel.clear(deadline);
    this.#deadlines.clear();
  }

  #set(id: number, ms: number, onDue: () => void): Deadline {
    const deadline = new Deadline(onDue);
    if (this.#isEnded) return deadline;
    this.#deadlines.set(id, deadline);
    this.#wheel.set(deadline, ms);
    return deadline;
  }
}

function check(call: string, ms: unknown, least: number, fn: unknown): void {
  const isTime = typeof ms === 'number' && ms >= least && ms <= DAY_MS;
  if (isTime && typeof fn === 'function') return;
  const given = `${inspect(ms, { depth: 0 })} and ${inspect(fn, { depth: 0 })}`;
  const message = `${call} takes ${least} to ${DAY_MS} ms and a function, got ${given}`;
  throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
}
