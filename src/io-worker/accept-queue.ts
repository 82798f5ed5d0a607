/** So many become connections in one iteration of the loop: others are to be heard in between. */
const MOST_AT_ONCE = 8;

interface Waiting<Socket> {
  readonly socket: Socket;
  readonly acceptedAt: number;
}

/**
 * Accepted sockets that are not connections yet.
 *
 * libuv accepts one socket in an iteration of its loop. To make a connection of it takes several times as long, and in a storm the kernel's
 * queue would overflow meanwhile: it drops what comes then, and those peers try again only after a second. So, while sockets come in one
 * iteration after the other, they gather here, and become connections when none has come.
 *
 * ```
 *  iteration    1    2    3    4       5    6
 *  accepted     a    b    c            d
 *  opened       a              b, c         d
 * ```
 */
export class AcceptQueue<Socket> {
  readonly #limit: number;
  readonly #now: () => number;
  readonly #open: (socket: Socket, waitedMs: number) => void;
  readonly #waiting: Waiting<Socket>[] = [];
  /** Whether this iteration, or the one before, has brought one, or some wait. */
  #isBusy = false;
  #hasCome = false;

  /** @param limit how many may wait: each that comes on top has the first of them opened, though others may follow */
  constructor(limit: number, now: () => number, open: (socket: Socket, waitedMs: number) => void) {
    this.#limit = limit;
    this.#now = now;
    this.#open = open;
  }

  add(socket: Socket): void {
    this.#hasCome = true;
    if (this.#isBusy) {
      this.#waiting.push({ socket, acceptedAt: this.#now() });
      return;
    }
    this.#lookLater();
    // Mostly no other follows.
    this.#open(socket, 0);
  }

  /** Those that wait are the caller's from now on. */
  takeAll(): Socket[] {
    return this.#waiting.splice(0).map(({ socket }) => socket);
  }

  #lookLater(): void {
    this.#isBusy = true;
    setImmediate(this.#look);
  }

  readonly #look = (): void => {
    const moreMayCome = this.#hasCome;
    this.#hasCome = false;
    this.#isBusy = false;
    const waiting = this.#waiting;
    const most = moreMayCome ? Math.max(0, waiting.length - this.#limit) : MOST_AT_ONCE;
    if (moreMayCome || waiting.length > most) this.#lookLater();
    for (const { socket, acceptedAt } of waiting.splice(0, most)) this.#open(socket, this.#now() - acceptedAt);
  };
}
