import { EventEmitter, setMaxListeners } from 'node:events';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError } from '../shared/reactor-error.js';
import { withDeadline } from './deadline.js';
import { showAs } from './inspection.js';
import type { LogicTask } from './logic-worker.js';
import { checkLogicPool, checkLogicPoolClose } from './option-checks.js';
import { DEFAULT_DRAIN_MS, type LogicPoolCloseOptions, type LogicPoolOptions } from './options.js';
import { surfaceErrors } from './surface.js';
import { TcpServer } from './tcp-server.js';
import { markUncloneable } from './uncloneable.js';

/** A thread that dies again and again is started again after this, then twice as long each time. */
const MIN_RESTART_MS = 10;
const MAX_RESTART_MS = 5000;
/** One that has lived for so long has not died of how it was started. */
const STEADY_MS = 5000;

export interface LogicRestart {
  /** Which of the pool's threads. */
  readonly index: number;
  /** What it died of: what was thrown, or a ReactorError (ERR_REACTOR_LOGIC_FAILED) if it has exited. */
  readonly error: Error;
  /** If it has ended by `process.exit()`. */
  readonly exitCode?: number;
}

export interface LogicPoolEvents {
  /** A thread that replaces one that has died gets connections from now on. */
  ready: [logic: { readonly index: number }];
  /** A thread has died and is being replaced; its connections have gone to the others. */
  restart: [restart: LogicRestart];
  /**
   * Something has failed in a thread that was about to end: its `stop`, or what it had left behind. ERR_REACTOR_LOGIC_FAILED, whose `cause`
   * has what was thrown. Without a listener it is a warning of the process.
   */
  error: [error: Error];
}

/** What Piscina says of a thread that was in the middle of its task. */
const EXITED = /^worker exited with code: (-?\d+)$/;

interface Logic {
  readonly index: number;
  port: MessagePort | undefined;
  run: Promise<void>;
}

/**
 * Threads that share the connections of a server, and are replaced when they die. Each runs the same logic module; the io worker hands
 * each of them its connections' events directly, the thread that started the pool sees none of them.
 */
export class LogicPool extends EventEmitter<LogicPoolEvents> {
  readonly #piscina: Piscina;
  readonly #task: Omit<LogicTask, 'port' | 'index'>;
  readonly #server: TcpServer;
  #logics: Logic[] = [];
  /** Aborted when no thread is to be started any more. */
  readonly #stopping = new AbortController();
  /** Threads that are still there are being terminated, which is no failure of theirs. */
  #terminating = false;
  #closing: Promise<void> | undefined;
  /** Aborted by the shortest deadline of all who close it. */
  readonly #late = new AbortController();
  readonly #onServerClose = (): void => void this.close();

  static {
    showAs(LogicPool, 'LogicPool', (pool) => {
      const state = pool.#terminating ? 'closed' : pool.#stopping.signal.aborted ? 'closing' : 'open';
      return { server: pool.#server.id, state, threads: pool.threads };
    });
  }

  private constructor(server: TcpServer, piscina: Piscina, task: Omit<LogicTask, 'port' | 'index'>) {
    super();
    markUncloneable(this);
    this.#server = server;
    this.#piscina = piscina;
    this.#task = task;
    server.once('close', this.#onServerClose);
    server.pools.add(this);
    // Any number of threads may wait for it.
    setMaxListeners(0, this.#stopping.signal);
    piscina.on('error', (error: Error) => this.#report(this.#failure('a thread', error)));
  }

  /**
   * Starts the threads. Resolves when all of them have started their logic and get connections.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION (also for a server whose dispatch is 'owner'), or ERR_REACTOR_LOGIC_FAILED if the module
   * cannot be loaded or its `start` fails. Thread: any.
   */
  static async start(server: TcpServer, options: LogicPoolOptions): Promise<LogicPool> {
    checkLogicPool(server instanceof TcpServer ? server.request?.dispatch : undefined, options);
    const { threads = Math.max(1, availableParallelism() - 1), filename, data } = options;
    // Only who starts a pool pays for loading it.
    const { Piscina } = await import('piscina');
    const piscina = new Piscina({
      filename: fileURLToPath(new URL('./logic-worker-entry.cjs', import.meta.url)),
      name: 'runLogic',
      minThreads: threads,
      maxThreads: threads,
      // Otherwise idle threads wait in Atomics.wait, where they hear no doorbell.
      atomics: 'disabled',
    });
    const url =
      filename instanceof URL || filename.startsWith('file:') ? String(filename) : pathToFileURL(filename).href;
    const pool = new LogicPool(server, piscina, { handle: server.handle, server: server.id, filename: url, data });
    try {
      await Promise.all(Array.from({ length: threads }, (_, index) => pool.#start(index)));
    } catch (error) {
      await pool.close({ timeoutMs: 0 });
      if (error instanceof DOMException && error.name === 'DataCloneError') {
        const message = `LogicPool.start(): option 'data' must be something that can be cloned: ${error.message}`;
        throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
      }
      const thrown = error instanceof Error ? error.message : String(error);
      const why = server.isOver ? 'the server was closed' : thrown;
      const message = `LogicPool.start(): the logic in ${url} could not be started: ${why}`;
      throw new ReactorError('ERR_REACTOR_LOGIC_FAILED', message, { cause: error });
    }
    return pool;
  }

  /** How many threads it has. Thread: app. */
  get threads(): number {
    return this.#logics.length;
  }

  /**
   * Its threads leave the server: handlers that run finish, other subscribers get the connections, or they are held. Then the threads
   * end; those that have not after `timeoutMs` are terminated. Close the server first if its connections are to end with the pool.
   * Twice is the same as once. Throws ERR_REACTOR_INVALID_OPTION. Thread: app.
   */
  async close(options: LogicPoolCloseOptions = {}): Promise<void> {
    checkLogicPoolClose(options);
    const { timeoutMs = DEFAULT_DRAIN_MS } = options;
    this.#closing ??= this.#close();
    await withDeadline(timeoutMs, async (deadline) => {
      deadline.addEventListener('abort', () => this.#late.abort());
      await this.#closing;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#stopping.abort();
    this.#server.off('close', this.#onServerClose);
    const late = new Promise<void>((resolve) => this.#late.signal.addEventListener('abort', () => resolve()));
    for (const { port } of this.#logics) port?.postMessage('stop');
    await Promise.race([Promise.all(this.#logics.map(({ run }) => run)), late]);
    this.#terminating = true;
    await this.#piscina.destroy();
    this.#server.pools.delete(this);
  }

  #failure(thread: string, error: Error): ReactorError {
    const exitCode = exitCodeOf(error);
    const how = exitCode === undefined ? `has failed: ${error.message}` : `has exited with code ${exitCode}`;
    const message = `LogicPool: ${thread} of the pool of server ${this.#server.id} ${how}`;
    return new ReactorError('ERR_REACTOR_LOGIC_FAILED', message, exitCode === undefined ? { cause: error } : {});
  }

  /** A thread has died that is to be replaced. */
  #noteDeath(index: number, error: Error): void {
    const exitCode = exitCodeOf(error);
    const restart =
      exitCode === undefined ? { index, error } : { index, error: this.#failure(`thread ${index}`, error), exitCode };
    surfaceErrors(() => this.emit('restart', restart));
  }

  #report(error: Error): void {
    if (this.listenerCount('error') > 0) surfaceErrors(() => this.emit('error', error));
    else if (!this.#terminating) process.emitWarning(error);
  }

  /** Resolves when the thread is ready for the first time; from then on it is replaced when it dies. */
  #start(index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const logic: Logic = { index, port: undefined, run: Promise.resolve() };
      this.#logics.push(logic);
      logic.run = this.#keepRunning(logic, resolve, reject);
    });
  }

  async #keepRunning(logic: Logic, onReady: () => void, onFailed: (error: unknown) => void): Promise<void> {
    const stopping = this.#stopping.signal;
    let wasReady = false;
    let delayMs = MIN_RESTART_MS;
    while (!stopping.aborted) {
      const startedAt = monotonicMs();
      let isReady = false;
      try {
        await this.#runOnce(logic, () => {
          isReady = true;
          if (wasReady) surfaceErrors(() => this.emit('ready', { index: logic.index }));
          wasReady = true;
          onReady();
        });
        // It has been told to stop, or its server was closed, which it may have heard of before this thread.
        if (!wasReady) onReady();
        wasReady = true;
        break;
      } catch (error) {
        if (!wasReady) {
          onFailed(error);
          break;
        }
        const thrown = error instanceof Error ? error : new Error(String(error));
        // One that could not even start, or has left without a word, has nothing to say to who is closing it.
        const isNews = isReady && !(stopping.aborted && exitCodeOf(thrown) !== undefined);
        if (stopping.aborted) {
          if (isNews && !this.#terminating) this.#report(this.#failure(`thread ${logic.index}`, thrown));
          break;
        }
        if (isNews || !this.#server.isEnding) this.#noteDeath(logic.index, thrown);
        if (monotonicMs() - startedAt > STEADY_MS) delayMs = MIN_RESTART_MS;
        await sleep(delayMs, undefined, { signal: stopping }).catch(() => undefined);
        delayMs = Math.min(2 * delayMs, MAX_RESTART_MS);
      }
    }
    this.#logics = this.#logics.filter((each) => each !== logic);
    if (this.#logics.length === 0 && wasReady) void this.close();
  }

  async #runOnce(logic: Logic, onReady: () => void): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    logic.port = port1;
    port1.once('message', onReady);
    try {
      const task: LogicTask = { ...this.#task, index: logic.index, port: port2 };
      await this.#piscina.run(task, { transferList: [port2] });
    } finally {
      logic.port = undefined;
      port1.close();
    }
  }
}

function exitCodeOf({ message }: Error): number | undefined {
  const [, code] = EXITED.exec(message) ?? [];
  return code === undefined ? undefined : Number(code);
}
