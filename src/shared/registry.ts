import { MAX_LANES } from './connection-table.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What the threads of one reactor know about each other.
 *
 * ```
 *  byte 0      EPOCH             changes whenever an io worker is started                     the spawning thread
 *       4      NEXT_ID           server and client ids                                        any thread adds
 *       8      IO_THREAD_ID      node:worker_threads threadId of the io worker                io worker
 *      64      counters, f64     see registryCounter                                          io worker
 *     256      IO_ASLEEP         doorbell word of the io worker                               doorbell.ts
 *     384 + n  lane n            +0 doorbell word of its app thread                           doorbell.ts
 *       * 128                    +4 thread id                                                 that app thread
 *                                +8 PROGRESS: moves with every turn that handles events       that app thread
 * ```
 */
const IO_ASLEEP_OFFSET = 256;
const LANES_OFFSET = 384;
const LANE_BYTES = 128;
const REGISTRY_BYTES = LANES_OFFSET + MAX_LANES * LANE_BYTES;

const registryWord = { EPOCH: 0, NEXT_ID: 1, IO_THREAD_ID: 2 } as const;

export const IO_SLEEP_WORD: number = IO_ASLEEP_OFFSET / 4;

/** Counters of the io worker, as indices of 8-byte columns. */
export const registryCounter = {
  ACCEPTED: 8,
  CONNECTED: 9,
  REFUSED: 10,
  CLOSED: 11,
  IGNORED_FRAMES: 12,
  READ_PAUSES: 13,
  TURNS: 14,
} as const;
export type RegistryCounter = (typeof registryCounter)[keyof typeof registryCounter];

export class Registry {
  readonly memory: SharedMemory;
  readonly #counters: Float64Array;

  constructor(memory: SharedMemory) {
    this.memory = memory;
    this.#counters = new Float64Array(memory.buffer);
  }

  static allocate(): Registry {
    return new Registry(SharedMemory.allocate(REGISTRY_BYTES));
  }

  static laneSleepWord(lane: number): number {
    return (LANES_OFFSET + lane * LANE_BYTES) / 4;
  }

  get epoch(): number {
    return this.memory.load(registryWord.EPOCH);
  }

  startEpoch(): void {
    this.memory.add(registryWord.EPOCH, 1);
  }

  /** A number for a server or a client that no other server or client of this reactor has. */
  nextId(): number {
    return this.memory.add(registryWord.NEXT_ID, 1) + 1;
  }

  get ioThreadId(): number {
    return this.memory.load(registryWord.IO_THREAD_ID);
  }

  set ioThreadId(threadId: number) {
    this.memory.store(registryWord.IO_THREAD_ID, threadId);
  }

  setLaneThread(lane: number, threadId: number): void {
    this.memory.store(Registry.laneSleepWord(lane) + 1, threadId);
  }

  noteLaneProgress(lane: number): void {
    this.memory.add(Registry.laneSleepWord(lane) + 2, 1);
  }

  count(counter: RegistryCounter, by = 1): void {
    (this.#counters[counter] as number) += by;
  }

  counter(counter: RegistryCounter): number {
    return this.#counters[counter] as number;
  }
}
