/** Above either of these the socket is not read any more: empty messages cost memory, too ... */
const STOP_BYTES = 256 * 1024;
const STOP_MESSAGES = 16_384;
/** ... until no more than these are left. */
const RESUME_BYTES = 64 * 1024;
const RESUME_MESSAGES = 4096;

/** In place of the lists of queues in which nothing has ever waited. Nothing is ever added to it. */
const NOTHING: never[] = [];

/**
 * Messages, or requests, that came before the application could take them: it has paused the connection, has no listener yet, or takes
 * them one by one with `for await`. Bounded by not reading the socket: what is in the event ring at that moment still comes.
 */
export class InboundQueue {
  #messages: (Buffer | undefined)[] = NOTHING;
  #numbers: number[] = NOTHING;
  #head = 0;
  #bytes = 0;
  #full = false;

  get isEmpty(): boolean {
    return this.#head === this.#messages.length;
  }

  /** True from when too much waits until little enough does. */
  get isFull(): boolean {
    return this.#full;
  }

  /** @param number its place among all that came */
  push(message: Buffer, number = 0): void {
    if (this.#messages === NOTHING) {
      this.#messages = [];
      this.#numbers = [];
    }
    this.#messages.push(message);
    this.#numbers.push(number);
    this.#bytes += message.length;
    if (this.#bytes > STOP_BYTES || this.length > STOP_MESSAGES) this.#full = true;
  }

  /** The number of the first; Infinity if there is none. */
  get first(): number {
    return this.#numbers[this.#head] ?? Number.POSITIVE_INFINITY;
  }

  shift(): Buffer | undefined {
    const message = this.#messages[this.#head];
    if (message === undefined) return undefined;
    // It is the application's now: the queue must not keep it in memory.
    this.#messages[this.#head++] = undefined;
    this.#bytes -= message.length;
    if (this.#bytes <= RESUME_BYTES && this.length <= RESUME_MESSAGES) this.#full = false;
    if (this.#head === this.#messages.length || this.#head > 1024) {
      this.#messages = this.#messages.slice(this.#head);
      this.#numbers = this.#numbers.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  get length(): number {
    return this.#messages.length - this.#head;
  }

  /** Returns how many it drops. */
  clear(): number {
    const dropped = this.length;
    this.#messages = NOTHING;
    this.#numbers = NOTHING;
    this.#head = 0;
    this.#bytes = 0;
    this.#full = false;
    return dropped;
  }
}
