import { InboundQueue } from './inbound-queue.js';

/** The io worker keeps what is not done with, and what comes behind it: so many requests may be done before messages in front of them. */
const MAX_OVERTAKEN = 1024;

/** In place of what most connections never need: there are thousands of them. Nothing is ever added to it. */
const NONE: Set<never> = new Set();

/** The connection that the messages are for. */
export interface FlowOwner {
  /** Somebody listens for messages. */
  hasListener(): boolean;
  /**
   * @param discards it has been dropped if nobody listens
   * @returns false: nobody listens, and nothing has happened
   */
  emitMessage(message: Buffer, discards: boolean): boolean;
  /** Somebody listens for requests. */
  hasRequestListener(): boolean;
  /** @param number see `requestDone` */
  emitRequest(request: Buffer, number: number): void;
  /**
   * No message is in front of what comes behind the messages: 'end', 'close'. True if there was any of it.
   * @param atWork an iteration has not finished with the last message, and may still want to answer it
   */
  emitBehindMessages(atWork: boolean): boolean;
  /** Calls it when the present handler has finished. @param flow returns true if it has handed out anything */
  soon(flow: () => boolean): void;
  /** The socket is not to be read, or again. */
  onReading(stopped: boolean): void;
  /** An iteration has taken a message. */
  onTaken(): void;
  /** The application has done with so many further messages, and with all in front of them. */
  /** @param threw the handler of the last of them has thrown */
  onMessagesDone(count: number, threw: boolean): void;
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
 * Requests need no listener for messages, but keep their place among them, with two exceptions. They overtake those that wait for an
 * iteration, which may itself wait for a peer that asks something first. And a message that nobody listens for does not hold
 * them up: it is dropped, and counted.
 */
export class InboundFlow {
  readonly #owner: FlowOwner;
  readonly #queue = new InboundQueue();
  readonly #requests = new InboundQueue();
  /** How many messages and requests have come, and how many from the front are done. */
  #arrived = 0;
  #front = 0;
  /** Requests that are done, and something in front of them is not: by their number, from 1 on. */
  #overtaken: Set<number> = NONE;
  /** What wakes each iteration that is under way. */
  #iterators: Set<() => void> = NONE;
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
    this.flowSoon();
    this.#wakeIterators();
  }

  /** This side has been shut down, and the io worker has taken its pause back. */
  awaitEnd(): void {
    this.#awaitsEnd = true;
    this.#updateReading();
  }

  /** A listener has been added. */
  listenerAdded(): void {
    if (!this.#queue.isEmpty || !this.#requests.isEmpty) this.flowSoon();
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
    this.#unread += this.#queue.clear() + this.#requests.clear();
    this.#wakeIterators();
  }

  /** Another thread is to get what waits here, and what follows. */
  leave(): void {
    this.#left = true;
    // Whether the socket is read is up to who comes next.
    this.#paused = false;
    this.#queue.clear();
    this.#requests.clear();
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

  /** The application has done with a message. @param threw its handler has thrown */
  messageDone(threw: boolean): void {
    this.#messagesDone(1, threw);
  }

  /** The application has done with a request. */
  requestDone(request: number, threw: boolean): void {
    if (request === this.#front + 1) this.#messagesDone(1, threw);
    else {
      if (this.#overtaken === NONE) this.#overtaken = new Set();
      this.#overtaken.add(request);
    }
  }

  /** Requests that are done, by their place among what is not: 0 would be the first. */
  get overtaken(): number[] {
    return [...this.#overtaken].map((request) => request - this.#front - 1);
  }

  #messagesDone(count: number, threw = false): void {
    const before = this.#front;
    this.#front += count;
    if (this.#overtaken.size > 0) while (this.#overtaken.delete(this.#front + 1)) this.#front++;
    this.#owner.onMessagesDone(this.#front - before, threw);
    if (!this.#hasKept || !this.#queue.isEmpty || !this.#requests.isEmpty) return;
    this.#hasKept = false;
    this.#owner.onSettled();
  }

  /** @param isBorrowed it is valid only during the call, and copied if it has to be kept */
  push(message: Buffer, isBorrowed: boolean): void {
    this.#arrived++;
    if (this.#cut) {
      this.#unread++;
      return;
    }
    // Whether anybody listens shows when it has gone out: to ask first would cost as much again.
    const isNext = this.#queue.isEmpty && this.#requests.isEmpty && this.#iterators.size === 0 && this.#canTake();
    if (isNext && this.#owner.emitMessage(message, this.#discards)) return;
    this.#queue.push(isBorrowed ? Buffer.from(message) : message, this.#arrived);
    this.#hasKept = true;
    this.#updateReading();
    this.#wakeIterators();
  }

  /** Takes a request, which need not be kept (`isDirectForRequests`) or may be. */
  pushRequest(request: Buffer): void {
    this.#arrived++;
    if (this.#cut) {
      this.#unread++;
      return;
    }
    if (this.isDirectForRequests) {
      this.#owner.emitRequest(request, this.#arrived);
      return;
    }
    this.#requests.push(request, this.#arrived);
    this.#hasKept = true;
    this.#updateReading();
    // It may be in front of it what nobody listens for.
    this.flowSoon();
  }

  /** Requests can be taken straight: they need not be copied. */
  get isDirectForRequests(): boolean {
    if (!this.#takesRequests() || !this.#requests.isEmpty) return false;
    return this.#queue.isEmpty || this.#iterators.size > 0;
  }

  /** Hands out what waits, as far as the application takes it. Returns whether there was anything. */
  flow(): boolean {
    // A handler that resumes or listens gets here again: the outer call goes on.
    if (this.#flowing || !(this.#started || this.#cut || this.#left)) return false;
    this.#flowing = true;
    let threw = true;
    let isBusy = false;
    try {
      while (this.#handOutFirst()) isBusy = true;
      this.#updateReading();
      const atWork = this.#idleIterators < this.#iterators.size;
      if (this.#isThrough() && this.#owner.emitBehindMessages(atWork)) {
        isBusy = true;
        this.#wakeIterators();
      }
      threw = false;
    } finally {
      this.#flowing = false;
      // What is behind the message whose handler threw goes out without it.
      if (threw) {
        this.#wakeIterators();
        this.flowSoon();
      }
    }
    return isBusy;
  }

  /** False: there is nothing that anybody takes at present. */
  #handOutFirst(): boolean {
    const number = this.#requests.first;
    const mayOvertake = this.#iterators.size > 0;
    if (this.#takesRequests() && (mayOvertake || number < this.#queue.first)) {
      const request = this.#requests.shift();
      if (request !== undefined) {
        this.#owner.emitRequest(request, number);
        return true;
      }
    }
    if (this.#queue.isEmpty) return false;
    if (this.#takesMessages()) {
      this.#owner.emitMessage(this.#queue.shift() as Buffer, this.#discards);
      return true;
    }
    const isInTheWay = !this.#requests.isEmpty && this.#isUnheard() && this.#owner.hasRequestListener();
    if (!isInTheWay || !this.#takesRequests()) return false;
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
    if (this.#iterators === NONE) this.#iterators = new Set();
    this.#iterators.add(iterator);
    try {
      for (;;) {
        const message = this.#paused ? undefined : this.#queue.shift();
        if (message !== undefined) {
          this.#updateReading();
          if (!this.#requests.isEmpty) this.flowSoon();
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
      this.flowSoon();
    }
  }

  /** Only what has nothing unfinished in front of it counts as done. */
  #noteInHand(): void {
    const first = this.#inHand.findIndex(({ isDone }) => !isDone);
    const done = this.#inHand.splice(0, first === -1 ? this.#inHand.length : first);
    if (done.length === 0) return;
    this.#messagesDone(done.length);
    if (!this.#requests.isEmpty) this.flowSoon();
  }

  #takesMessages(): boolean {
    return this.#canTake() && this.#iterators.size === 0 && !this.#isUnheard();
  }

  #takesRequests(): boolean {
    return this.#canTake() && this.#overtaken.size < MAX_OVERTAKEN;
  }

  #canTake(): boolean {
    return this.#started && !this.#paused && !this.#cut && !this.#sealed && !this.#left;
  }

  /** Nothing is in front of 'end' and 'close': no message waits that anybody will take. */
  #isThrough(): boolean {
    if (this.#cut || this.#left) return true;
    return !this.#paused && this.#requests.isEmpty && (this.#queue.isEmpty || this.#isUnheard());
  }

  /** Nobody wants messages. Then they are kept, but they hold up neither 'end' nor 'close'. */
  #isUnheard(): boolean {
    return !this.#discards && this.#iterators.size === 0 && !this.#owner.hasListener();
  }

  /** Lets the present handler, or whoever is adding a listener, finish first. */
  flowSoon(): void {
    this.#owner.soon(() => this.flow());
  }

  #wakeIterators(): void {
    for (const wake of this.#iterators) wake();
  }

  #updateReading(): void {
    this.#owner.onReading((this.#paused && !this.#awaitsEnd) || this.#queue.isFull || this.#requests.isFull);
  }
}
