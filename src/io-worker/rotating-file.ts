import { EventEmitter } from 'node:events';
import { unlinkSync } from 'node:fs';
import sonicBoom from 'sonic-boom';
import { firstFile, LogFiles } from '../shared/log-files.js';
import { periodStart } from '../shared/log-period.js';
import type { RotationSettings } from '../shared/log-protocol.js';

/**
 * One file after the other. Whether the current one is full is asked when there is something to write: no timer is needed, and a period
 * without lines makes no file. Emits 'drain', 'error' and 'close'.
 */
export class RotatingFile extends EventEmitter {
  readonly #files: LogFiles;
  readonly #rotation: RotationSettings;
  readonly #onUndeleted: (error: Error) => void;
  readonly #now: () => number;
  readonly #file: sonicBoom.SonicBoom;
  #number: number;
  #size: number;
  /** When the period of the current file began. */
  #since: number;

  /** Throws if the folder cannot be read. @param onUndeleted told of a full file that cannot be deleted */
  constructor(
    path: string,
    rotation: RotationSettings,
    onUndeleted: (error: Error) => void,
    now: () => number = Date.now,
  ) {
    super();
    this.#files = new LogFiles(path);
    this.#rotation = rotation;
    this.#onUndeleted = onUndeleted;
    this.#now = now;
    this.#since = periodStart(rotation.frequency, now());
    const { number, size } = firstFile(this.#files, rotation, now());
    this.#number = number;
    this.#size = size;
    this.#file = new sonicBoom.SonicBoom({ dest: this.#files.pathOf(number), sync: false, append: true });
    for (const event of ['drain', 'error', 'close']) {
      this.#file.on(event, (...about: unknown[]) => this.emit(event, ...about));
    }
    this.#deleteOld(this.#files.numbers());
  }

  /** Whole lines. The next ones may come behind 'drain'. */
  write(lines: string): void {
    try {
      const since = periodStart(this.#rotation.frequency, this.#now());
      if (this.#isFull(since)) this.#roll();
      this.#since = since;
    } catch (error) {
      this.emit('error', error);
      return;
    }
    this.#size += Buffer.byteLength(lines);
    this.#file.write(lines);
  }

  end(): void {
    this.#file.end();
  }

  /** A clock that is set back ends no period. */
  #isFull(since: number): boolean {
    const { sizeBytes = Number.POSITIVE_INFINITY } = this.#rotation;
    return this.#size > 0 && (this.#size >= sizeBytes || since > this.#since);
  }

  #roll(): void {
    const numbers = this.#files.numbers();
    // Whatever has come into the folder meanwhile: it is not appended to.
    this.#number = Math.max(this.#number, ...numbers.slice(-1)) + 1;
    this.#size = 0;
    // What is written while the next file is being opened waits for it.
    this.#file.reopen(this.#files.pathOf(this.#number));
    this.#deleteOld(numbers);
  }

  #deleteOld(numbers: readonly number[]): void {
    const { keep = Number.POSITIVE_INFINITY } = this.#rotation;
    const full = numbers.filter((number) => number !== this.#number);
    for (const number of full.slice(0, Math.max(0, full.length - keep))) {
      try {
        unlinkSync(this.#files.pathOf(number));
      } catch (error) {
        // Somebody else has.
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') this.#onUndeleted(error as Error);
      }
    }
  }
}
