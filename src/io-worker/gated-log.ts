import { type LogLevel, logLevels } from '../shared/log-protocol.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import { hidePayloads } from './hidden-payloads.js';
import type { IoLog } from './io-log.js';

/** Where lines go that have passed the gate. */
export interface LogSink {
  /** False: as much waits as may wait, and the line is dropped. */
  write(level: LogLevel, fields: object, message: string): boolean;
  /** Resolves when what has been written is where it belongs, or after so long; for the last time. */
  close(timeoutMs: number): Promise<void>;
}

/** What the gate needs of the registry: the threads' common level. */
export interface LogThreshold {
  readonly logThreshold: number;
}

const rankOf = Object.fromEntries(logLevels.map((level, rank) => [level, rank])) as Record<LogLevel, number>;

/** The io worker's log: lines below the level stay out, payloads are hidden, and what is dropped is counted. */
export class GatedLog implements IoLog {
  readonly #sink: LogSink;
  readonly #threshold: LogThreshold;
  readonly #board: StatusBoard;
  readonly #payloadBytes: number;
  /** Since the last line that was not. */
  #dropped = 0;

  constructor(sink: LogSink, threshold: LogThreshold, board: StatusBoard, payloadBytes: number) {
    this.#sink = sink;
    this.#threshold = threshold;
    this.#board = board;
    this.#payloadBytes = payloadBytes;
  }

  isEnabled(level: LogLevel): boolean {
    return rankOf[level] >= this.#threshold.logThreshold;
  }

  write(level: LogLevel, fields: object, message: string): void {
    if (!this.isEnabled(level)) return;
    try {
      if (this.#sink.write(level, this.#shown(fields), message)) {
        this.#dropped = 0;
        return;
      }
    } catch {
      // Fields that cannot be written: a service of the user's may have given them.
    }
    this.#dropped++;
    this.#board.count(boardCounter.DROPPED_LOG_LINES);
  }

  close(timeoutMs: number): Promise<void> {
    return this.#sink.close(timeoutMs);
  }

  #shown(fields: object): object {
    const shown: { [name: string]: unknown; droppedLines?: number } = hidePayloads(fields, this.#payloadBytes);
    if (this.#dropped > 0) shown.droppedLines = this.#dropped;
    return shown;
  }
}
