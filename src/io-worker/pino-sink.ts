import { createRequire } from 'node:module';
import type { Logger } from 'pino';
import type { BackendSettings, LogFailure, LogLevel } from '../shared/log-protocol.js';
import type { LogSink } from './gated-log.js';

/** Beyond the 4 MiB that the backend's shared memory takes. */
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

/** pino's stream to the backend thread (thread-stream), as far as it is used here. */
interface BackendStream {
  readonly destroyed: boolean;
  write(line: string): boolean;
  flush(done: (error?: Error) => void): void;
  end(): void;
  on(event: 'drain' | 'error' | 'undeleted', listener: (error: Error) => void): void;
}

/**
 * Lines by pino. They cross to the backend thread in shared memory, which writes them (log-backend.ts): no other thread is needed.
 *
 * pino is loaded, and the backend started, with `start()` or the first line.
 */
export class PinoSink implements LogSink {
  readonly #settings: BackendSettings;
  readonly #redact: readonly string[];
  readonly #worker: number;
  readonly #onFailed: (error: Error, what: LogFailure) => void;
  #stream: BackendStream | undefined;
  #logger: Logger | undefined;
  /** Written while the shared memory was full. */
  #waitingBytes = 0;
  #isOver = false;

  /** @param onFailed called once with 'failed', if the log cannot be written any more, and for each full file that cannot be deleted */
  constructor(
    settings: BackendSettings,
    { redact, worker }: { readonly redact: readonly string[]; readonly worker: number },
    onFailed: (error: Error, what: LogFailure) => void,
  ) {
    this.#settings = settings;
    this.#redact = redact;
    this.#worker = worker;
    this.#onFailed = onFailed;
  }

  start(): void {
    this.#logger ??= this.#open();
  }

  /** False: it cannot be, and that has been told. */
  tryToStart(): boolean {
    try {
      this.start();
      return true;
    } catch (error) {
      this.#fail(error as Error);
      return false;
    }
  }

  write(level: LogLevel, fields: object, message: string): boolean {
    if (this.#isOver || this.#waitingBytes > MAX_WAITING_BYTES) return false;
    if (!this.tryToStart()) return false;
    this.#logger?.[level](fields, message);
    return true;
  }

  async close(timeoutMs: number): Promise<void> {
    const stream = this.#stream;
    if (stream === undefined || this.#isOver) return;
    let timer: NodeJS.Timeout | undefined;
    const isFlushed = await new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
      stream.flush((error) => resolve(error === undefined || error === null));
    });
    clearTimeout(timer);
    this.#isOver = true;
    // Closes the file; it waits for the backend, which has nothing left to write.
    if (isFlushed && !stream.destroyed) stream.end();
  }

  #open(): Logger {
    const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
    const stream = pino.transport({
      target: new URL('./log-backend.js', import.meta.url).href,
      options: this.#settings,
      // As for the io worker: loaders and preloads of the application have no business there.
      worker: { execArgv: [] },
    }) as unknown as BackendStream;
    this.#stream = stream;
    stream.on('drain', () => {
      this.#waitingBytes = 0;
    });
    stream.on('error', (error) => this.#fail(error));
    stream.on('undeleted', (error) => this.#onFailed(error, 'undeleted'));
    const write = (line: string): void => {
      if (stream.destroyed) return;
      this.#waitingBytes = stream.write(line) ? 0 : this.#waitingBytes + line.length;
    };
    return pino(
      {
        level: 'trace',
        base: { pid: process.pid, ioWorker: this.#worker },
        redact: { paths: [...this.#redact], censor: '[redacted]' },
      },
      { write },
    );
  }

  #fail(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onFailed(error, 'failed');
  }
}
