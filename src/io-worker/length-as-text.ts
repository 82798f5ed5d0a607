const FIRST_PRINTABLE = 0x20;
const LAST_PRINTABLE = 0x7e;

/**
 * For errors about a length of four bytes, the least significant one first: ' ("GET " as text)' if all of them are printable. A length that
 * is too large is most often the beginning of another protocol, and so whoever reads it sees of which.
 */
export function lengthAsText(length: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(length);
  const isText = bytes.every((byte) => byte >= FIRST_PRINTABLE && byte <= LAST_PRINTABLE);
  return isText ? ` ("${bytes.toString('latin1')}" as text)` : '';
}
