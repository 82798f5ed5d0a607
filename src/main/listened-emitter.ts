import { EventEmitter } from 'node:events';
import { markUncloneable } from './uncloneable.js';

/**
 * An EventEmitter that is told of its listeners. Listeners of its own for 'newListener' and 'removeListener' would be gone with
 * `removeAllListeners()`, and take memory of each connection.
 */
export abstract class ListenedEmitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** @internal */
  constructor() {
    super();
    markUncloneable(this);
  }

  /** @internal A listener for that event has been added. */
  abstract listenerAdded(event: string | symbol): void;

  /** @internal Listeners have been removed. */
  listenersRemoved(): void {}
}

// Whatever else adds or removes a listener does it through one of these. Not as methods: their types, with the events', are EventEmitter's.

for (const method of ['on', 'addListener', 'prependListener'] as const) {
  Object.defineProperty(ListenedEmitter.prototype, method, {
    value(this: ListenedEmitter<never>, event: string | symbol, listener: (...args: unknown[]) => void) {
      EventEmitter.prototype[method].call(this, event, listener);
      this.listenerAdded(event);
      return this;
    },
    writable: true,
    configurable: true,
  });
}

for (const method of ['off', 'removeListener', 'removeAllListeners'] as const) {
  Object.defineProperty(ListenedEmitter.prototype, method, {
    value(this: ListenedEmitter<never>, ...args: never) {
      Reflect.apply(EventEmitter.prototype[method], this, args);
      this.listenersRemoved();
      return this;
    },
    writable: true,
    configurable: true,
  });
}
