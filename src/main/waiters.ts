import { setMaxListeners } from 'node:events';
import { ReactorError } from '../shared/reactor-error.js';

export interface Waiter<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** Those who wait for the same thing: mostly promises, each of which can be aborted. */
export class Waiters<T> {
  /** Only while somebody waits: there are thousands of connections for which nobody does. */
  #waiters: Set<Waiter<T>> | undefined;

  get isEmpty(): boolean {
    return this.#waiters === undefined || this.#waiters.size === 0;
  }

  /** One that is called at once, not in a microtask: in order with what else is being told. */
  add(waiter: Waiter<T>): void {
    this.#waiters ??= new Set();
    this.#waiters.add(waiter);
  }

  /** @param call for the message. Rejects with ERR_REACTOR_ABORTED when the signal is, or has been, aborted. */
  wait(call: string, signal: AbortSignal | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) {
        reject(abortError(call, signal));
        return;
      }
      const abort = (): void => {
        this.#waiters?.delete(waiter);
        if (signal !== undefined) reject(abortError(call, signal));
      };
      const settle = (): void => signal?.removeEventListener('abort', abort);
      const waiter: Waiter<T> = {
        resolve: (value) => {
          settle();
          resolve(value);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
      onAbort(signal, abort);
      this.add(waiter);
    });
  }

  resolveAll(value: T): void {
    for (const waiter of this.#take()) waiter.resolve(value);
  }

  rejectAll(error: Error): void {
    for (const waiter of this.#take()) waiter.reject(error);
  }

  #take(): Iterable<Waiter<T>> {
    const waiters = this.#waiters ?? [];
    this.#waiters = undefined;
    return waiters;
  }
}

/** Listens to an abort. Any number of calls may wait with one signal: Node's warning of leaks is not for them. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): void {
  if (signal === undefined) return;
  setMaxListeners(Number.POSITIVE_INFINITY, signal);
  signal.addEventListener('abort', listener, { once: true });
}

export function abortError(call: string, signal: AbortSignal): ReactorError {
  return new ReactorError('ERR_REACTOR_ABORTED', `${call}: the operation was aborted`, { cause: signal.reason });
}

export function throwIfAborted(call: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortError(call, signal);
}
