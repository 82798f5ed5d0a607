/**
 * A ConnectionId names one connection for the whole life of a reactor, in every thread:
 *
 * ```
 *   52            27 26         6 5        0
 *  +----------------+------------+----------+
 *  | generation 26  | slot 21    | worker 6 |      a safe integer, never 0
 *  +----------------+------------+----------+
 * ```
 * It can be posted to a thread, put into a job or stored. The generation changes each time a slot is used again, so an
 * old id never names the slot's next connection.
 */
export type ConnectionId = number;

const WORKER_BITS = 6;
const SLOT_BITS = 21;
const GENERATION_BITS = 26;

export const MAX_IO_WORKERS: number = 2 ** WORKER_BITS;
export const MAX_SLOTS: number = 2 ** SLOT_BITS;
/** A slot that has seen this many connections is retired. */
export const MAX_GENERATION: number = 2 ** GENERATION_BITS - 1;

export function connectionId(worker: number, slot: number, generation: number): ConnectionId {
  return (generation * MAX_SLOTS + slot) * MAX_IO_WORKERS + worker;
}

export function workerOf(id: ConnectionId): number {
  return id % MAX_IO_WORKERS;
}

export function slotOf(id: ConnectionId): number {
  return Math.floor(id / MAX_IO_WORKERS) % MAX_SLOTS;
}

export function generationOf(id: ConnectionId): number {
  return Math.floor(id / (MAX_IO_WORKERS * MAX_SLOTS));
}
