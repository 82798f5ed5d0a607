/**
 * A ring: bytes that one thread produces and one other thread consumes.
 *
 * ```
 *  byte 0                128               256               384                  384 + capacity
 *  +-----------------+-----------------+-----------------+---------------------------+
 *  | PRODUCED        | CONSUMED        | SPACE_WANTED    | data ...                  |
 *  |                 |                 | BATCH           |                           |
 *  +-----------------+-----------------+-----------------+---------------------------+
 *    by the producer   by the consumer   by the producer   records
 * ```
 *
 * - PRODUCED: position behind the last byte that the consumer may read.
 * - CONSUMED: position up to which the producer may overwrite.
 * - SPACE_WANTED: 0, or the number of free bytes from which on the producer wants its doorbell rung.
 * - BATCH: 1 while the producer is at something that is likely to bring more records in a moment. Only a hint.
 *
 * Each side's control words have 128 bytes to themselves (two cache lines: processors prefetch them in pairs).
 *
 * Positions are 32-bit counters that wrap around; `position & (capacity - 1)` is the offset in the data. Both are exact
 * ends of payloads; the next record starts at the next multiple of 8. Empty: CONSUMED = PRODUCED. Full: a record would end
 * beyond CONSUMED + capacity.
 *
 * A record:
 * ```
 *  0               4       5       6       7       8               12              16      16 + pad
 *  +---------------+-------+-------+-------+-------+---------------+---------------+-------+-----------------+
 *  | length u32    | kind  | pad   | flags |  0    | slot u32      | generation    | (pad) | payload (length)|
 *  +---------------+-------+-------+-------+-------+---------------+---------------+-------+-----------------+
 * ```
 * Records start at multiples of 8 and never wrap: a record of kind PADDING fills what is left of the data instead.
 * `pad` (0 to 7) lets the payload lie like its source modulo 8, which makes the copy a third cheaper, up to some KiB.
 *
 * A record whose flags say GROWING may be extended in place for as long as it is the last one. The producer copies the
 * new bytes behind the old, writes the new length into the header, then publishes PRODUCED. The consumer, which has
 * acquired PRODUCED before it reads the length, takes the bytes up to whichever ends first; it may find the length newer
 * than PRODUCED, never older. PRODUCED is the exact end of the payload, so that an extension has no gap; the next record
 * starts at the next multiple of 8. The consumer gives a growing record's space back when a later record has begun.
 *
 * Order of publication: payload, header, PRODUCED (store-release). A producer that dies in between leaves bytes behind
 * PRODUCED that nobody will ever see. A consumer that dies leaves CONSUMED where it was.
 */

/** Control words, as indices of 32-bit words. */
export const ringWord = { PRODUCED: 0, CONSUMED: 32, SPACE_WANTED: 64, BATCH: 65 } as const;

export const RING_DATA_OFFSET = 384;

export const RECORD_HEADER_BYTES = 16;
export const RECORD_ALIGNMENT = 8;

/** Header fields, in words from the record's start. */
export const recordWord = { LENGTH: 0, KIND: 1, SLOT: 2, GENERATION: 3 } as const;

/** In the KIND word: kind | pad << 8 | flags << 16. */
export const KIND_MASK = 0xff;
export const PAD_SHIFT = 8;
export const PAD_MASK = 0x7;
export const GROWING: number = 1 << 16;

/** The kind that both rings have in common: it says nothing and fills the end of the data. */
export const PADDING_KIND = 0;

export const MIN_RING_CAPACITY = 64;
export const MAX_RING_CAPACITY: number = 2 ** 28;

/** What one record may take of the ring: with a padding record in front of it, half of the ring is always enough. */
export function maxRecordBytes(capacity: number): number {
  return capacity / 4;
}

export function maxPayloadBytes(capacity: number): number {
  return maxRecordBytes(capacity) - RECORD_HEADER_BYTES - RECORD_ALIGNMENT;
}

export function alignRecord(position: number): number {
  return (position + RECORD_ALIGNMENT - 1) & -RECORD_ALIGNMENT;
}

export function ringBytes(capacity: number): number {
  const powerOfTwo = Number.isInteger(Math.log2(capacity));
  if (!powerOfTwo || capacity < MIN_RING_CAPACITY || capacity > MAX_RING_CAPACITY) {
    throw new RangeError(
      `A ring's capacity must be a power of two from ${MIN_RING_CAPACITY} to ${MAX_RING_CAPACITY} bytes, got ${capacity}`,
    );
  }
  return RING_DATA_OFFSET + capacity;
}
