import { inspect } from 'node:util';
import { FRAME_HEADER_BYTES, FRAME_LENGTH_BYTES, frameKind, frameOffset } from '../shared/frame-format.js';
import { readU32, type SharedMemory } from '../shared/shared-memory.js';
import type { ChunkPool } from './chunk-pool.js';
import type { CodecOutput, ConnectionCodec } from './codec.js';
import type { ConnectionOutput } from './connection-output.js';
import type { EventLane } from './event-lane.js';
import { OutputBuffer } from './output-buffer.js';

/** So much of what has waited is encoded at once: other connections are to have their turn. */
const BURST_BYTES = 256 * 1024;

/** Things of the codec's own that may wait behind a message that takes its time. */
const MAX_OWN_JOBS = 64;

/** In place of what most connections never need. Nothing is ever added to these. */
const NO_PARTS = new Map<never, never>();
const NO_JOBS: never[] = [];

/** What an encoder tells its connection. */
export interface EncoderOwner {
  /** Senders were charged for `bytes` more than the encoded message has; negative if it has more. */
  uncharge(bytes: number): void;
  /** The codec threw, or its promise was rejected. */
  onEncodeFailed(error: unknown): void;
}

/** Something to be done with the output, in order. `bytes`: what senders were charged for it. */
interface Job {
  readonly bytes: number;
  readonly run: () => void | Promise<void>;
}

/**
 * The way from the command ring to the output: messages become bytes on it.
 *
 * Codec 'frame' without compression, and 'raw', need nothing done: the bytes of the ring are those of the wire, and this class
 * is out of their way. Otherwise a message is copied out of the ring, and the codec writes what it makes of it. If it takes its
 * time (a promise), everything behind waits here, in order, under the connection's credit.
 *
 * The credit follows the message: from when it is encoded, the connection is charged for the bytes that wait to be written.
 */
export class ConnectionEncoder {
  readonly #output: ConnectionOutput;
  readonly #pool: ChunkPool;
  readonly #owner: EncoderOwner;
  #codec: ConnectionCodec | undefined;
  /** The codec has not finished with a message, or a burst has been interrupted: what comes now waits. */
  #isBusy = false;
  #jobs: (Job | undefined)[] = NO_JOBS;
  #head = 0;
  /** What senders were charged for what is not encoded yet, and what of it the message under way has written already. */
  #jobBytes = 0;
  #written = 0;
  #ownJobs = 0;
  /** Pieces of messages that are longer than a record, by the lane that they come from. */
  #parts: Map<EventLane, OutputBuffer> = NO_PARTS;
  #partBytes = 0;
  #isClosed = false;

  constructor(output: ConnectionOutput, pool: ChunkPool, owner: EncoderOwner) {
    this.#output = output;
    this.#pool = pool;
    this.#owner = owner;
  }

  /** Nothing is sent before; but the codec may write something of its own while it is being made. */
  start(codec: ConnectionCodec): void {
    this.#codec = codec;
  }

  /** Bytes that senders were charged for and that are not in the output yet. */
  get waitingBytes(): number {
    return this.#jobBytes - this.#written + this.#partBytes;
  }

  /** What `sharedEncoding` of the codec is. */
  get sharedEncoding(): string | undefined {
    return this.#codec?.sharedEncoding;
  }

  /** Sends what is in a record: whole frames, or bytes if the connection has no messages. */
  send(memory: SharedMemory, offset: number, length: number): void {
    if (!this.#isBusy && this.#codec?.passesThrough === true) {
      this.#output.append(memory, offset, length);
      return;
    }
    const record = Buffer.allocUnsafeSlow(length);
    memory.copyOut(offset, length, record, 0);
    this.#sendRecord(record);
  }

  /** A message that comes in pieces is sent when it is whole, so that those of two threads do not mix. */
  sendPart(lane: EventLane, memory: SharedMemory, offset: number, length: number, isLast: boolean): void {
    let parts = this.#parts.get(lane);
    if (parts === undefined) {
      parts = new OutputBuffer(this.#pool);
      if (this.#parts === NO_PARTS) this.#parts = new Map();
      this.#parts.set(lane, parts);
    }
    parts.append(memory, offset, length);
    this.#partBytes += length;
    if (!isLast) return;
    this.#parts.delete(lane);
    this.#partBytes -= parts.bytes;
    if (!this.#isBusy && this.#codec?.passesThrough === true) this.#output.appendAll(parts);
    else this.#sendRecord(parts.drain());
  }

  /** The lane's thread has died in the middle of a message. Returns how many bytes of it there were. */
  dropParts(lane: EventLane): number {
    const parts = this.#parts.get(lane);
    const bytes = parts?.bytes ?? 0;
    parts?.clear();
    this.#parts.delete(lane);
    this.#partBytes -= bytes;
    this.#output.dropFlushes(lane);
    return bytes;
  }

  /** Encodes a message for this connection alone, whose sender was charged for `charged` bytes. */
  sendMessage(message: Buffer, charged: number): void {
    this.#do({ bytes: charged, run: () => this.#encode(message, frameKind.DATA, charged) });
  }

  /**
   * Sends a message of a service's, and copies it. Its connection was charged for `charged` bytes.
   * @param framed its records have frames in them
   */
  sendCopy(message: Uint8Array, kind: number, charged: number, framed: boolean): void {
    const isSystem = kind !== frameKind.DATA;
    if (!this.#isBusy && (isSystem || this.#codec?.passesThrough === true)) {
      if (framed) this.#output.appendFrame(kind, message);
      else this.#output.appendCopy(message);
      return;
    }
    const copy = Buffer.from(message);
    if (!isSystem) this.sendMessage(copy, charged);
    else {
      // System messages are never compressed.
      const run = (): void => {
        this.#output.appendFrame(kind, copy);
        this.#settle(charged, charged);
      };
      this.#do({ bytes: charged, run });
    }
  }

  /** Encodes a message for all connections with the same `sharedEncoding`. Throws, or rejects, what the codec does. */
  encodeShared(message: Buffer): Buffer | Promise<Buffer> {
    const pieces: Buffer[] = [];
    const output: CodecOutput = { write: (bytes) => void pieces.push(asBuffer(bytes)) };
    const promise = this.#codec?.encode(message, output, frameKind.DATA);
    const whole = (): Buffer => (pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces));
    if (promise === undefined) return whole();
    const encoded = Promise.resolve(promise).then(whole);
    // Each connection hears of a failure when it is its turn; it may have closed by then.
    encoded.catch(() => undefined);
    return encoded;
  }

  /** Sends what has been encoded for several connections. */
  sendShared(encoded: Buffer | Promise<Buffer>, charged: number): void {
    const append = (bytes: Buffer): void => {
      if (this.#isClosed) return;
      this.#output.appendShared(bytes);
      this.#settle(charged, bytes.length);
    };
    this.#do({ bytes: charged, run: () => (Buffer.isBuffer(encoded) ? append(encoded) : encoded.then(append)) });
  }

  /** Has the codec write something of its own. False: too much of that waits already. */
  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    if (this.#ownJobs >= MAX_OWN_JOBS || !this.#output.hasRoomForOwn) return false;
    const output: CodecOutput = {
      write: (bytes) => {
        if (!this.#isClosed) this.#output.appendOwn(asBuffer(bytes));
      },
    };
    this.#ownJobs++;
    const run = (): void | Promise<void> => {
      this.#ownJobs--;
      return write(output);
    };
    this.#do({ bytes: 0, run });
    return true;
  }

  /** FIN behind everything that has been sent. */
  finish(): void {
    this.#do({ bytes: 0, run: () => this.#output.finish() });
  }

  notifyFlushed(lane: EventLane): void {
    this.#do({
      bytes: 0,
      run: () => {
        if (!lane.isRetired) this.#output.notifyFlushed(lane);
      },
    });
  }

  /** The connection is closed: nothing is written any more. */
  close(): void {
    this.#isClosed = true;
    this.#jobs = NO_JOBS;
    this.#head = 0;
    this.#jobBytes = 0;
    for (const parts of this.#parts.values()) parts.clear();
    this.#written = 0;
    this.#parts.clear();
    this.#partBytes = 0;
  }

  // ----

  #sendRecord(record: Buffer): void {
    this.#do({
      bytes: record.length,
      run: () => {
        // Codec 'frame' may have begun to compress while it waited.
        if (this.#codec?.passesThrough !== true) return this.#encodeFrom(record, 0);
        this.#output.appendOwned(record);
        this.#settle(record.length, record.length);
      },
    });
  }

  /** Encodes the frames of a record from `start` on; those behind one that takes its time become a job of their own. */
  #encodeFrom(record: Buffer, start: number): void | Promise<void> {
    let at = start;
    while (at < record.length) {
      const end = at + FRAME_LENGTH_BYTES + readU32(record, at);
      const kind = record[at + frameOffset.KIND] as number;
      const promise = this.#encode(record.subarray(at + FRAME_HEADER_BYTES, end), kind, end - at);
      at = end;
      if (promise === undefined) continue;
      const rest = at;
      if (rest < record.length) this.#defer(() => this.#encodeFrom(record, rest));
      return promise;
    }
  }

  #encode(message: Buffer, kind: number, charged: number): void | Promise<void> {
    let isSettled = false;
    const output: CodecOutput = {
      write: (bytes) => {
        // What comes later belongs to no message, and nobody has paid for it.
        if (this.#isClosed || isSettled) return;
        const buffer = asBuffer(bytes);
        this.#written += buffer.length;
        this.#output.appendShared(buffer);
      },
    };
    const settle = (): void => {
      isSettled = true;
      this.#settle(charged, this.#written);
    };
    const promise = this.#codec?.encode(message, output, kind);
    // A codec of the user's may give anything that has a then().
    if (promise !== undefined) return Promise.resolve(promise).then(settle);
    settle();
  }

  /** A message is in the output. */
  #settle(charged: number, written: number): void {
    this.#written = 0;
    if (this.#isClosed) return;
    this.#jobBytes -= charged;
    if (written !== charged) this.#owner.uncharge(charged - written);
  }

  #do(job: Job): void {
    if (this.#isClosed) return;
    this.#jobBytes += job.bytes;
    if (this.#isBusy) {
      if (this.#jobs === NO_JOBS) this.#jobs = [];
      this.#jobs.push(job);
      return;
    }
    this.#run(job);
    // A codec may write something of its own while it encodes: that comes behind the message.
    if (!this.#isBusy && this.#jobs.length > 0) this.#goOn();
  }

  /** The rest of a job: in front of all others. */
  #defer(run: Job['run']): void {
    const rest = { bytes: 0, run };
    if (this.#head > 0) this.#jobs[--this.#head] = rest;
    else this.#jobs = [rest, ...this.#jobs];
  }

  #run(job: Job): void {
    this.#isBusy = true;
    try {
      const promise = job.run();
      if (promise === undefined) this.#isBusy = false;
      // A codec of the user's may give anything.
      else
        Promise.resolve(promise).then(
          () => this.#goOn(),
          (error) => this.#failed(error),
        );
    } catch (error) {
      this.#isBusy = false;
      this.#failed(error);
    }
  }

  #goOn(): void {
    this.#isBusy = false;
    let bytes = 0;
    while (!this.#isBusy && this.#head < this.#jobs.length) {
      if (bytes >= BURST_BYTES) {
        this.#isBusy = true;
        setImmediate(() => this.#goOn());
        break;
      }
      const job = this.#jobs[this.#head] as Job;
      this.#jobs[this.#head++] = undefined;
      bytes += job.bytes;
      this.#run(job);
    }
    if (this.#head < this.#jobs.length) return;
    this.#jobs = NO_JOBS;
    this.#head = 0;
  }

  #failed(error: unknown): void {
    if (!this.#isClosed) this.#owner.onEncodeFailed(error);
  }
}

/** A codec of the user's may give anything. */
function asBuffer(bytes: Uint8Array): Buffer {
  if (!(bytes instanceof Uint8Array))
    throw new TypeError(`write() takes a Uint8Array, got ${inspect(bytes, { depth: 0 })}`);
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
