import type { ModuleSettings } from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { Codec, CodecChannel, CodecOutput, ConnectionCodec } from './codec.js';

const MAX_MESSAGE_BYTES = 512 * 1024 * 1024;

/** What `export default defineCodec({ create })` gives. */
interface CodecModule {
  readonly create: (options: unknown, limits: { readonly maxFrameBytes: number }) => Codec | Promise<Codec>;
}

/** Loads a codec of the user's. Rejects with ERR_REACTOR_CODEC_FAILED. */
export async function loadModuleCodec({ url, options, maxFrameBytes }: ModuleSettings): Promise<Codec> {
  let codec: unknown;
  try {
    const { default: definition } = (await import(url)) as { default?: unknown };
    if (!isCodecModule(definition))
      throw new TypeError('Its default export is not a codec: export default defineCodec({ ... })');
    codec = await definition.create(options, { maxFrameBytes });
    if (!isCodec(codec))
      throw new TypeError('create() must return an object with open(), and maxMessageBytes of up to 512 MiB');
  } catch (cause) {
    const message = `The codec ${url} could not be loaded: ${cause instanceof Error ? cause.message : String(cause)}`;
    throw new ReactorError('ERR_REACTOR_CODEC_FAILED', message, { cause });
  }
  return guarded(codec);
}

function isCodecModule(value: unknown): value is CodecModule {
  return typeof (value as CodecModule | undefined)?.create === 'function';
}

function isCodec(value: unknown): value is Codec {
  const { maxMessageBytes, minMessageBytes = 0, open } = (value ?? {}) as Partial<Codec>;
  const isLength = (bytes: unknown): bytes is number =>
    Number.isInteger(bytes) && (bytes as number) >= 0 && (bytes as number) <= MAX_MESSAGE_BYTES;
  if (!isLength(maxMessageBytes) || !isLength(minMessageBytes)) return false;
  return minMessageBytes <= maxMessageBytes && typeof open === 'function';
}

/** What is asked of a codec in passing must not throw, nor must its end: only `decode` and `encode` are called with care. */
function guarded(codec: Codec): Codec {
  return {
    maxMessageBytes: codec.maxMessageBytes,
    minMessageBytes: codec.minMessageBytes ?? 0,
    open: (channel) => {
      const connection = codec.open(channel);
      if (typeof connection?.decode !== 'function' || typeof connection.encode !== 'function') {
        throw new TypeError('open() must return an object with decode(), encode() and incomplete()');
      }
      return new GuardedConnection(connection, channel);
    },
  };
}

class GuardedConnection implements ConnectionCodec {
  readonly #codec: ConnectionCodec;
  readonly #channel: CodecChannel;
  #failed = false;

  constructor(codec: ConnectionCodec, channel: CodecChannel) {
    this.#codec = codec;
    this.#channel = channel;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    return this.#codec.decode(bytes, start, end);
  }

  encode(message: Buffer, output: CodecOutput, kind: number): void | Promise<void> {
    return this.#codec.encode(message, output, kind);
  }

  get isWaiting(): boolean {
    return this.#ask(() => this.#codec.isWaiting === true, false);
  }

  get sharedEncoding(): string | undefined {
    return this.#ask(() => this.#codec.sharedEncoding, undefined);
  }

  incomplete(): string | undefined {
    return this.#ask(() => this.#codec.incomplete(), undefined);
  }

  close(): void {
    this.#ask(() => this.#codec.close?.(), undefined);
  }

  #ask<T>(ask: () => T, otherwise: T): T {
    if (this.#failed) return otherwise;
    try {
      return ask();
    } catch (cause) {
      this.#failed = true;
      // Not from here: whoever asks is in the middle of something.
      queueMicrotask(() => {
        const error = new ReactorError('ERR_REACTOR_CODEC_FAILED', 'The codec failed', { cause });
        this.#channel.fail('protocol-error', error);
      });
      return otherwise;
    }
  }
}
