/** Objects in objects; what is deeper pino writes as '[Object]', too. */
const MAX_DEPTH = 5;

/** The fields of a line, with bytes replaced by how many they are, and by as many of them as are to be shown, wherever they are. */
export function hidePayloads(fields: object, shownBytes: number): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  const copies = new Copies(shownBytes);
  for (const [name, value] of Object.entries(fields)) shown[name] = copies.of(value, 1);
  return shown;
}

class Copies {
  readonly #shownBytes: number;
  /** What is reached twice, or in a circle, is copied once. */
  readonly #made = new Map<object, object>();

  constructor(shownBytes: number) {
    this.#shownBytes = shownBytes;
  }

  of(value: unknown, depth: number): unknown {
    if (typeof value !== 'object' || value === null) return value;
    if (ArrayBuffer.isView(value)) return showPayload(value, this.#shownBytes);
    if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) {
      return showPayload(new Uint8Array(value), this.#shownBytes);
    }
    if (value instanceof Date || value instanceof RegExp) return value;
    const made = this.#made.get(value);
    if (made !== undefined) return made;
    if (depth > MAX_DEPTH) return Array.isArray(value) ? '[Array]' : '[Object]';
    const { toJSON } = value as { toJSON?: unknown };
    // What JSON would make of it.
    if (typeof toJSON === 'function') return this.of(toJSON.call(value, ''), depth + 1);
    return this.#make(value, depth + 1);
  }

  #make(value: object, depth: number): object {
    if (Array.isArray(value)) {
      const items: unknown[] = this.#begin(value, []);
      for (const item of value) items.push(this.of(item, depth));
      return items;
    }
    if (value instanceof Set) {
      const items = this.#begin(value, new Set());
      for (const item of value) items.add(this.of(item, depth));
      return items;
    }
    if (value instanceof Map) {
      const entries = this.#begin(value, new Map());
      for (const [key, item] of value) entries.set(this.of(key, depth), this.of(item, depth));
      return entries;
    }
    if (value instanceof Error) return this.#makeError(value, depth);
    const copy = this.#begin<Record<string, unknown>>(value, {});
    for (const [name, item] of Object.entries(value)) copy[name] = this.of(item, depth);
    return copy;
  }

  /** It stays one: pino and ports treat errors as such. Most of what it has is not enumerable. */
  #makeError(error: Error, depth: number): Error {
    const copy = this.#begin(error, Object.setPrototypeOf(new Error(error.message), Object.getPrototypeOf(error)));
    for (const [name, { enumerable = false }] of Object.entries(Object.getOwnPropertyDescriptors(error))) {
      const value = this.of(error[name as keyof Error], depth);
      Object.defineProperty(copy, name, { value, enumerable, writable: true, configurable: true });
    }
    return copy;
  }

  #begin<T extends object>(value: object, copy: T): T {
    this.#made.set(value, copy);
    return copy;
  }
}

function showPayload({ buffer, byteOffset, byteLength }: ArrayBufferView, bytes: number): string {
  const size = `${byteLength} bytes`;
  if (bytes === 0) return `[${size}]`;
  const shown = Buffer.from(buffer, byteOffset, Math.min(bytes, byteLength)).toString('hex');
  return bytes < byteLength ? `${shown}... [${size}]` : shown;
}
