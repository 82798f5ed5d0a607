import type { LogLevel } from '../shared/log-protocol.js';
import type { ServiceContext, ServiceDefinition, ServiceLog } from './define-service.js';
import type { IoLog } from './io-log.js';

const DEFAULT_SLOW_MS = 20;

/** One report of slow calls in so many ms. */
const REPORT_EVERY_MS = 1000;

/** A service of one server or client, on this io worker. */
export class RunningService {
  readonly definition: ServiceDefinition;
  /** Its place among the services of its server or client. */
  readonly index: number;
  readonly slowMs: number;
  readonly context: ServiceContext;
  /** It is called no more. */
  isOut = false;
  /** See service-clock.ts. */
  callsALook = 1;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #omitted = 0;

  constructor(definition: ServiceDefinition, index: number, contextOf: (service: RunningService) => ServiceContext) {
    this.definition = definition;
    this.index = index;
    this.slowMs = definition.slowMs ?? DEFAULT_SLOW_MS;
    this.context = contextOf(this);
  }

  get name(): string {
    return this.definition.name;
  }

  /** How many slow calls were not reported since the last report; undefined: this one is not either. */
  takeReport(now: number): number | undefined {
    if (now - this.#reportedAt < REPORT_EVERY_MS) {
      this.#omitted++;
      return undefined;
    }
    const omitted = this.#omitted;
    this.#omitted = 0;
    this.#reportedAt = now;
    return omitted;
  }
}

/** The io worker's log, with the service's name in each line. */
export function serviceLog(log: () => IoLog, service: string): ServiceLog {
  const writer =
    (level: LogLevel) =>
    (message: string, fields: object = {}): void => {
      if (log().isEnabled(level)) log().write(level, { ...fields, service }, String(message));
    };
  return { debug: writer('debug'), info: writer('info'), warn: writer('warn'), error: writer('error') };
}
