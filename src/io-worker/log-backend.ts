/** The backend thread's entry: what pino's transport loads there. */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { BackendSettings, RotationSettings } from '../shared/log-protocol.js';

/** Written at once: by so much a file may grow beyond the size that it rotates at. */
const PIECE_BYTES = 64 * 1024;

/** sonic-boom, as pino and pino-roll make it. */
interface Destination extends EventEmitter {
  write(text: string): boolean;
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
      // Behind the rotation, which waits for the same event.
      if (this.#isWriting) setImmediate(() => this.#written());
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
export default async function open({ to, rotate }: BackendSettings): Promise<WholeLines> {
  const require = createRequire(import.meta.url);
  if (typeof to === 'string' && rotate !== undefined) {
    const roll = require('pino-roll') as (options: object) => Promise<Destination>;
    return new WholeLines(await roll({ file: to, ...rollOptions(rotate) }), true);
  }
  const { pino } = require('pino') as typeof import('pino');
  return new WholeLines(
    pino.destination({ dest: to, sync: false, append: true }) as Destination,
    typeof to === 'string',
  );
}

function rollOptions({ frequency, sizeBytes, keep }: RotationSettings): object {
  return {
    ...(frequency !== undefined && { frequency }),
    ...(sizeBytes !== undefined && { size: `${sizeBytes}b` }),
    ...(keep !== undefined && { limit: { count: keep, removeOtherLogFiles: true } }),
  };
}
