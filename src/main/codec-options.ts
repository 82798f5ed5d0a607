import type { CodecSettings, CompressionSettings } from '../shared/codec-settings.js';
import { DEFAULT_MAX_FRAME_BYTES } from '../shared/frame-format.js';
import { type HeartbeatOptions, heartbeatSettings } from './heartbeat-options.js';

/**
 * How bytes become messages.
 * - `'frame'` (default): messages with a length in front, heartbeats, requests and compression; docs/wire-format.md.
 * - `'raw'`: chunks as they come.
 * - `'line'` and LineCodecOptions: messages with a delimiter behind.
 * - LengthFieldCodecOptions: any header with a length in it.
 * - FixedCodecOptions: messages of one length.
 * - `'simple-reactor'` and SimpleReactorCodecOptions: what SimpleReactor for Python speaks.
 * - ModuleCodecOptions: your own.
 *
 * docs/codecs.md has a page for each.
 */
export type CodecOption =
  | 'frame'
  | 'raw'
  | 'line'
  | 'simple-reactor'
  | { type: 'frame' | 'raw' }
  | LineCodecOptions
  | LengthFieldCodecOptions
  | FixedCodecOptions
  | SimpleReactorCodecOptions
  | ModuleCodecOptions;

export interface LineCodecOptions {
  type: 'line';
  /** What ends a message; it is not part of it. 1 to 16 bytes; a string as UTF-8. Default `'\n'`. */
  delimiter?: string | Uint8Array | undefined;
  /** The longest message, without delimiter. A peer that sends more is closed with 'frame-too-large'. Default 65,536; 1 to 512 MiB. */
  maxBytes?: number | undefined;
}

/** The parameters of Netty's LengthFieldBasedFrameDecoder. `limits.maxFrameBytes` bounds the whole frame. */
export interface LengthFieldCodecOptions {
  type: 'length-field';
  /** Bytes in front of the length field. Default 0; 0 to 65,535. */
  offset?: number | undefined;
  /** Bytes of the length field: 1 to 8. */
  bytes: number;
  /** Byte order of the length field. Default `'big'`. */
  endian?: 'big' | 'little' | undefined;
  /**
   * What is added to the value of the field to get the number of bytes behind it. Default 0; -512 MiB to 512 MiB. Where the field counts the
   * whole frame, it is minus (offset + bytes).
   */
  adjustment?: number | undefined;
  /**
   * Bytes cut off the front of a received frame, and put in front of a sent one. Default offset + bytes: messages have no header. At
   * most `offset`, or at least offset + bytes, up to 65,535.
   */
  strip?: number | undefined;
}

export interface FixedCodecOptions {
  type: 'fixed';
  /** What every message has: `send()` throws for any other length. 1 to 16 MiB. */
  bytes: number;
}

export interface SimpleReactorCodecOptions {
  type: 'simple-reactor';
  /** Whether the peers compress, and this side does; both sides must say the same. Default true. */
  compress?: boolean | undefined;
  /** How often a server sends a heartbeat; a client closes after two such intervals of silence. Default 1,000 ms; 10 ms to one day. */
  heartbeatMs?: number | undefined;
}

export interface ModuleCodecOptions {
  /** A module whose default export is `defineCodec({ ... })`. It is loaded by the io worker. A URL, or a string with one. */
  module: URL | string;
  /** Given to its `create`; anything that can be posted to a thread. */
  options?: unknown;
}

export interface CompressionOptions {
  /** Shorter messages are sent as they are. Default 1,024; 0 to 512 MiB. */
  thresholdBytes?: number | undefined;
  /**
   * What messages are likely to have in common; short ones gain most. Both sides must have the same one, otherwise nothing is
   * compressed. 1 byte to 64 KiB.
   */
  dictionary?: Uint8Array | undefined;
}

const DEFAULT_LINE_BYTES = 65_536;
const DEFAULT_HEARTBEAT_MS = 1000;
const DEFAULT_THRESHOLD_BYTES = 1024;

/** The options that a codec is made of. */
export interface CodecRelatedOptions {
  readonly codec?: CodecOption | undefined;
  readonly compression?: boolean | CompressionOptions | undefined;
  readonly limits?: { readonly maxFrameBytes?: number | undefined } | undefined;
  readonly heartbeat?: boolean | HeartbeatOptions | undefined;
}

/** What the io worker needs to know of it, with defaults filled in. */
export function codecSettings({
  codec = 'frame',
  compression = false,
  limits,
  heartbeat,
}: CodecRelatedOptions): CodecSettings {
  // Each short form is the type of an object that needs nothing else.
  const options = (typeof codec === 'string' ? { type: codec } : codec) as Exclude<CodecOption, string>;
  const maxFrameBytes = limits?.maxFrameBytes ?? DEFAULT_MAX_FRAME_BYTES;
  if ('module' in options) {
    return { type: 'module', url: String(options.module), options: options.options, maxFrameBytes };
  }
  switch (options.type) {
    case 'frame':
      return {
        type: 'frame',
        maxFrameBytes,
        compression: compressionSettings(compression),
        heartbeatMs: heartbeatSettings(heartbeat)?.intervalMs ?? 0,
      };
    case 'raw':
      return { type: 'raw' };
    case 'line': {
      const { delimiter = '\n', maxBytes = DEFAULT_LINE_BYTES } = options;
      return { type: 'line', delimiter: bytesOf(delimiter), maxBytes };
    }
    case 'length-field': {
      const { offset = 0, bytes, endian = 'big', adjustment = 0, strip = offset + bytes } = options;
      return { type: 'length-field', offset, bytes, endian, adjustment, strip, maxFrameBytes };
    }
    case 'fixed':
      return { type: 'fixed', bytes: options.bytes };
    case 'simple-reactor': {
      const { compress = true, heartbeatMs = DEFAULT_HEARTBEAT_MS } = options;
      return { type: 'simple-reactor', compress, heartbeatMs, maxFrameBytes };
    }
  }
}

function compressionSettings(compression: boolean | CompressionOptions): CompressionSettings | undefined {
  if (compression === false) return undefined;
  const { thresholdBytes = DEFAULT_THRESHOLD_BYTES, dictionary } = compression === true ? {} : compression;
  return { thresholdBytes, dictionary: dictionary === undefined ? undefined : bytesOf(dictionary) };
}

/** A copy with memory of its own: what is posted takes all of its memory along. */
function bytesOf(value: string | Uint8Array): Uint8Array {
  return Uint8Array.from(typeof value === 'string' ? Buffer.from(value) : value);
}
