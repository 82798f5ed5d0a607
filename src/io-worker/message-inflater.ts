import { createInflate, type Inflate } from 'node:zlib';

/**
 * Inflates the zlib stream of one connection, a message after the other. The work is done in libuv's thread pool.
 *
 * Memory: what has come out of the current message, `maxBytes` and one chunk of zlib (16 KiB) at most, and up to 60 KiB of
 * zlib's own, from the first message on.
 */
export class MessageInflater {
  readonly #maxBytes: number;
  #stream: Inflate | undefined;
  #closed = false;
  #chunks: Uint8Array[] = [];
  #length = 0;
  /** Whom to tell that the piece which is being inflated is done. */
  #done: ((failure: string | undefined) => void) | undefined;

  /** @param maxBytes of one message */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Inflates a piece of a message; the memory is this object's until it is done. One at a time.
   * @param done is called later, once, unless this is closed before; with what was wrong, if something was
   */
  inflate(piece: Uint8Array, done: (failure: string | undefined) => void): void {
    if (this.#closed) return;
    this.#done = done;
    this.#stream ??= this.#start();
    const stream = this.#stream;
    stream.write(piece, (error) => {
      if (error) {
        this.#fail(error.message);
        return;
      }
      // Chunks that zlib has made and the stream has not emitted: reading emits them.
      while (stream.read() !== null);
      const isDone = this.#done;
      this.#done = undefined;
      isDone?.(undefined);
    });
  }

  /** What the pieces of a message have become; then the next message begins. */
  take(): Uint8Array[] {
    const taken = this.#chunks;
    this.#chunks = [];
    this.#length = 0;
    return taken;
  }

  close(): void {
    this.#closed = true;
    this.#done = undefined;
    this.take();
    this.#stream?.destroy();
    this.#stream = undefined;
  }

  #start(): Inflate {
    const stream = createInflate();
    stream.on('data', (chunk: Buffer) => {
      // A stream that is destroyed may still emit what it has.
      if (this.#closed) return;
      this.#length += chunk.length;
      this.#chunks.push(chunk);
      if (this.#length > this.#maxBytes) this.#fail(`it is longer than ${this.#maxBytes} bytes`);
    });
    stream.on('error', (error) => this.#fail(error.message));
    stream.on('end', () => this.#fail('there are bytes behind the end of the zlib stream'));
    return stream;
  }

  #fail(what: string): void {
    const done = this.#done;
    this.close();
    done?.(what);
  }
}
