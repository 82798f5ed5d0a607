import { once } from 'node:events';
import { type Transferable, Worker } from 'node:worker_threads';
import type { IoWorkerData, LaneRequest } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';

/**
 * With V8's usual 48 MiB for what is short-lived, each of 10,000 idle connections takes 1.7 KB more, and echoes are no faster; with 3 MiB
 * it takes 0.9 KB less, and services are a twentieth slower (measured on Node 20, x86-64).
 */
const YOUNG_GENERATION_MIB = 16;

/** The thread of an io worker, as the thread that started it sees it. */
export class IoWorkerThread {
  readonly #worker: Worker;
  #error: unknown;
  #terminated = false;

  private constructor(workerData: IoWorkerData) {
    this.#worker = new Worker(new URL('../io-worker/index.js', import.meta.url), {
      name: `simple-reactor io ${workerData.worker}`,
      workerData,
      transferList: workerData.log === undefined ? [] : [workerData.log.port],
      // The application's loaders and preloads have no business there, and some need the main thread to make progress.
      execArgv: [],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    this.#worker.on('error', (error) => {
      this.#error = error;
    });
  }

  /** @param onCrash called at most once, if the thread ends and `terminate` was not called */
  static async start(workerData: IoWorkerData, onCrash: (error: ReactorError) => void): Promise<IoWorkerThread> {
    const thread = new IoWorkerThread(workerData);
    const ready = once(thread.#worker, 'message');
    const exited = once(thread.#worker, 'exit').catch(() => undefined);
    const outcome = await Promise.race([
      ready.then(
        () => 'ready',
        () => 'failed',
      ),
      exited.then(() => 'failed'),
    ]);
    if (outcome === 'failed') throw thread.#crashError('did not start');
    thread.#worker.once('exit', (code) => {
      if (!thread.#terminated) onCrash(thread.#crashError(`ended unexpectedly (exit code ${code})`));
    });
    thread.#worker.unref();
    return thread;
  }

  get threadId(): number {
    return this.#worker.threadId;
  }

  requestLane(request: LaneRequest, ports: readonly Transferable[]): void {
    this.#worker.postMessage(request, ports);
  }

  /** Ends the thread, now. */
  async terminate(): Promise<void> {
    this.#terminated = true;
    await this.#worker.terminate();
  }

  #crashError(what: string): ReactorError {
    const cause = this.#error;
    // Anything can be thrown.
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `The io worker ${what}${cause === undefined ? '' : `: ${why}`}`;
    return new ReactorError('ERR_REACTOR_IO_WORKER_CRASH', message, cause === undefined ? {} : { cause });
  }
}
