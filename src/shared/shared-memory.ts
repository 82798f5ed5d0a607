import { bufferView } from './buffer-view.js';

/**
 * The one narrow door to memory that several threads use at the same time.
 *
 * Rings, doorbells and the connection table read and write shared memory through these methods only, so that a test can
 * put an instrumented memory in their place and step two threads through every interleaving of their accesses.
 *
 * `load`, `store`, `add`, `or`, `and` and `exchange` are sequentially consistent. `read`, `write` and the
 * copies are plain: they are for words and bytes that a later `store` publishes (or that an earlier `load` has acquired).
 */
export class SharedMemory {
  readonly buffer: SharedArrayBuffer;
  readonly byteLength: number;
  readonly #words: Int32Array;
  readonly #bytes: Buffer;

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.byteLength = buffer.byteLength;
    this.#words = new Int32Array(buffer);
    this.#bytes = Buffer.from(buffer);
  }

  static allocate(bytes: number): SharedMemory {
    return new SharedMemory(new SharedArrayBuffer(bytes));
  }

  load(word: number): number {
    return Atomics.load(this.#words, word);
  }

  store(word: number, value: number): void {
    Atomics.store(this.#words, word, value);
  }

  /** Returns the value before the addition. */
  add(word: number, value: number): number {
    return Atomics.add(this.#words, word, value);
  }

  /** Returns the value before the change. */
  or(word: number, bits: number): number {
    return Atomics.or(this.#words, word, bits);
  }

  /** Returns the value before the change. */
  and(word: number, bits: number): number {
    return Atomics.and(this.#words, word, bits);
  }

  /** Returns the value before the change. */
  exchange(word: number, value: number): number {
    return Atomics.exchange(this.#words, word, value);
  }

  /** Blocks this thread while the word is `value`, `timeoutMs` at most. */
  waitWhile(word: number, value: number, timeoutMs: number): void {
    Atomics.wait(this.#words, word, value, timeoutMs);
  }

  /** Wakes who is in `waitWhile`. */
  notify(word: number): void {
    Atomics.notify(this.#words, word);
  }

  // A thread that is terminated (or calls process.exit()) stops where a function is called, Atomics included, or a loop turns, and
  // nowhere else. The next two are an atomic access with a plain one right behind it, and no call in between: a thread that dies has
  // done both of them or neither. Other threads do see the first without the second.

  /** Adds, and writes down in a word of `notes` that it has. Returns the value before the addition. */
  addNoted(word: number, value: number, notes: SharedMemory, note: number): number {
    const noted = notes.#words;
    const before = Atomics.add(this.#words, word, value);
    (noted[note] as number) += value;
    return before;
  }

  /** Stores, and adds `by` to a word of `notes`. */
  storeNoted(word: number, value: number, notes: SharedMemory, note: number, by: number): void {
    const noted = notes.#words;
    Atomics.store(this.#words, word, value);
    (noted[note] as number) += by;
  }

  read(word: number): number {
    return this.#words[word] as number;
  }

  write(word: number, value: number): void {
    this.#words[word] = value;
  }

  copyIn(offset: number, source: Uint8Array, start: number, end: number): void {
    copyBytes(this.#bytes, offset, source, start, end);
  }

  copyOut(offset: number, length: number, target: Uint8Array, targetOffset: number): void {
    copyBytes(target, targetOffset, this.#bytes, offset, offset + length);
  }

  writeUtf8(offset: number, text: string, length: number): void {
    this.#bytes.write(text, offset, length, 'utf8');
  }

  readU32(offset: number): number {
    return readU32(this.#bytes, offset);
  }

  writeU32(offset: number, value: number): void {
    const bytes = this.#bytes;
    bytes[offset] = value;
    bytes[offset + 1] = value >>> 8;
    bytes[offset + 2] = value >>> 16;
    bytes[offset + 3] = value >>> 24;
  }

  writeFrameHeader(offset: number, length: number, kind: number, flags: number): void {
    this.writeU32(offset, length);
    const bytes = this.#bytes;
    bytes[offset + 4] = kind;
    bytes[offset + 5] = flags;
  }

  /** A view of the shared bytes themselves, not a copy: whoever holds it sees what is written there later. */
  view(offset: number, length: number): Buffer {
    return bufferView(this.buffer, offset, length);
  }
}

/** Below this a loop is cheaper than a subarray and a `set`, or than a `set` alone (measured on Node 20, x86-64). */
const LOOP_LIMIT = 72;
const WHOLE_LOOP_LIMIT = 12;

/** V8 copies shared memory word by word, and byte by byte unless source and target lie alike modulo this. */
const WORD_BYTES = 8;
/** Filling a Buffer with as many bytes as it takes is a plain copy. It is a longer call, and pays from here on; in place of byte by byte, sooner. */
const FILL_LIMIT = 4096;
const UNALIGNED_FILL_LIMIT = 256;
const { fill } = Buffer.prototype;

/** Copies `source[start, end)` to `target` at `offset`, whichever of the two is shared. */
export function copyBytes(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): void {
  const length = end - start;
  const isWhole = length === source.length;
  if (length <= (isWhole ? WHOLE_LOOP_LIMIT : LOOP_LIMIT)) {
    copyShort(target, offset, source, start, end);
    return;
  }
  // Most are all there is: not even a subarray.
  const piece = isWhole ? source : source.subarray(start, end);
  const isAligned = (piece.byteOffset - target.byteOffset - offset) % WORD_BYTES === 0;
  if (length < (isAligned ? FILL_LIMIT : UNALIGNED_FILL_LIMIT)) target.set(piece, offset);
  else fill.call(target, piece, offset, offset + length);
}

/** Eight at a time: for bytes, what V8 does once a turn of a loop costs more than the copy. */
function copyShort(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): void {
  let from = start;
  let to = offset;
  for (const last = end - 8; from <= last; from += 8, to += 8) {
    target[to] = source[from] as number;
    target[to + 1] = source[from + 1] as number;
    target[to + 2] = source[from + 2] as number;
    target[to + 3] = source[from + 3] as number;
    target[to + 4] = source[from + 4] as number;
    target[to + 5] = source[from + 5] as number;
    target[to + 6] = source[from + 6] as number;
    target[to + 7] = source[from + 7] as number;
  }
  for (; from < end; from++, to++) target[to] = source[from] as number;
}

/** Reads a little-endian u32 at any offset. */
export function readU32(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] as number) |
      ((bytes[offset + 1] as number) << 8) |
      ((bytes[offset + 2] as number) << 16) |
      ((bytes[offset + 3] as number) << 24)) >>>
    0
  );
}
