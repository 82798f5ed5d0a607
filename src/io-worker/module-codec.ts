import type { ModuleSettings } from '../shared/codec-settings.js';
import { defaultOf } from '../shared/module-default.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { Codec } from './codec.js';
import { messageOf, tellable } from './codec-failure.js';
import { guarded, MAX_MESSAGE_BYTES } from './guarded-codec.js';

/** What `export default defineCodec({ create })` gives. */
interface CodecModule {
  readonly create: (options: unknown, limits: { readonly maxFrameBytes: number }) => Codec | Promise<Codec>;
}

/** Loads a codec of the user's. Rejects with ERR_REACTOR_CODEC_FAILED. */
export async function loadModuleCodec({ url, options, maxFrameBytes }: ModuleSettings): Promise<Codec> {
  const definition = await load(url);
  let codec: unknown;
  try {
    codec = await definition.create(options, { maxFrameBytes });
  } catch (thrown) {
    const cause = tellable(thrown);
    throw unusable(`The codec ${url} could not be made: its create() threw: ${messageOf(cause)}`, cause);
  }
  if (isCodec(codec)) return guarded(codec);
  const cause = new TypeError('create() must return an object with open(), and maxMessageBytes of up to 512 MiB');
  throw unusable(`The codec ${url} could not be made: its ${cause.message}`, cause);
}

async function load(url: string): Promise<CodecModule> {
  try {
    const definition = defaultOf(await import(url));
    if (isCodecModule(definition)) return definition;
    throw new TypeError('Its default export is not a codec: export default defineCodec({ ... })');
  } catch (thrown) {
    const cause = tellable(thrown);
    throw unusable(`The codec ${url} could not be loaded: ${messageOf(cause)}`, cause);
  }
}

function unusable(message: string, cause: unknown): ReactorError {
  return new ReactorError('ERR_REACTOR_CODEC_FAILED', message, { cause });
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
