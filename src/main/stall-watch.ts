/** A thread that has events waiting and does not handle them. */
export interface Stall {
  readonly threadId: number;
  /** For how long it has handled none, in ms. */
  readonly stalledMs: number;
  /** Bytes of events that wait for it. */
  readonly waitingBytes: number;
}

/** Looks at the progress of all threads now and then, and reports each stall once. Only runs where somebody listens. */
export class StallWatch {
  readonly #afterMs: number;
  readonly #progress: () => Stall[];
  readonly #report: (stall: Stall) => void;
  readonly #stalled = new Set<number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(afterMs: number, progress: () => Stall[], report: (stall: Stall) => void) {
    this.#afterMs = afterMs;
    this.#progress = progress;
    this.#report = report;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), Math.max(5, this.#afterMs / 4)).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stalled.clear();
  }

  #look(): void {
    for (const stall of this.#progress()) {
      if (stall.stalledMs < this.#afterMs) this.#stalled.delete(stall.threadId);
      else if (!this.#stalled.has(stall.threadId)) {
        this.#stalled.add(stall.threadId);
        this.#report(stall);
      }
    }
  }
}
