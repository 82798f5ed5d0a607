import { constants, createDeflate, type Deflate } from 'node:zlib';

/**
 * Deflates the messages of one connection into one zlib stream, each ended by a sync flush. The work is done in libuv's
 * thread pool.
 *
 * Memory: what the current message has become, and about 250 KiB of zlib's own, from the first message on.
 */
export class MessageDeflater {
  #stream: Deflate | undefined;
  #closed = false;
  #chunks: Uint8Array[] = [];
  #length = 0;
  #settle: ((error?: Error) => void) | undefined;

  /**
   * Deflates a message that lies in `pieces`, none of them empty; each ends with a flush. One message at a time.
   * @returns what it has become; undefined if this has been closed meanwhile
   */
  async deflate(pieces: readonly Uint8Array[]): Promise<{ chunks: Uint8Array[]; length: number } | undefined> {
    for (const piece of pieces) {
      if (this.#closed) return undefined;
      await this.#deflatePiece(piece);
    }
    if (this.#closed) return undefined;
    const taken = { chunks: this.#chunks, length: this.#length };
    this.#chunks = [];
    this.#length = 0;
    return taken;
  }

  close(): void {
    this.#closed = true;
    this.#chunks = [];
    this.#stream?.destroy();
    this.#stream = undefined;
    // A destroyed stream calls nobody back.
    this.#settle?.();
  }

  #deflatePiece(piece: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settle = (error) => {
        this.#settle = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#stream ??= this.#start();
      const stream = this.#stream;
      stream.write(piece, (error) => {
        // Chunks that zlib has made and the stream has not emitted: reading emits them.
        while (!error && stream.read() !== null);
        this.#settle?.(error ?? undefined);
      });
    });
  }

  #start(): Deflate {
    // So each write ends with a flush, without another round trip for it.
    const stream = createDeflate({ flush: constants.Z_SYNC_FLUSH });
    stream.on('data', (chunk: Buffer) => {
      if (this.#closed) return;
      this.#chunks.push(chunk);
      this.#length += chunk.length;
    });
    stream.on('error', (error) => this.#settle?.(error));
    return stream;
  }
}
