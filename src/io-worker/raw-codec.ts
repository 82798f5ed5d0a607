import type { Decoder, DecoderSink } from './codec.js';

/** Codec 'raw': chunks as they come. */
export class RawDecoder implements Decoder {
  readonly #sink: DecoderSink;

  constructor(sink: DecoderSink) {
    this.#sink = sink;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    return start === end || this.#sink.chunk(bytes, start, end) ? end : start;
  }

  incomplete(): undefined {
    return undefined;
  }
}
