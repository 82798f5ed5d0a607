import { inspect } from 'node:util';
import type { CodecSettings } from '../shared/codec-settings.js';
import { FIRST_USER_KIND } from '../shared/frame-format.js';
import { defaultOf } from '../shared/module-default.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { ServiceSettings } from '../shared/service-settings.js';
import { messageOf } from './codec-failure.js';
import type { ServiceDefinition } from './define-service.js';

/** A module that has been loaded, and what its service is to get. */
export interface LoadedService {
  readonly definition: ServiceDefinition;
  readonly options: unknown;
}

const MAX_NAME_LENGTH = 64;
const MAX_KIND = 255;
const MAX_SLOW_MS = 24 * 60 * 60 * 1000;

const HOOKS = ['start', 'onOpen', 'onMessage', 'onSystem', 'onClose', 'stop'];
const PROPERTIES: readonly string[] = ['name', 'kinds', 'onError', 'slowMs', ...HOOKS];

/**
 * Loads services and checks what they are; nothing of them has been called then. Rejects with ERR_REACTOR_SERVICE_FAILED, or
 * ERR_REACTOR_INVALID_OPTION if they do not go together.
 * @param call for messages
 */
export async function loadServices(
  settings: readonly ServiceSettings[],
  codec: CodecSettings['type'],
  call: string,
): Promise<LoadedService[]> {
  const loaded = await Promise.all(settings.map(loadService));
  const names = new Set<string>();
  const kinds = new Map<number, string>();
  for (const { definition } of loaded) {
    const { name } = definition;
    if (names.has(name)) throw doNotFit(call, `two have the name ${inspect(name)}`);
    names.add(name);
    for (const kind of definition.kinds ?? []) {
      if (codec !== 'frame')
        throw doNotFit(call, `${inspect(name)} has kinds, and only codec 'frame' has any, not '${codec}'`);
      const other = kinds.get(kind);
      if (other !== undefined)
        throw doNotFit(call, `${inspect(other)} and ${inspect(name)} both have the kind ${kind}`);
      kinds.set(kind, name);
    }
  }
  return loaded;
}

async function loadService({ url, options }: ServiceSettings): Promise<LoadedService> {
  try {
    const definition = defaultOf(await import(url));
    const fault = faultOf(definition);
    if (fault !== undefined) throw new TypeError(fault);
    return { definition: definition as ServiceDefinition, options };
  } catch (cause) {
    const message = `The service ${url} could not be loaded: ${messageOf(cause)}`;
    throw new ReactorError('ERR_REACTOR_SERVICE_FAILED', message, { cause });
  }
}

function doNotFit(call: string, fault: string): ReactorError {
  return new ReactorError('ERR_REACTOR_INVALID_OPTION', `${call}: option 'services' cannot work: ${fault}`);
}

/** What keeps it from being a service. */
function faultOf(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null) {
    return 'Its default export is not a service: export default defineService({ ... })';
  }
  const { name, kinds = [], onError, slowMs, onSystem } = value as Partial<Record<string, unknown>>;
  if (typeof name !== 'string' || name.length === 0 || name.length > MAX_NAME_LENGTH) {
    return `Its name must be a string of 1 to ${MAX_NAME_LENGTH} characters, got ${shown(name)}`;
  }
  const unknown = Object.keys(value).find((property) => !PROPERTIES.includes(property));
  if (unknown !== undefined) return `A service has no '${unknown}'; there are ${PROPERTIES.join(', ')}`;
  if (!Array.isArray(kinds) || !kinds.every(isKind) || new Set(kinds).size < kinds.length) {
    return `Its kinds must be different integers from ${FIRST_USER_KIND} to ${MAX_KIND}, got ${shown(kinds)}`;
  }
  if (onError !== undefined && onError !== 'close' && onError !== 'disable') {
    return `Its onError must be 'close' or 'disable', got ${shown(onError)}`;
  }
  if (slowMs !== undefined && !(typeof slowMs === 'number' && slowMs >= 1 && slowMs <= MAX_SLOW_MS)) {
    return `Its slowMs must be a number from 1 to ${MAX_SLOW_MS}, got ${shown(slowMs)}`;
  }
  for (const hook of HOOKS) {
    const given = (value as Partial<Record<string, unknown>>)[hook];
    if (given !== undefined && typeof given !== 'function')
      return `Its ${hook} must be a function, got ${shown(given)}`;
  }
  if (kinds.length > 0 && onSystem === undefined) return 'It has kinds, but no onSystem';
  return onSystem !== undefined && kinds.length === 0 ? 'It has onSystem, but no kinds' : undefined;
}

function isKind(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) >= FIRST_USER_KIND && (value as number) <= MAX_KIND;
}

function shown(value: unknown): string {
  return inspect(value, { depth: 1, maxStringLength: 60, maxArrayLength: 8 });
}
