import { Reactor } from './reactor.js';
import type { ReactorHandle } from './reactor-handle.js';

/**
 * Gives this thread its own way to a reactor that another thread has spawned. Once in each thread: calling it again with the same
 * handle resolves with the same Reactor.
 *
 * Resolves when all io workers have answered. The request goes by way of the main thread: while that is blocked, it waits.
 *
 * Rejects with ERR_REACTOR_INVALID_ARGUMENT, ERR_REACTOR_TOO_MANY_THREADS (32), ERR_REACTOR_CLOSED. Thread: any.
 */
export async function attach(handle: ReactorHandle): Promise<Reactor> {
  return Reactor.attach(handle);
}
