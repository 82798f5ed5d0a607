import { inspect } from 'node:util';
import { ReactorError } from '../shared/reactor-error.js';

export const DAY_MS: number = 24 * 60 * 60 * 1000;

/** Says what is allowed if the value is not. `undefined` never gets here: it means the default. */
export type Check = (value: unknown, path: string, call: string) => string | undefined;

export type Checks<T> = { readonly [K in keyof Required<T>]: Check };

export function integer(min: number, max: number): Check {
  return (value) =>
    Number.isInteger(value) && (value as number) >= min && (value as number) <= max
      ? undefined
      : `an integer from ${min} to ${max}`;
}

export function powerOfTwo(min: number, max: number): Check {
  return (value) =>
    integer(min, max)(value, '', '') === undefined && Number.isInteger(Math.log2(value as number))
      ? undefined
      : `a power of two from ${min} to ${max}`;
}

export function oneOf(...allowed: readonly unknown[]): Check {
  return (value) => (allowed.includes(value) ? undefined : `one of ${allowed.map((one) => inspect(one)).join(', ')}`);
}

export const text: Check = (value) =>
  typeof value === 'string' && value !== '' ? undefined : 'a string that is not empty';
export const flag: Check = oneOf(true, false);

/** Connections that do not get what goes to many. Whose they are is looked at when they are used. */
export const excepted: Check = (value) =>
  typeof value === 'number' || (typeof value === 'object' && value !== null)
    ? undefined
    : 'a connection, an id, or several of them in an iterable';

export function nested<T>(checks: Checks<T>): Check {
  return (value, path, call) => {
    check(call, value, checks, `${path}.`);
    return undefined;
  };
}

/** How an error shows what was given for an option; for options themselves, the name is ''. */
export type Show = (value: unknown, name: string) => string;

export function check<T>(call: string, options: unknown, checks: Checks<T>, prefix = '', shown: Show = show): void {
  const what = prefix === '' ? 'its options' : `option '${prefix.slice(0, -1)}'`;
  if (!isPlainObject(options)) {
    throw new ReactorError(
      'ERR_REACTOR_INVALID_OPTION',
      `${call}: ${what} must be an object, got ${shown(options, '')}`,
    );
  }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(checks, name)) {
      const allowed = Object.keys(checks).join(', ') || 'none';
      const message = `${call}: there is no option '${prefix}${name}'; there are ${allowed}`;
      throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
    }
    checkValue(call, name as keyof T & string, value, checks, prefix, shown);
  }
  // Inherited ones count as well: defaults that somebody has made a prototype of, getters of a class.
  for (const name of Object.keys(checks) as (keyof T & string)[]) {
    const isChecked = Object.prototype.propertyIsEnumerable.call(options, name);
    if (!isChecked) checkValue(call, name, (options as T)[name], checks, prefix, shown);
  }
}

function checkValue<T>(
  call: string,
  name: keyof T & string,
  value: unknown,
  checks: Checks<T>,
  prefix: string,
  shown: Show,
): void {
  if (value === undefined) return;
  const allowed = checks[name](value, `${prefix}${name}`, call);
  if (allowed === undefined) return;
  const message = `${call}: option '${prefix}${name}' must be ${allowed}, got ${shown(value, name)}`;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

/** An AbortSignal, a Map and the like are objects, and would pass for options that say nothing. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return !(Symbol.toStringTag in value);
}

export function show(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (value instanceof URL) return `the URL ${value.href}`;
  return inspect(value, { depth: 0, maxStringLength: 60 });
}

/** What kind of value it is, where the value itself is nobody's business. */
export function showKind(value: unknown): string {
  if (typeof value === 'string') return 'a string';
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return show(value);
  return 'an object';
}

export function need(call: string, options: object, name: string, prefix = ''): void {
  if ((options as Record<string, unknown>)[name] !== undefined) return;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', `${call}: option '${prefix}${name}' is missing`);
}
