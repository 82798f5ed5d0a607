import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { LogFailure, LogMessage, LogSettings, LogWiring } from '../shared/log-protocol.js';
import { fromErrorData, ReactorError } from '../shared/reactor-error.js';
import type { Logger } from './log-options.js';

const failures: Readonly<Record<LogFailure, string>> = {
  failed: 'The log cannot be written',
  undeleted: 'A full file of the log cannot be deleted',
};

/** What io workers tell of their logs: lines for the user's logger, and what is wrong with one. */
export class LogReceiver {
  readonly #settings: LogSettings;
  readonly #logger: Logger | undefined;
  readonly #onFailed: (error: ReactorError) => void;
  readonly #ports = new Set<MessagePort>();
  /** Lines that are to be acknowledged. */
  readonly #taken = new Map<MessagePort, number>();
  readonly #told = new Set<LogFailure>();

  /** @param onFailed called once at most for each kind of failure */
  constructor(settings: LogSettings, logger: Logger | undefined, onFailed: (error: ReactorError) => void) {
    this.#settings = settings;
    this.#logger = logger;
    this.#onFailed = onFailed;
  }

  /** For an io worker that is about to be started. */
  open(): LogWiring {
    const { port1, port2 } = new MessageChannel();
    this.#ports.add(port1);
    port1.on('message', (message: LogMessage) => this.#take(port1, message));
    port1.on('close', () => this.#ports.delete(port1));
    port1.unref();
    return { settings: this.#settings, port: port2 };
  }

  /** Takes what has come, now. */
  drain(): void {
    for (const port of this.#ports) {
      for (;;) {
        const received = receiveMessageOnPort(port) as { message: LogMessage } | undefined;
        if (received === undefined) break;
        this.#take(port, received.message);
      }
    }
  }

  #take(port: MessagePort, message: LogMessage): void {
    if ('what' in message) {
      this.#fail(message.what, fromErrorData(message.error));
      return;
    }
    this.#acknowledgeSoon(port);
    const [level, fields, text] = message;
    try {
      this.#logger?.[level](fields, text);
    } catch (error) {
      this.#fail('failed', error);
    }
  }

  #acknowledgeSoon(port: MessagePort): void {
    const taken = this.#taken.get(port) ?? 0;
    this.#taken.set(port, taken + 1);
    if (taken > 0) return;
    setImmediate(() => {
      port.postMessage(this.#taken.get(port));
      this.#taken.delete(port);
    });
  }

  #fail(what: LogFailure, cause: unknown): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    const message = `${failures[what]}: ${cause instanceof Error ? cause.message : String(cause)}`;
    this.#onFailed(new ReactorError('ERR_REACTOR_LOG_FAILED', message, { cause }));
  }
}
