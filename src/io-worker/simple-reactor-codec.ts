import type { Codec, ConnectionCodec } from './codec.js';
export class SimpleReactorCodec implements Codec {
  readonly maxMessageBytes: number = 0;
  constructor(_settings: object) {}
  open(): ConnectionCodec {
    throw new Error('not yet');
  }
}
