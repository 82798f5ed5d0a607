import { createHash } from 'node:crypto';
import type { CodecSettings } from '../shared/codec-settings.js';

/** Servers and clients with the same key encode a message alike, as far as one of their connections encodes like another. */
export function encodingKey(id: number, settings: CodecSettings): string {
  // What a codec of the user's makes of its options is its own affair.
  if (settings.type === 'module') return String(id);
  return JSON.stringify(settings, (_, value: unknown) =>
    value instanceof Uint8Array ? createHash('sha256').update(value).digest('base64') : value,
  );
}
