import { InboundQueue } from './inbound-queue.js';

/** The io worker keeps what is not done with, and requests cannot be done with before the message that an iteration has in hand. */
const MAX_DONE_BEHIND = 1024;

/** The connection that the messages are for. */
export interface FlowOwner {
  /** Somebody listens for messages. */
  hasListener(): boolean;
  emitMessage(message: Buffer): void;
  /** Somebody listens for requests. */
  hasRequestListener(): boolean;
  emitRequest(request: Buffer): void;
  /**
   * No message is in front of what comes behind the messages: 'end', 'close'. True if there was any of it.
   * @param atWork an iteration has not finished with the last message, and may still want to answer it
   */
  emitBehindMessages(atWork: boolean): boolean;
  /** The socket is not to be read, or again. */
  onReading(stopped: boolean): void;
  /** An iteration has taken a message. */
  onTaken(): void;
  /** The application has done with so many further messages, and with all in front of them. */
  onMessagesDone(count: number): void;
  /** It has done with all messages that had to wait. */
  onSettled(): void;
}

/**
 * Hands messages to the application when it takes them, and what comes behind them only after them.
 *
 * A message goes straight to the listeners if nothing stands in its way. Otherwise it waits: before whoever opened the
 * connection has had a chance to listen, while the connection is paused, while nobody listens, and behind other messages.
 * An iteration takes messages one by one, in place of the listeners.
 *
 * Requests need no listener for messages, but keep their place among them. One that an iteration is at work on does not hold them up,
 * since it may wait for a peer that asks something first; nor does one that nobody listens for: it is dropped, and counted.
 */
export class InboundFlow {
  readonly #owner: FlowOwner;
  readonly #queue = new InboundQueue();
  /** Requests that are done, behind a message that an iteration is still at work on: they count when that is done. */
  #doneBehind = 0;
  /** What wakes each iteration that is under way. */
  readonly #iterators = new Set<() => void>();
  /** Iterations that wait for the next message; the others are at work on one. */
  #idleIterators = 0;
  #started = false;
  /** After shutdown() the socket is read up to the peer's FIN: pausing it no longer, only a full queue does. */
  #awaitsEnd = false;
  #paused = false;
  /** resume() has been called: messages that nobody listens for are dropped, not kept. */
  #discards = false;
  #sealed = false;
  /** No messages any more: those that come are only counted. */
  #cut = false;
  #unread = 0;
  #flowing = false;
  /** Messages have waited here: the io worker keeps them until it hears that they are done. */
  #hasKept = false;
  /** Another thread gets the messages. */
  #left = false;
  /** Messages that iterations are at work on, in order: two of them may finish in another one. */
  #inHand: { isDone: boolean }[] = [];

  constructor(owner: FlowOwner) {
    this.#owner = owner;
  }

  get isPaused(): boolean {
    return this.#paused;
  }

  /** Messages that came and had not been taken when the flow was sealed or cut. */
  get unread(): number {
    return this.#unread;
  }

  /** Messages can be taken straight, without being kept: they need not be copied. */
  get isDirect(): boolean {
    return this.#queue.isEmpty && this.#takesMessages();
  }

  start(): void {
    this.#started = true;
    this.flow();
  }

  pause(): void {
    this.#paused = true;
    this.#discards = false;
    this.#updateReading();
  }

  resume(): void {
    this.#paused = false;
    this.#discards = true;
    this.#flowSoon();
    this.#wakeIterators();
  }

  /** This side has been shut down, and the io worker has taken its pause back. */
  awaitEnd(): void {
    this.#awaitsEnd = true;
    this.#updateReading();
  }

  /** A listener has been added. */
  listenerAdded(): void {
    if (!this.#queue.isEmpty) this.#flowSoon();
  }

  /** 'close' is going out: listeners that come later get no message any more, iterations still get those that wait. */
  seal(): void {
    this.#unread += this.#queue.length;
    this.#sealed = true;
  }

  /** What still waits when the flow has been sealed. */
  takeRest(): Buffer[] {
    const rest: Buffer[] = [];
    for (let message = this.#queue.shift(); message !== undefined; message = this.#queue.shift()) rest.push(message);
    return rest;
  }

  /** Drops what waits and what comes. */
  cut(): void {
    this.#cut = true;
    this.#unread += this.#queue.clear();
    this.#wakeIterators();
  }

  /** Another thread is to get what waits here, and what follows. */
  leave(): void {
    this.#left = true;
    // Whether the socket is read is up to who comes next.
    this.#paused = false;
    this.#queue.clear();
    this.#wakeIterators();
    this.flow();
  }

  get hasLeft(): boolean {
    return this.#left;
  }

  /** The io worker keeps what came until it is told that it is done. */
  noteKept(): void {
    this.#hasKept = true;
  }

  /** The application has done with a message. */
  messageDone(): void {
    this.#messagesDone(1);
  }

  /** The application has done with a request. */
  requestDone(): void {
    if (this.#inHand.length === 0) this.#messagesDone(1);
    else this.#doneBehind++;
  }

  #messagesDone(count: number): void {
    this.#owner.onMessagesDone(count);
    if (!this.#hasKept || !this.#queue.isEmpty) return;
    this.#hasKept = false;
    this.#owner.onSettled();
  }

  /** Takes a message that need not be kept (`isDirect`) or may be. */
  push(message: Buffer): void {
    if (this.#cut) {
      this.#unread++;
      return;
    }
    if (this.isDirect) {
      this.#owner.emitMessage(message);
      return;
    }
    this.#queue.push(message);
    this.#hasKept = true;
    this.#updateReading();
    this.#wakeIterators();
  }

  /** Takes a request, which need not be kept (`isDirectForRequests`) or may be. */
  pushRequest(request: Buffer): void {
    if (this.#cut) {
      this.#unread++;
      return;
    }
    if (this.isDirectForRequests) {
      this.#owner.emitRequest(request);
      return;
    }
    this.#queue.push(request, true);
    this.#hasKept = true;
    this.#updateReading();
    // It may be in front of it what nobody listens for.
    this.#flowSoon();
  }

  /** Requests can be taken straight: they need not be copied. */
  get isDirectForRequests(): boolean {
    return this.#queue.isEmpty && this.#takesRequests();
  }

  /** Hands out what waits, as far as the application takes it. */
  flow(): void {
    // A handler that resumes or listens gets here again: the outer call goes on.
    if (this.#flowing || !(this.#started || this.#cut || this.#left)) return;
    this.#flowing = true;
    let threw = true;
    try {
      while (!this.#queue.isEmpty && this.#handOutFirst());
      this.#updateReading();
      const atWork = this.#idleIterators < this.#iterators.size;
      if (this.#isThrough() && this.#owner.emitBehindMessages(atWork)) this.#wakeIterators();
      threw = false;
    } finally {
      this.#flowing = false;
      // What is behind the message whose handler threw goes out without it.
      if (threw) {
        this.#wakeIterators();
        this.#flowSoon();
      }
    }
  }

  /** False: nobody takes it at present. */
  #handOutFirst(): boolean {
    if (this.#queue.startsWithRequest) {
      if (!this.#takesRequests()) return false;
      this.#owner.emitRequest(this.#queue.shift() as Buffer);
      return true;
    }
    if (this.#takesMessages()) {
      this.#owner.emitMessage(this.#queue.shift() as Buffer);
      return true;
    }
    if (!this.#queue.hasRequests || !this.#takesRequests() || !this.#isUnheard()) return false;
    if (!this.#owner.hasRequestListener()) return false;
    this.#queue.shift();
    this.#unread++;
    this.#owner.onTaken();
    this.#messagesDone(1);
    return true;
  }

  /** @param isOver true once no message can come any more */
  async *iterate(isOver: () => boolean): AsyncGenerator<Buffer, void, undefined> {
    let wake = (): void => {};
    const iterator = (): void => wake();
    this.#iterators.add(iterator);
    try {
      for (;;) {
        if (this.#queue.startsWithRequest) this.flow();
        const isBlocked = this.#paused || this.#queue.startsWithRequest;
        const message = isBlocked ? undefined : this.#queue.shift();
        if (message !== undefined) {
          this.#updateReading();
          if (this.#queue.startsWithRequest) this.#flowSoon();
          this.#owner.onTaken();
          const inHand = { isDone: false };
          this.#inHand.push(inHand);
          try {
            yield message;
          } finally {
            inHand.isDone = true;
            this.#noteInHand();
          }
          continue;
        }
        this.#idleIterators++;
        try {
          this.flow();
          if (isOver()) return;
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        } finally {
          this.#idleIterators--;
        }
      }
    } finally {
      this.#iterators.delete(iterator);
      this.#flowSoon();
    }
  }

  /** Only what has nothing unfinished in front of it counts as done. */
  #noteInHand(): void {
    const first = this.#inHand.findIndex(({ isDone }) => !isDone);
    const done = this.#inHand.splice(0, first === -1 ? this.#inHand.length : first);
    if (done.length === 0) return;
    const behind = this.#inHand.length === 0 ? this.#doneBehind : 0;
    this.#doneBehind -= behind;
    this.#messagesDone(done.length + behind);
    if (behind > 0) this.#flowSoon();
  }

  #takesMessages(): boolean {
    return this.#canTake() && this.#iterators.size === 0 && !this.#isUnheard();
  }

  #takesRequests(): boolean {
    return this.#canTake() && this.#doneBehind < MAX_DONE_BEHIND;
  }

  #canTake(): boolean {
    return this.#started && !this.#paused && !this.#cut && !this.#sealed && !this.#left;
  }

  /** Nothing is in front of 'end' and 'close': no message waits that anybody will take. */
  #isThrough(): boolean {
    if (this.#cut || this.#left) return true;
    return !this.#paused && (this.#queue.isEmpty || (this.#isUnheard() && !this.#queue.hasRequests));
  }

  /** Nobody wants messages. Then they are kept, but they hold up neither 'end' nor 'close'. */
  #isUnheard(): boolean {
    return !this.#discards && this.#iterators.size === 0 && !this.#owner.hasListener();
  }

  /** Lets the present handler, or whoever is adding a listener, finish first. */
  #flowSoon(): void {
    queueMicrotask(() => this.flow());
  }

  #wakeIterators(): void {
    for (const wake of this.#iterators) wake();
  }

  #updateReading(): void {
    this.#owner.onReading((this.#paused && !this.#awaitsEnd) || this.#queue.isFull);
  }
}
