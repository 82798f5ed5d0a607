import type { MessagePort } from 'node:worker_threads';
import { type LogLevel, type LogMessage, MAX_WAITING_LINES } from '../shared/log-protocol.js';
import type { LogSink } from './gated-log.js';

/** Lines for the user's logger, which lives in the thread that spawned the reactor and may be blocked. */
export class PortSink implements LogSink {
  readonly #port: MessagePort;
  #waiting = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (acknowledged: number) => {
      this.#waiting -= acknowledged;
    });
    port.unref();
  }

  write(level: LogLevel, fields: object, message: string): boolean {
    if (this.#waiting >= MAX_WAITING_LINES) return false;
    const line: LogMessage = [level, fields, message];
    this.#port.postMessage(line);
    this.#waiting++;
    return true;
  }

  /** What is in the port by now, the other side takes out. */
  async close(): Promise<void> {}
}
