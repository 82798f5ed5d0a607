import { createHash } from 'node:crypto';
import type * as Lz4 from 'lz4-napi';
import type { CompressionSettings } from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';

/**
 * A compressed body, as lz4-napi writes it:
 * ```
 *  0                       4
 *  +-----------------------+----------------------+
 *  | length u32            | LZ4 block ...        |
 *  +-----------------------+----------------------+
 *    length of what comes out of the block, little-endian
 * ```
 */
const LENGTH_BYTES = 4;

/**
 * Longer messages are compressed and decompressed in libuv's thread pool: 64 KiB take a quarter of a millisecond, during which the
 * io worker would do nothing else; a round trip to the pool takes about one.
 */
export const ASYNC_ABOVE_BYTES: number = 64 * 1024;

/** LZ4 makes at most so many bytes of one: a block that announces more is broken, or a bomb. */
const MAX_RATIO = 255;
/** What the first bytes of a block may be worth more than that. */
const RATIO_SLACK = 64;

/** LZ4 with the settings of one server or client. */
export class Compression {
  readonly #lz4: typeof Lz4;
  readonly #thresholdBytes: number;
  readonly #dictionary: Buffer | undefined;
  /** Both sides announce it: 0 without a dictionary. */
  readonly dictionaryId: number;

  private constructor(lz4: typeof Lz4, { thresholdBytes, dictionary }: CompressionSettings) {
    this.#lz4 = lz4;
    this.#thresholdBytes = thresholdBytes;
    this.#dictionary = dictionary === undefined ? undefined : Buffer.from(dictionary);
    this.dictionaryId = this.#dictionary === undefined ? 0 : idOf(this.#dictionary);
  }

  /** The native module is loaded only where compression is asked for. */
  static async load(settings: CompressionSettings): Promise<Compression> {
    return new Compression(await import('lz4-napi'), settings);
  }

  /** Undefined: it is short, or it would not become shorter. */
  compress(message: Buffer): Buffer | undefined | Promise<Buffer | undefined> {
    const { length } = message;
    if (length < this.#thresholdBytes) return undefined;
    const shorter = (block: Buffer): Buffer | undefined => (block.length < length ? block : undefined);
    if (length <= ASYNC_ABOVE_BYTES) return shorter(this.#lz4.compressSync(message, this.#dictionary));
    return this.#lz4.compress(message, this.#dictionary).then(shorter);
  }

  /** The length that a block announces, or the error if it is more than `maxBytes`, or more than it could hold. */
  announced(block: Buffer, maxBytes: number): number | ReactorError {
    if (block.length < LENGTH_BYTES) return failed(`a compressed frame of ${block.length} bytes`);
    const length = readU32(block, 0);
    if (length > maxBytes) return failed(`a compressed frame of ${length} bytes, the most is ${maxBytes}`);
    const most = (block.length - LENGTH_BYTES) * MAX_RATIO + RATIO_SLACK;
    return length > most ? failed(`a compressed frame of ${length} bytes in ${block.length}, which cannot be`) : length;
  }

  /**
   * Decompresses a short block.
   * @param length what it announces
   * @returns the error if it is broken
   */
  decompress(block: Buffer, length: number): Buffer | ReactorError {
    try {
      return check(this.#lz4.uncompressSync(block, this.#dictionary), length);
    } catch (error) {
      return failed('a compressed frame that is broken', error);
    }
  }

  /** The same for a long one, elsewhere. The block must not change meanwhile. */
  async decompressLong(block: Buffer, length: number): Promise<Buffer | ReactorError> {
    try {
      return check(await this.#lz4.uncompress(block, this.#dictionary), length);
    } catch (error) {
      return failed('a compressed frame that is broken', error);
    }
  }
}

function check(message: Buffer, length: number): Buffer | ReactorError {
  return message.length === length
    ? message
    : failed(`a compressed frame of ${message.length} bytes instead of ${length}`);
}

function failed(what: string, cause?: unknown): ReactorError {
  return new ReactorError('ERR_REACTOR_DECOMPRESSION', `The peer sent ${what}`, cause === undefined ? {} : { cause });
}

/** Never 0. */
function idOf(dictionary: Buffer): number {
  return createHash('sha256').update(dictionary).digest().readUInt32LE(0) || 1;
}
