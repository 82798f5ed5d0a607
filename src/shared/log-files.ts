import { readdirSync, statSync } from 'node:fs';
import { join, parse } from 'node:path';
import { periodStart } from './log-period.js';
import type { BackendSettings, RotationSettings } from './log-protocol.js';

/** Without leading zeros, and exact as a number: no other one names the same file. */
const NUMBER = /^[1-9]\d{0,14}$/;

/** The files of a log that rotates: of 'app.log' they are app.1.log, app.2.log and so on. No other file is touched, however alike. */
export class LogFiles {
  readonly #folder: string;
  readonly #start: string;
  readonly #end: string;

  constructor(path: string) {
    const { dir, name, ext } = parse(path);
    this.#folder = dir;
    this.#start = `${name}.`;
    this.#end = ext === '' ? '.log' : ext;
  }

  pathOf(number: number): string {
    return join(this.#folder, `${this.#start}${number}${this.#end}`);
  }

  /** Of those that are there; the lowest one first. */
  numbers(): number[] {
    return readdirSync(this.#folder)
      .filter((file) => file.startsWith(this.#start) && file.endsWith(this.#end))
      .map((file) => file.slice(this.#start.length, -this.#end.length))
      .filter((digits) => NUMBER.test(digits))
      .map(Number)
      .sort((one, other) => one - other);
  }
}

/** Where a log begins: the highest file that is there, if it is of this period and not full, or a new one behind it. */
export function firstFile(
  files: LogFiles,
  { frequency, sizeBytes = Number.POSITIVE_INFINITY }: RotationSettings,
  now: number,
): { readonly number: number; readonly size: number } {
  const number = files.numbers().at(-1) ?? 1;
  const found = statSync(files.pathOf(number), { throwIfNoEntry: false });
  // What is no file is left to who opens it, whose error says so.
  const size = found?.isFile() === true ? found.size : 0;
  const isOfThisPeriod = found === undefined || found.mtimeMs >= periodStart(frequency, now);
  return size === 0 || (size < sizeBytes && isOfThisPeriod) ? { number, size } : { number: number + 1, size: 0 };
}

/** What an io worker writes to. Several cannot rotate one file: 'app.log' is 'app-io0.log' then, of which rotation makes 'app-io0.1.log'. */
export function ownTarget({ to, rotate }: BackendSettings, worker: number, ioWorkers: number): BackendSettings {
  if (ioWorkers === 1 || rotate === undefined) return { to, rotate };
  const { dir, name, ext } = parse(String(to));
  return { to: join(dir, `${name}-io${worker}${ext}`), rotate };
}
