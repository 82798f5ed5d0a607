/**
 * The wire format of the Python package that this library is named after. All integers are little-endian.
 *
 * ```
 *  0               4                          4 + length
 *  +---------------+--------------------------+
 *  | length u32    | body ...                 |    body: the payload, or what the payload adds to a zlib stream
 *  +---------------+--------------------------+
 *
 *  0               4
 *  +---------------+--------------------------+
 *  | type u32      | data ...                 |    the payload
 *  +---------------+--------------------------+
 * ```
 *
 * With compression each direction of a connection is one zlib stream. Each message ends with a sync flush, an empty stored
 * block, so its last four bytes are always the same, and everything that it holds can be had when they are there.
 */
export const LENGTH_BYTES = 4;
export const TYPE_BYTES = 4;
export const SYNC_FLUSH_END: Uint8Array = Uint8Array.of(0x00, 0x00, 0xff, 0xff);

export const payloadType = {
  /** For the application. */
  DATA: 1,
  /** From servers to clients: `src#dst#time`, as text. */
  HEARTBEAT: 2,
} as const;

/** How much longer deflate can make a payload of `bytes` bytes, at most: it stores what it cannot compress. */
export function deflateOverhead(bytes: number): number {
  return 64 + Math.ceil(bytes / 2048);
}
