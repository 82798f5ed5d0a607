/** The codec of a server or client as the io worker gets it: checked, with defaults filled in. */
export type CodecSettings =
  | ({ readonly type: 'frame' } & FrameSettings)
  | { readonly type: 'raw' }
  | ({ readonly type: 'line' } & LineSettings)
  | ({ readonly type: 'length-field' } & LengthFieldSettings)
  | ({ readonly type: 'fixed' } & FixedSettings)
  | ({ readonly type: 'simple-reactor' } & SimpleReactorSettings)
  | ({ readonly type: 'module' } & ModuleSettings);

/** Codec 'frame'. */
export interface FrameSettings {
  /** `limits.maxFrameBytes` */
  readonly maxFrameBytes: number;
  readonly compression: CompressionSettings | undefined;
  /** What the hello says of this side's heartbeat; 0: it has none. */
  readonly heartbeatMs: number;
}

export interface CompressionSettings {
  /** Shorter messages are sent as they are. */
  readonly thresholdBytes: number;
  readonly dictionary: Uint8Array | undefined;
}

/** Codec 'line'. */
export interface LineSettings {
  /** 1 to 16 bytes, of any value. */
  readonly delimiter: Uint8Array;
  /** The longest message, without its delimiter. */
  readonly maxBytes: number;
}
/**
 * What codec 'length-field' has to know about a frame. The length field may lie anywhere in a header, may count more or fewer
 * bytes than lie behind it, and any number of bytes at the front of the frame need not reach the application.
 *
 * ```
 *  0            offset       offset + bytes                        frame length
 *  +------------+------------+-------------------------------------+
 *  | ...        | value      | ...                                 |
 *  +------------+------------+-------------------------------------+
 *                            |<--------- value + adjustment ------>|
 *  |<-- strip -->|<------------- the message --------------------->|
 *
 *  frame length = offset + bytes + value + adjustment
 * ```
 */
export interface LengthFieldSettings {
  /** How many bytes lie in front of the length field. */
  readonly offset: number;
  /** How many bytes the length field has, 1 to 8. It has no sign. */
  readonly bytes: number;
  readonly endian: 'big' | 'little';
  /** What must be added to the value to have the number of bytes behind the field. */
  readonly adjustment: number;
  /** How many bytes are cut off the front of the frame: up to `offset`, or `offset + bytes` and more. */
  readonly strip: number;
  /** `limits.maxFrameBytes` */
  readonly maxFrameBytes: number;
}

/** The longest frame that these settings allow: by `maxFrameBytes`, and by what the length field can hold. */
function longestFrame({ offset, bytes, adjustment, maxFrameBytes }: LengthFieldSettings): number {
  // A field of 7 or 8 bytes holds more than any limit; its largest value is not exact here, and need not be.
  return Math.min(maxFrameBytes, offset + bytes + 256 ** bytes - 1 + adjustment);
}

/** The longest message that fits in a frame. */
export function longestLengthFieldMessage(settings: LengthFieldSettings): number {
  return longestFrame(settings) - settings.strip;
}

/** The shortest message that a frame can be made of. */
export function shortestLengthFieldMessage({ offset, bytes, adjustment, strip }: LengthFieldSettings): number {
  // The value is 0 at least, and a frame is as long as its header at least.
  return Math.max(0, offset + bytes + Math.max(0, adjustment) - strip);
}

/** What is wrong with a combination of settings, each of which is allowed by itself; undefined if nothing is. */
export function lengthFieldFault(settings: LengthFieldSettings): string | undefined {
  const { offset, bytes, adjustment, strip, maxFrameBytes } = settings;
  const fieldEnd = offset + bytes;
  if (strip > offset && strip < fieldEnd) {
    return `strip is ${strip}, inside the length field (bytes ${offset} to ${fieldEnd - 1}); allowed are 0 to ${offset}, and ${fieldEnd} and more`;
  }
  if (fieldEnd > maxFrameBytes) {
    return `offset + bytes is ${fieldEnd}, more than limits.maxFrameBytes (${maxFrameBytes})`;
  }
  const longest = longestFrame(settings);
  if (longest < fieldEnd) {
    return `adjustment is ${adjustment}: with a field of ${bytes} bytes every frame would end inside its header`;
  }
  if (strip > longest) return `strip is ${strip}, and no frame can be longer than ${longest} bytes`;
  if (shortestLengthFieldMessage(settings) > longest - strip) {
    return `adjustment is ${adjustment}: every frame would be longer than limits.maxFrameBytes (${maxFrameBytes})`;
  }
  return undefined;
}

/** Codec 'fixed'. */
export interface FixedSettings {
  /** How long each message is: 1 byte to 16 MiB. */
  readonly bytes: number;
}
/** Codec 'simple-reactor'. */
export interface SimpleReactorSettings {
  /** Both sides must have the same. */
  readonly compress: boolean;
  /** How often a server sends a heartbeat, and a client expects one. */
  readonly heartbeatMs: number;
  /** `limits.maxFrameBytes` */
  readonly maxFrameBytes: number;
}

/** A codec of the user's. */
export interface ModuleSettings {
  readonly url: string;
  readonly options: unknown;
  /** `limits.maxFrameBytes` */
  readonly maxFrameBytes: number;
}
