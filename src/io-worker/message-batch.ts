import { FRAME_HEADER_BYTES, FRAME_OVERHEAD_IN_LENGTH, frameOffset } from '../shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';

/** Up to here a loop is cheaper than two subarrays. */
const SHORT_BYTES = 48;

/** Takes a batch on its way: `count` frames in `bytes[0, end)`, which are valid only during the call. */
export interface BatchOwner {
  onBatch(bytes: Buffer, end: number, count: number): void;
}

/**
 * Messages that a codec finds one by one, on their way into one record, as frames. All connections have the same one: it is empty when
 * nothing is decoded, and what one connection has in it goes on its way before another one puts anything there.
 */
export class MessageBatch {
  readonly #bytes: Buffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);
  #end = 0;
  #count = 0;
  #owner: BatchOwner | undefined;

  hasRoomFor(length: number): boolean {
    return this.#end + FRAME_HEADER_BYTES + length <= this.#bytes.length;
  }

  /** The message is `bytes[start, end)`; an empty batch has room for it. */
  add(owner: BatchOwner, kind: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#owner !== owner || !this.hasRoomFor(end - start)) this.flush();
    this.#owner = owner;
    this.#end = this.#write(this.#end, kind, bytes, start, end);
    this.#count++;
  }

  /** The frame of a message that goes on its way alone; valid until the next one is written. */
  frameOf(kind: number, bytes: Uint8Array, start: number, end: number): Buffer {
    this.flush();
    return this.#bytes.subarray(0, this.#write(0, kind, bytes, start, end));
  }

  /** Returns where the frame ends. */
  #write(at: number, kind: number, bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const body = at + FRAME_HEADER_BYTES;
    this.#bytes.writeUInt32LE(length + FRAME_OVERHEAD_IN_LENGTH, at + frameOffset.LENGTH);
    this.#bytes[at + frameOffset.KIND] = kind;
    this.#bytes[at + frameOffset.FLAGS] = 0;
    if (length > SHORT_BYTES) this.#bytes.set(bytes.subarray(start, end), body);
    else for (let i = 0; i < length; i++) this.#bytes[body + i] = bytes[start + i] as number;
    return body + length;
  }

  /** What is in it was taken, so that it is delivered, if need be by having it wait. */
  flush(): void {
    const owner = this.#owner;
    if (owner === undefined) return;
    const end = this.#end;
    const count = this.#count;
    this.#owner = undefined;
    this.#end = 0;
    this.#count = 0;
    owner.onBatch(this.#bytes, end, count);
  }
}
