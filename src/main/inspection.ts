import { type InspectOptionsStylized, inspect } from 'node:util';

/** A class whose constructor may be private. */
interface Type<T> {
  readonly prototype: T;
}

/**
 * For console.log, debuggers and the messages of errors: `TcpServer { id: 2, state: 'open' }`, what one wants to know, not what an
 * EventEmitter is made of, and the same for JSON, as in logs. What is undefined is left out. To be called in a static block of the class,
 * which may look at what is private.
 */
export function showAs<T extends object>(type: Type<T>, name: string, fieldsOf: (self: T) => object): void {
  Object.defineProperty(type.prototype, inspect.custom, {
    value(this: T, depth: number | null, options: InspectOptionsStylized): string {
      if (depth !== null && depth < 0) return options.stylize(`[${name}]`, 'special');
      const known = Object.entries(fieldsOf(this)).filter(([, value]) => value !== undefined);
      return `${name} ${inspect(Object.fromEntries(known), { ...options, depth })}`;
    },
    writable: true,
    configurable: true,
  });
  Object.defineProperty(type.prototype, 'toJSON', {
    value(this: T): object {
      return fieldsOf(this);
    },
    writable: true,
    configurable: true,
  });
}
