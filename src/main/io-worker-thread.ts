import { once } from 'node:events';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { ControlResult, IoWorkerControl, IoWorkerData } from '../shared/control-protocol.js';
import { fromErrorData, ReactorError } from '../shared/reactor-error.js';

type Methods = {
  [K in keyof IoWorkerControl]: (...args: Parameters<IoWorkerControl[K]>) => ReturnType<IoWorkerControl[K]>;
};
/** What a call answers if it succeeds. */
export type ControlValue<K extends keyof IoWorkerControl> = IoWorkerControl[K] extends (
  ...args: never[]
) => ControlResult<infer T>
  ? T
  : never;

/** What an io worker is started with, but for the ports. */
export type IoWorkerStart = Omit<IoWorkerData, 'lane'> & {
  lane: Omit<IoWorkerData['lane'], 'doorbellPort' | 'controlPort'>;
};

/** The io worker as the thread that started it sees it: its thread, the doorbell port, and calls on the control plane. */
export class IoWorkerThread {
  readonly doorbellPort: MessagePort;
  readonly #worker: Worker;
  readonly #controlPort: MessagePort;
  readonly #control: comlink.Remote<Methods>;
  readonly #calls = new Set<(error: ReactorError) => void>();
  #error: Error | undefined;
  /** Set when the thread has ended, or is about to. */
  #endError: ReactorError | undefined;

  private constructor(start: IoWorkerStart) {
    const doorbell = new MessageChannel();
    const control = new MessageChannel();
    this.doorbellPort = doorbell.port1;
    this.#controlPort = control.port1;
    const workerData: IoWorkerData = {
      ...start,
      lane: { ...start.lane, doorbellPort: doorbell.port2, controlPort: control.port2 },
    };
    this.#worker = new Worker(new URL('../io-worker/index.js', import.meta.url), {
      name: 'simple-reactor io',
      workerData,
      transferList: [doorbell.port2, control.port2],
      // The application's loaders and preloads have no business there, and some need the main thread to make progress.
      execArgv: [],
    });
    this.#worker.on('error', (error) => {
      this.#error = error;
    });
    this.#control = comlink.wrap<Methods>(nodeEndpoint(this.#controlPort));
    // What keeps the process alive is the doorbell port, for as long as anything is open.
    this.#controlPort.unref();
  }

  /** @param onCrash called at most once, if the thread ends and `terminate` was not called */
  static async start(start: IoWorkerStart, onCrash: (error: ReactorError) => void): Promise<IoWorkerThread> {
    const thread = new IoWorkerThread(start);
    const ready = once(thread.#worker, 'message');
    const exited = once(thread.#worker, 'exit').catch(() => undefined);
    const outcome = await Promise.race([
      ready.then(
        () => 'ready',
        () => 'failed',
      ),
      exited.then(() => 'failed'),
    ]);
    if (outcome === 'failed') {
      const cause = thread.#error;
      const message = `The io worker did not start${cause === undefined ? '' : `: ${cause.message}`}`;
      throw new ReactorError('ERR_REACTOR_IO_WORKER_CRASH', message, cause === undefined ? {} : { cause });
    }
    thread.#worker.on('exit', () => thread.#onExit(onCrash));
    thread.#worker.unref();
    return thread;
  }

  /** Calls the io worker. Rejects with its error, or with ERR_REACTOR_CLOSED or ERR_REACTOR_IO_WORKER_CRASH if it ends first. */
  async call<K extends keyof IoWorkerControl>(
    method: K,
    ...args: Parameters<IoWorkerControl[K]>
  ): Promise<ControlValue<K>> {
    if (this.#endError !== undefined) throw this.#endError;
    const result = await new Promise<Awaited<ControlResult<unknown>>>((resolve, reject) => {
      this.#calls.add(reject);
      const invoke = this.#control[method] as unknown as (...args: unknown[]) => ControlResult<unknown>;
      invoke(...args)
        .then(resolve, reject)
        .finally(() => this.#calls.delete(reject));
    });
    if (!result.ok) throw fromErrorData(result.error);
    return result.value as ControlValue<K>;
  }

  /** Ends the thread, now. */
  async terminate(): Promise<void> {
    this.#end(new ReactorError('ERR_REACTOR_CLOSED', 'The reactor is closed'));
    await this.#worker.terminate();
  }

  #onExit(onCrash: (error: ReactorError) => void): void {
    if (this.#endError !== undefined) return;
    const cause = this.#error;
    const message = `The io worker ended unexpectedly${cause === undefined ? '' : `: ${cause.message}`}`;
    const error = new ReactorError('ERR_REACTOR_IO_WORKER_CRASH', message, cause === undefined ? {} : { cause });
    this.#end(error);
    onCrash(error);
  }

  #end(error: ReactorError): void {
    this.#endError ??= error;
    for (const reject of this.#calls) reject(error);
    this.#calls.clear();
    this.doorbellPort.close();
    this.#controlPort.close();
  }
}
