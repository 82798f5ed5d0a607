/** The codec of a server or client as the io worker gets it: checked, with defaults filled in. */
export type CodecSettings =
  | { readonly type: 'frame'; readonly compression: CompressionSettings | undefined }
  | { readonly type: 'raw' }
  | ({ readonly type: 'line' } & LineSettings)
  | ({ readonly type: 'length-field' } & LengthFieldSettings)
  | ({ readonly type: 'fixed' } & FixedSettings)
  | ({ readonly type: 'simple-reactor' } & SimpleReactorSettings)
  | { readonly type: 'module'; readonly url: string; readonly options: unknown };

export interface CompressionSettings {
  /** Shorter messages are sent as they are. */
  readonly thresholdBytes: number;
  readonly dictionary: Uint8Array | undefined;
}

export interface LineSettings {
  readonly delimiter: Uint8Array;
  readonly maxBytes: number;
}
export interface LengthFieldSettings {
  readonly offset: number;
  readonly bytes: number;
  readonly endian: 'big' | 'little';
  readonly adjustment: number;
  readonly strip: number;
}
/** What is wrong with a combination, or undefined. */
export function lengthFieldFault({ offset, bytes, strip }: LengthFieldSettings): string | undefined {
  return strip > offset && strip < offset + bytes ? 'must not cut the length field in two' : undefined;
}
export interface FixedSettings {
  readonly bytes: number;
}
export interface SimpleReactorSettings {
  readonly compress: boolean;
  readonly heartbeatMs: number;
}
