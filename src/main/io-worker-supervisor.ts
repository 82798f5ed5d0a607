import type { Transferable } from 'node:worker_threads';
import { ConnectionTable } from '../shared/connection-table.js';
import type { LaneRequest, SocketWays } from '../shared/control-protocol.js';
import type { LaneSizes } from '../shared/lane.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { type ErrorData, type ReactorError, thrownErrorData, toErrorData } from '../shared/reactor-error.js';
import type { Registry } from '../shared/registry.js';
import { StatusBoard } from '../shared/status-board.js';
import type { IoThread } from './crash-causes.js';
import { IoWorkerThread } from './io-worker-thread.js';
import type { LogReceiver } from './log-receiver.js';

/** The first time an io worker is started again after so long, then twice as long each time. */
const MIN_RESPAWN_MS = 50;
const MAX_RESPAWN_MS = 30_000;
/** One that has run for so long has not crashed because of how it was started. */
const STEADY_MS = 30_000;

export interface IoWorkerSettings {
  readonly sizes: LaneSizes;
  readonly sockets: SocketWays;
  readonly respawn: boolean;
  readonly log: LogReceiver | undefined;
}

interface Supervised {
  thread: IoWorkerThread | undefined;
  table: ConnectionTable;
  startedAt: number;
  delayMs: number;
  timer: NodeJS.Timeout | undefined;
  /** The last one. */
  crash: ReactorError | undefined;
}

/**
 * Starts the io workers of a reactor, and starts them again when they die. It runs in the thread that spawned the reactor;
 * all threads find the present io workers in the registry.
 */
export class IoWorkerSupervisor {
  readonly #registry: Registry;
  readonly #settings: IoWorkerSettings;
  readonly #workers: Supervised[] = [];
  /** Told of each crash. */
  readonly #onCrash: (of: IoThread, error: ReactorError) => void;
  #stopped = false;

  constructor(registry: Registry, settings: IoWorkerSettings, onCrash: (of: IoThread, error: ReactorError) => void) {
    this.#registry = registry;
    this.#settings = settings;
    this.#onCrash = onCrash;
  }

  /** Starts `count` io workers. Rejects with ERR_REACTOR_IO_WORKER_CRASH. */
  async start(count: number): Promise<void> {
    for (let worker = 0; worker < count; worker++) {
      const table = ConnectionTable.allocate(this.#settings.sizes.slots);
      this.#workers.push({
        thread: undefined,
        table,
        startedAt: 0,
        delayMs: MIN_RESPAWN_MS,
        timer: undefined,
        crash: undefined,
      });
    }
    try {
      await Promise.all(this.#workers.map((_, worker) => this.#run(worker)));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  requestLane(worker: number, request: LaneRequest, ports: readonly Transferable[]): void {
    this.#workers[worker]?.thread?.requestLane(request, ports);
  }

  /** Ends them all, for good. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const { timer } of this.#workers) clearTimeout(timer);
    this.#settings.log?.drain();
    await Promise.all(this.#workers.map(({ thread }) => thread?.terminate()));
  }

  async #run(worker: number): Promise<void> {
    const supervised = this.#workers[worker] as Supervised;
    const data = {
      worker,
      ioWorkers: this.#workers.length,
      firstFreshServer: this.#registry.nextNumber(),
      board: StatusBoard.allocate().memory.buffer,
      table: supervised.table.memory.buffer,
      firstGeneration: supervised.table.firstGeneration,
      sizes: this.#settings.sizes,
      predecessorError: supervised.crash && reasonOf(supervised.crash),
      sockets: this.#settings.sockets,
      registry: this.#registry.memory.buffer,
      log: this.#settings.log?.open(),
    };
    const thread = await IoWorkerThread.start(data, (error) => this.#crashed(worker, error));
    if (this.#stopped) {
      await thread.terminate();
      return;
    }
    supervised.thread = thread;
    supervised.startedAt = monotonicMs();
    this.#registry.noteStarted(worker, thread.threadId);
  }

  #crashed(worker: number, error: ReactorError): void {
    const supervised = this.#workers[worker] as Supervised;
    supervised.thread = undefined;
    supervised.crash = error;
    const ioThreadId = this.#registry.threadIdOf(worker) ?? -1;
    this.#registry.noteEnded(worker);
    // Threads that never yield see it in the table.
    const generation = supervised.table.closeAll();
    // A table of its own for the next one: nobody may charge what is now nobody's, and no id may come again.
    supervised.table = ConnectionTable.allocate(this.#settings.sizes.slots, generation);
    if (this.#settings.respawn && !this.#stopped) {
      if (monotonicMs() - supervised.startedAt > STEADY_MS) supervised.delayMs = MIN_RESPAWN_MS;
      this.#startLater(worker);
    }
    this.#onCrash({ worker, ioThreadId }, error);
  }

  #startLater(worker: number): void {
    const supervised = this.#workers[worker] as Supervised;
    const { delayMs } = supervised;
    supervised.delayMs = Math.min(2 * delayMs, MAX_RESPAWN_MS);
    supervised.timer = setTimeout(() => {
      this.#run(worker).catch(() => {
        if (!this.#stopped) this.#startLater(worker);
      });
    }, delayMs);
    // What somebody waits for keeps the process alive by itself.
    supervised.timer.unref();
  }
}

/** What it was that nobody has caught, with its stack; that of the crash itself says nothing. */
function reasonOf(crash: ReactorError): ErrorData {
  return crash.cause === undefined ? toErrorData(crash) : thrownErrorData(crash.cause);
}
