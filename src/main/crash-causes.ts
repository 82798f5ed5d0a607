import type { ReactorError } from '../shared/reactor-error.js';

/** An io worker in one of its lives. */
export interface IoThread {
  readonly worker: number;
  readonly ioThreadId: number;
}

/** Calls back with the reason why something is not answered, when it is known. */
export type Tell = (reject: (error: ReactorError) => void) => void;

interface Waiting {
  readonly of: IoThread;
  readonly callback: () => void;
  readonly timer: NodeJS.Timeout;
}

/** Whoever wants to know what an io worker has died of does not wait for longer. */
const MAX_WAIT_MS = 1000;

/**
 * What io workers have died of. Only the thread that has spawned them is told, and that a moment after their ports have closed, which is what
 * others notice of it.
 */
export class CrashCauses {
  readonly #isTold: boolean;
  /** The last one of each io worker. */
  readonly #last = new Map<number, { readonly ioThreadId: number; readonly error: ReactorError }>();
  readonly #waiting = new Set<Waiting>();

  /** @param isTold this thread has spawned the io workers */
  constructor(isTold: boolean) {
    this.#isTold = isTold;
  }

  tell({ worker, ioThreadId }: IoThread, error: ReactorError): void {
    this.#last.set(worker, { ioThreadId, error });
    for (const each of this.#waiting) if (each.of.ioThreadId === ioThreadId) this.#end(each);
  }

  of({ worker, ioThreadId }: IoThread): ReactorError | undefined {
    const last = this.#last.get(worker);
    return last?.ioThreadId === ioThreadId ? last.error : undefined;
  }

  /** Calls back when it is known; at once if it is already, or never will be. */
  whenKnown(of: IoThread, callback: () => void): void {
    if (!this.#isTold || this.of(of) !== undefined) {
      callback();
      return;
    }
    // It also keeps the thread alive: with the ports has gone what did.
    const timer = setTimeout(() => this.#end(waiting), MAX_WAIT_MS);
    const waiting: Waiting = { of, callback, timer };
    this.#waiting.add(waiting);
  }

  /** Nothing more will be told. */
  stop(): void {
    for (const each of this.#waiting) this.#end(each);
  }

  #end(waiting: Waiting): void {
    clearTimeout(waiting.timer);
    this.#waiting.delete(waiting);
    waiting.callback();
  }
}
