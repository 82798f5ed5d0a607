import { MAX_SERVICES, type ServiceSettings } from '../shared/service-settings.js';
import { type Check, type Checks, check, isPlainObject, need } from './checks.js';
import { moduleUrl, posted } from './codec-checks.js';

/** A module whose default export is `defineService({ ... })`: a URL, or a string with one. It is loaded by the io worker. */
export type ServiceOption = URL | string | ServiceModuleOptions;

export interface ServiceModuleOptions {
  module: URL | string;
  /** Given to the service as `context.options`; anything that can be posted to a thread. */
  options?: unknown;
}

const url = moduleUrl('./my-service.js');

const moduleForm: Checks<ServiceModuleOptions> = { module: url, options: posted };

const service: Check = (value, path, call) => {
  if (!isPlainObject(value)) return url(value, path, call);
  check(call, value, moduleForm, `${path}.`);
  need(call, value, 'module', `${path}.`);
  return undefined;
};

export const services: Check = (value, path, call) => {
  if (!Array.isArray(value) || value.length > MAX_SERVICES) return `an array of up to ${MAX_SERVICES} services`;
  // Not with map(), which passes over holes.
  const entries = Array.from(value, (each, index) => [`${index}`, each ?? null] as const);
  const checks = Object.fromEntries(entries.map(([name]) => [name, service]));
  check(call, Object.fromEntries(entries), checks, `${path}.`);
  return undefined;
};

/** What the io worker needs to know of them. */
export function serviceSettings(options: readonly ServiceOption[] = []): ServiceSettings[] {
  return options.map((option) => {
    if (option instanceof URL || typeof option === 'string') return { url: String(option), options: undefined };
    return { url: String(option.module), options: option.options };
  });
}
