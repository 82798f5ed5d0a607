/** From here on, those that nobody has in hand any more are dropped now and then. */
const MIN_STALE = 1024;

/** Objects that others may have in hand: one for each key while somebody has. They are not kept for that. */
export class WeakHandles<K, V extends object> {
  readonly #handles = new Map<K, WeakRef<V>>();
  #staleLimit = MIN_STALE;

  get(key: K): V | undefined {
    return this.#handles.get(key)?.deref();
  }

  set(key: K, value: V): void {
    if (this.#handles.size > this.#staleLimit) this.#dropStale();
    this.#handles.set(key, new WeakRef(value));
  }

  delete(key: K): void {
    this.#handles.delete(key);
  }

  /** Those that are still there. */
  *values(): IterableIterator<V> {
    for (const handle of this.#handles.values()) {
      const value = handle.deref();
      if (value !== undefined) yield value;
    }
  }

  clear(): void {
    this.#handles.clear();
  }

  #dropStale(): void {
    for (const [key, handle] of this.#handles) if (handle.deref() === undefined) this.#handles.delete(key);
    this.#staleLimit = Math.max(MIN_STALE, 2 * this.#handles.size);
  }
}
