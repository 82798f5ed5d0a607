/** From this many bytes on the socket is not read any more ... */
const STOP_BYTES = 256 * 1024;
/** ... until as few are left. */
const RESUME_BYTES = 64 * 1024;

/**
 * Messages that came before the application could take them: it has paused the connection, has no listener yet, or takes
 * them one by one with `for await`. Bounded by not reading the socket: what is in the event ring at that moment still comes.
 */
export class InboundQueue {
  #messages: Buffer[] = [];
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

  push(message: Buffer): void {
    this.#messages.push(message);
    this.#bytes += message.length;
    if (this.#bytes > STOP_BYTES) this.#full = true;
  }

  peek(): Buffer | undefined {
    return this.#messages[this.#head];
  }

  shift(): Buffer | undefined {
    const message = this.#messages[this.#head];
    if (message === undefined) return undefined;
    this.#head++;
    this.#bytes -= message.length;
    if (this.#bytes <= RESUME_BYTES) this.#full = false;
    if (this.#head === this.#messages.length || this.#head > 1024) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  /** Returns how many it drops. */
  clear(): number {
    const dropped = this.#messages.length - this.#head;
    this.#messages = [];
    this.#head = 0;
    this.#bytes = 0;
    this.#full = false;
    return dropped;
  }
}
