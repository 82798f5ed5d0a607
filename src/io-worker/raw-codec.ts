import type { Codec, CodecOutput, ConnectionCodec } from './codec.js';
import type { ConnectionChannel } from './codec-channel.js';

/** The longest single send() without messages. */
const MAX_RAW_BYTES = 256 * 1024 * 1024;

/** Codec 'raw': chunks as they come, bytes as they are sent. */
export class RawCodec implements Codec {
  readonly maxMessageBytes: number = MAX_RAW_BYTES;

  open(channel: ConnectionChannel): ConnectionCodec {
    return {
      passesThrough: true,
      sharedEncoding: 'raw',
      decode: (bytes, start, end) => (start === end || channel.chunk(bytes, start, end) ? end : start),
      incomplete: () => undefined,
      encode: (message: Buffer, output: CodecOutput) => output.write(message),
    };
  }
}
