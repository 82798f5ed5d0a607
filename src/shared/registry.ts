import { MAX_IO_WORKERS } from './connection-id.js';
import { SharedMemory } from './shared-memory.js';

/**
 * What all threads of a reactor know: who is there, and under which thread ids. It outlives the io workers.
 *
 * ```
 *  byte 0      NEXT_NUMBER  see nextNumber                               any thread adds
 *       4      ENDED        0: it runs, 1: closed, 2: crashed            the spawning thread
 *       8      SPAWNER      its thread id                                "
 *      12      NEXT_BLOCK   blocks of ids that have been taken           any thread adds
 *      16      LOG          threshold of the log, see log-protocol.ts    any thread
 *      64 + n  io worker n  +0 THREAD_ID, -1 while there is none         "
 *       * 64                +4 EPOCH: how often it has been started      "
 * ```
 */
const WORKERS_OFFSET = 64;
const WORKER_BYTES = 64;

const registryWord = { NEXT_NUMBER: 0, ENDED: 1, SPAWNER: 2, NEXT_BLOCK: 3, LOG: 4 } as const;
const workerWord = { THREAD_ID: 0, EPOCH: 1 } as const;

const ended = { CLOSED: 1, CRASHED: 2 } as const;

const NO_THREAD = -1;

/** Ids begin above all numbers; a thread takes so many at a time. */
const FIRST_ID = 2 ** 31;
const BLOCK_IDS = 2 ** 20;

export class Registry {
  static readonly BYTES: number = WORKERS_OFFSET + MAX_IO_WORKERS * WORKER_BYTES;
  readonly memory: SharedMemory;
  /** What is left of this thread's block. */
  #nextId = 0;
  #endId = 0;

  constructor(memory: SharedMemory) {
    this.memory = memory;
  }

  static allocate(spawnerThreadId: number): Registry {
    const registry = new Registry(SharedMemory.allocate(Registry.BYTES));
    registry.memory.store(registryWord.SPAWNER, spawnerThreadId);
    for (let worker = 0; worker < MAX_IO_WORKERS; worker++) registry.noteEnded(worker);
    return registry;
  }

  /**
   * For servers, and for who came first: higher than any before, in all threads, and below 2^31. A service that makes a thousand
   * connections a second gets through 2^31 in a month, so that those get ids.
   */
  nextNumber(): number {
    return this.memory.add(registryWord.NEXT_NUMBER, 1) + 1;
  }

  /** Whether `nextNumber` has ever answered that. */
  hasNumber(number: number): boolean {
    return Number.isSafeInteger(number) && number >= 1 && number <= this.memory.load(registryWord.NEXT_NUMBER);
  }

  /** For clients and attempts to connect: no other has it, nor any server. A safe integer, in no order. */
  nextId(): number {
    if (this.#nextId === this.#endId) {
      this.#nextId = FIRST_ID + this.memory.add(registryWord.NEXT_BLOCK, 1) * BLOCK_IDS;
      this.#endId = this.#nextId + BLOCK_IDS;
    }
    return this.#nextId++;
  }

  get isEnded(): boolean {
    return this.memory.load(registryWord.ENDED) !== 0;
  }

  get wasClosed(): boolean {
    return this.memory.load(registryWord.ENDED) === ended.CLOSED;
  }

  end(how: 'closed' | 'crashed'): void {
    this.memory.store(registryWord.ENDED, how === 'closed' ? ended.CLOSED : ended.CRASHED);
  }

  /** From which level on io workers write to the log. */
  get logThreshold(): number {
    return this.memory.read(registryWord.LOG);
  }

  set logThreshold(threshold: number) {
    this.memory.store(registryWord.LOG, threshold);
  }

  get spawnerThreadId(): number {
    return this.memory.load(registryWord.SPAWNER);
  }

  noteStarted(worker: number, threadId: number): void {
    this.memory.add(wordOf(worker) + workerWord.EPOCH, 1);
    this.memory.store(wordOf(worker) + workerWord.THREAD_ID, threadId);
  }

  noteEnded(worker: number): void {
    this.memory.store(wordOf(worker) + workerWord.THREAD_ID, NO_THREAD);
  }

  /** The thread that is io worker `worker` now, or undefined. */
  threadIdOf(worker: number): number | undefined {
    const threadId = this.memory.load(wordOf(worker) + workerWord.THREAD_ID);
    return threadId === NO_THREAD ? undefined : threadId;
  }

  /** How often io worker `worker` has been started. */
  epochOf(worker: number): number {
    return this.memory.load(wordOf(worker) + workerWord.EPOCH);
  }
}

function wordOf(worker: number): number {
  return (WORKERS_OFFSET + worker * WORKER_BYTES) / 4;
}
