/** The backend thread's entry: what pino's transport loads there. */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import type { BackendSettings } from '../shared/log-protocol.js';
import { RotatingFile } from './rotating-file.js';

/** Written at once: by so much a file may grow beyond the size that it rotates at. */
const PIECE_BYTES = 64 * 1024;

/** A file that rotates, or one as pino makes it. */
interface Destination extends EventEmitter {
  write(text: string): unknown;
  end(): void;
}

/** Hands on whole lines only: between two writes a file may rotate, and others may append to it. */
class WholeLines extends EventEmitter {
  readonly #destination: Destination;
  readonly #isOwn: boolean;
  #rest = '';
  #pieces: string[] = [];
  #isWriting = false;

  /** @param isOwn it is closed in the end; a descriptor that was given is not */
  constructor(destination: Destination, isOwn: boolean) {
    super();
    this.#destination = destination;
    this.#isOwn = isOwn;
    destination.on('error', (error) => this.emit('error', error));
    destination.on('close', () => this.emit('close'));
    destination.on('drain', () => {
      if (this.#isWriting) this.#written();
    });
  }

  /** False: go on at 'drain'. */
  write(text: string): boolean {
    const end = text.lastIndexOf('\n') + 1;
    if (end === 0) {
      this.#rest += text;
      return !this.#isWriting;
    }
    const lines = this.#rest + text.slice(0, end);
    this.#rest = text.slice(end);
    for (let from = 0; from < lines.length; ) {
      // A line that is longer than a piece is a piece.
      const to = lines.indexOf('\n', Math.min(from + PIECE_BYTES, lines.length) - 1) + 1;
      this.#pieces.push(lines.slice(from, to));
      from = to;
    }
    this.#next();
    return !this.#isWriting;
  }

  flush(done: () => void): void {
    if (this.#isWriting) this.once('drain', done);
    else done();
  }

  end(): void {
    this.flush(() => {
      if (this.#isOwn) this.#destination.end();
      else this.emit('close');
    });
  }

  #next(): void {
    const piece = this.#isWriting ? undefined : this.#pieces.shift();
    if (piece === undefined) return;
    this.#isWriting = true;
    this.#destination.write(piece);
  }

  #written(): void {
    this.#isWriting = false;
    this.#next();
    if (!this.#isWriting) this.emit('drain');
  }
}

// biome-ignore lint/style/noDefaultExport: pino's transport looks for it
export default function open({ to, rotate }: BackendSettings): WholeLines {
  if (typeof to === 'string' && rotate !== undefined) {
    return new WholeLines(new RotatingFile(to, rotate, tellUndeleted), true);
  }
  const { pino } = createRequire(import.meta.url)('pino') as typeof import('pino');
  return new WholeLines(
    pino.destination({ dest: to, sync: false, append: true }) as Destination,
    typeof to === 'string',
  );
}

/** As an event of the transport's stream: an error would be its end. */
function tellUndeleted(error: Error): void {
  parentPort?.postMessage({ code: 'EVENT', name: 'undeleted', args: [error] });
}
