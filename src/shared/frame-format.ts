/**
 * The wire format of the native codec, 'frame'. All integers are little-endian.
 *
 * ```
 *  0               4       5       6
 *  +---------------+-------+-------+----------------------+
 *  | length u32    | kind  | flags | body ...             |
 *  +---------------+-------+-------+----------------------+
 *    length = bytes after the length word = 2 + body
 * ```
 *
 * hello, the first frame from each side:
 * ```
 *  6               8               10                      14                      18                     22
 *  +---------------+---------------+-----------------------+-----------------------+----------------------+
 *  | version u16   | capabilities  | max frame bytes u32   | heartbeat ms u32      | dictionary id u32    |
 *  +---------------+---------------+-----------------------+-----------------------+----------------------+
 * ```
 * A longer hello comes from a later version; what is behind these 16 bytes is passed over.
 *
 * The same format carries a batch of messages through the rings, so that frames cross the io worker in one copy.
 */
export const FRAME_LENGTH_BYTES = 4;
export const FRAME_HEADER_BYTES = 6;
/** What the length word counts besides the body: kind and flags. */
export const FRAME_OVERHEAD_IN_LENGTH: number = FRAME_HEADER_BYTES - FRAME_LENGTH_BYTES;

export const frameOffset = { LENGTH: 0, KIND: 4, FLAGS: 5, BODY: 6 } as const;

export const frameKind = {
  DATA: 0,
  PING: 1,
  PONG: 2,
  HELLO: 3,
  BUSY: 4,
  GOODBYE: 5,
  REQUEST: 6,
  RESPONSE: 7,
  REQUEST_FAILED: 8,
} as const;

/** Kinds from here to FIRST_USER_KIND are nobody's yet: a protocol error. */
export const FIRST_RESERVED_KIND = 9;
/** From here on kinds are the users' own. */
export const FIRST_USER_KIND = 64;

/**
 * Request, response and request-failed begin with an id, which the answer repeats:
 * ```
 *  6                       10
 *  +-----------------------+----------------------+
 *  | id u32                | body ...             |
 *  +-----------------------+----------------------+
 *    id = lane of the thread that asks << 27 | running number
 * ```
 * The body of request-failed is a text for people.
 */
export const REQUEST_ID_BYTES = 4;
const REQUEST_NUMBER_BITS = 27;
const REQUEST_NUMBER_MASK: number = 2 ** REQUEST_NUMBER_BITS - 1;

/** The id of a request: its answer comes back to the lane that is in it. */
export function requestId(lane: number, number: number): number {
  return ((lane << REQUEST_NUMBER_BITS) | (number & REQUEST_NUMBER_MASK)) >>> 0;
}

export function laneOfRequest(id: number): number {
  return id >>> REQUEST_NUMBER_BITS;
}

export function isAnswer(kind: number): boolean {
  return kind === frameKind.RESPONSE || kind === frameKind.REQUEST_FAILED;
}

/** Flags of a frame. */
export const frameFlag = { LZ4: 1 } as const;
/** What a hello says that its sender can take. */
export const capability = { LZ4: 1 } as const;

export const HELLO_VERSION = 1;
export const HELLO_BODY_BYTES = 16;
export const helloOffset = { VERSION: 0, CAPABILITIES: 2, MAX_FRAME: 4, HEARTBEAT_MS: 8, DICTIONARY: 12 } as const;

/** ping carries the sender's clock, an f64 that only the sender understands, and pong repeats the body of its ping. */
export const PING_CLOCK_BYTES = 8;
/** busy carries a u32: for how many ms the application has stood still; 0: it goes on. */
export const BUSY_BODY_BYTES = 4;

/** ping, pong, hello, busy and goodbye are short; a longer one is refused before it is stored. */
export const MAX_CONTROL_BODY_BYTES = 256;

export const DEFAULT_MAX_FRAME_BYTES: number = 16 * 1024 * 1024;

/** The longest message in a frame whose length word is at most `maxFrameBytes`. */
export function maxBodyBytes(maxFrameBytes: number): number {
  return maxFrameBytes - FRAME_OVERHEAD_IN_LENGTH;
}
