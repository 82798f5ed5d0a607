import type { SharedMemory } from '../shared/shared-memory.js';
import type { Chunk, ChunkPool } from './chunk-pool.js';
import type { EventLane } from './event-lane.js';
import { OutputBuffer } from './output-buffer.js';
import type { SendPace } from './send-pace.js';
import type { SocketStream } from './socket-stream.js';

/**
 * One write takes about this much, and a connection writes once in a turn: the others come in between, and credit comes back while a
 * long queue drains.
 */
const WRITE_BYTES = 256 * 1024;

/** From so much of the codec's own on (hello, pongs, heartbeats), nothing is added to it. */
const MAX_OWN_BYTES = 16 * 1024;

/** In place of what most connections never need: there are thousands of them. Nothing is ever added to it. */
const NO_FLUSHES: never[] = [];

/** What an output tells its connection. */
export interface OutputOwner {
  /** Call `flush` at the end of the turn. */
  onOutput(): void;
  /** The kernel has taken that much, `own` of it the codec's own. */
  onSent(bytes: number, own: number): void;
  /** All that had been appended when `notifyFlushed` was called for the lane is with the kernel. */
  onFlushed(lane: EventLane): void;
}

/** The way to the socket: gathers what a turn brings, writes it at once, and knows how far it came. */
export class ConnectionOutput {
  readonly #socket: SocketStream;
  readonly #owner: OutputOwner;
  readonly #buffer: OutputBuffer;
  #writing: readonly Chunk[] | undefined;
  #writingBytes = 0;
  /** All bytes ever appended, and of those all that the kernel has. */
  #appended = 0;
  #written = 0;
  /** Bytes of the codec's own that the kernel does not have. */
  #ownBytes = 0;
  /** Who asked for it is told when `#written` gets to `at`; in this order. One for each lane at most. */
  #flushes: { readonly lane: EventLane; readonly at: number }[] = NO_FLUSHES;
  #finishing = false;
  #finished = false;
  /** How fast it may write, if there is a limit to that. */
  pace: SendPace | undefined;

  constructor(socket: SocketStream, pool: ChunkPool, owner: OutputOwner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#buffer = new OutputBuffer(pool);
  }

  /** Bytes that the kernel has taken. */
  get written(): number {
    return this.#written;
  }

  /** Bytes that have not been handed to the socket. */
  get waitingBytes(): number {
    return this.#buffer.bytes;
  }

  /** Bytes that senders were charged for and that the kernel does not have. */
  get unwritten(): number {
    return this.#appended - this.#written - this.#ownBytes;
  }

  append(memory: SharedMemory, offset: number, length: number): void {
    this.#buffer.append(memory, offset, length);
    this.#appended += length;
    this.#owner.onOutput();
  }

  /** False: too much of the codec's own waits already, as when a peer asks and does not read the answers. */
  get hasRoomForOwn(): boolean {
    return this.#ownBytes < MAX_OWN_BYTES;
  }

  /** Appends bytes of the codec's own, which no sender was charged for. */
  appendOwn(bytes: Buffer): void {
    this.#buffer.appendOwned(bytes, true);
    this.#appended += bytes.length;
    this.#ownBytes += bytes.length;
    this.#owner.onOutput();
  }

  /** Appends bytes that are this side's from now on: they are not copied. */
  appendOwned(bytes: Buffer): void {
    this.#buffer.appendOwned(bytes);
    this.#appended += bytes.length;
    this.#owner.onOutput();
  }

  /** Appends a copy of the bytes. */
  appendCopy(bytes: Uint8Array): void {
    this.#buffer.appendCopy(bytes);
    this.#appended += bytes.length;
    this.#owner.onOutput();
  }

  /** Appends a frame with a copy of the body. */
  appendFrame(kind: number, body: Uint8Array): void {
    this.#appended += this.#buffer.appendFrame(kind, body);
    this.#owner.onOutput();
  }

  /** Appends a message that has been gathered elsewhere. */
  appendAll(gathered: OutputBuffer): void {
    this.#appended += gathered.bytes;
    this.#buffer.appendAll(gathered);
    this.#owner.onOutput();
  }

  /** Appends bytes that other connections send, too, and that must not change. */
  appendShared(bytes: Buffer): void {
    this.#buffer.appendShared(bytes);
    this.#appended += bytes.length;
    this.#owner.onOutput();
  }

  /** The lane's thread is dead: nobody waits there for anything. */
  dropFlushes(lane: EventLane): void {
    this.#flushes = this.#flushes.filter((flush) => flush.lane !== lane);
  }

  /** FIN behind everything that has been appended. */
  finish(): void {
    this.#finishing = true;
    this.#owner.onOutput();
  }

  notifyFlushed(lane: EventLane): void {
    if (this.#flushes === NO_FLUSHES) this.#flushes = [];
    this.#flushes.push({ lane, at: this.#appended });
    this.#checkFlushed();
  }

  /** Writes what has gathered, or the first of it. True: the kernel has taken that, and there is more. */
  flush(): boolean {
    // `onWritten` goes on when the kernel has taken it.
    if (this.#writing !== undefined) return false;
    if (this.#buffer.bytes > 0) {
      const room = Math.min(WRITE_BYTES, this.pace?.room(this.#buffer.bytes) ?? WRITE_BYTES);
      // Who is asked for room calls back when there is some.
      if (room === 0 || !this.#write(this.#buffer.take(room, this.pace !== undefined))) return false;
    }
    if (this.#buffer.bytes > 0) {
      this.#owner.onOutput();
      return true;
    }
    if (this.#finishing && !this.#finished) {
      this.#finished = true;
      this.#socket.end();
    }
    return false;
  }

  /** False: the kernel has not taken it all at once. */
  #write(chunks: readonly Chunk[]): boolean {
    this.#writing = chunks;
    this.#writingBytes = 0;
    for (const { start, end } of chunks) this.#writingBytes += end - start;
    this.pace?.spent(this.#writingBytes);
    if (!this.#socket.write(chunks)) return false;
    this.#noteWritten(chunks);
    return true;
  }

  /** The kernel has taken the rest of a write that it did not take at once. */
  onWritten(): void {
    if (this.#writing === undefined) return;
    this.#noteWritten(this.#writing);
    this.#owner.onOutput();
  }

  /** Before the socket is destroyed: of a write that is under way, the kernel may have a part. */
  settle(): void {
    const chunks = this.#writing;
    if (chunks === undefined) return;
    const pending = Math.min(this.#writingBytes, this.#socket.pendingBytes ?? this.#writingBytes);
    const taken = this.#writingBytes - pending;
    this.#writing = undefined;
    this.#noteTaken(taken, ownWithin(chunks, taken));
  }

  /** Drops what has not been written. The chunks of a write that is under way are not reused: libuv may still read them. */
  clear(): void {
    this.#buffer.clear();
    this.#writing = undefined;
    this.pace?.stop();
  }

  #noteWritten(chunks: readonly Chunk[]): void {
    this.#writing = undefined;
    const own = ownWithin(chunks, this.#writingBytes);
    this.#buffer.release(chunks);
    this.#noteTaken(this.#writingBytes, own);
    this.#checkFlushed();
  }

  #noteTaken(bytes: number, own: number): void {
    this.#written += bytes;
    this.#ownBytes -= own;
    this.#owner.onSent(bytes, own);
  }

  #checkFlushed(): void {
    for (let first = this.#flushes[0]; first !== undefined && this.#written >= first.at; first = this.#flushes[0]) {
      this.#flushes.shift();
      this.#owner.onFlushed(first.lane);
    }
  }
}

/** How many of the first `bytes` are this side's own. */
function ownWithin(chunks: readonly Chunk[], bytes: number): number {
  let own = 0;
  let left = bytes;
  for (const chunk of chunks) {
    const length = Math.min(left, chunk.end - chunk.start);
    if (chunk.own === true) own += length;
    left -= length;
  }
  return own;
}
