import type { Codec } from './codec.js';

/** What a codec module exports as its default. */
export interface CodecDefinition<Options = unknown> {
  /**
   * Makes the codec of a server or client, on the io worker, before it listens or connects. `options` is what stood beside `module`;
   * check it here: what is thrown rejects the call. `limits` are the server's or client's.
   */
  create(options: Options, limits: { readonly maxFrameBytes: number }): Codec | Promise<Codec>;
}

/**
 * For a codec module: `export default defineCodec({ create: (options) => codec })`. It gives back what it is given, with its types
 * checked. Thread: any.
 */
export function defineCodec<Options>(definition: CodecDefinition<Options>): CodecDefinition<Options> {
  return definition;
}
