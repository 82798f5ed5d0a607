import { monotonicMs } from '../shared/monotonic-clock.js';
import type { ServiceHook } from '../shared/service-report.js';
import type { ServedConnection } from './connection-services.js';
import type { RunningService } from './running-service.js';

/** Calls that have taken less in all are quick. Less than any `slowMs`. */
const QUICK_MS = 0.5;

/** As many quick calls, at most, share a look at the clock. */
const MAX_CALLS_A_LOOK = 8;

/**
 * How long the services of a server or client take with what one read has brought. To look at the clock can cost as much as what a
 * service does with a short message, so that calls which follow each other share a look for as long as all of them together are quick: none
 * of those was slow. Once they are not, each call has its own again; the first slow ones may be told of as one, with their time in all.
 */
export class ServiceClock {
  readonly #onSlow: (service: RunningService, hook: ServiceHook, ms: number, connection: ServedConnection) => void;
  #connection: ServedConnection | undefined;
  /** Of the calls since the last look. */
  #service: RunningService | undefined;
  #hook: ServiceHook = 'onMessage';
  #calls = 0;
  #since = 0;

  constructor(onSlow: (service: RunningService, hook: ServiceHook, ms: number, connection: ServedConnection) => void) {
    this.#onSlow = onSlow;
  }

  /** Calls about this connection follow, until `end`. */
  begin(connection: ServedConnection): void {
    this.#connection = connection;
    this.#since = monotonicMs();
  }

  /** In front of each call. */
  enter(service: RunningService, hook: ServiceHook): void {
    if (this.#calls > 0 && (service !== this.#service || hook !== this.#hook)) this.#look();
    this.#service = service;
    this.#hook = hook;
  }

  /** Behind it. */
  leave(service: RunningService): void {
    if (++this.#calls >= service.callsALook) this.#look();
  }

  end(): void {
    if (this.#calls > 0) this.#look();
    this.#connection = undefined;
  }

  #look(): void {
    const service = this.#service as RunningService;
    const now = monotonicMs();
    const ms = now - this.#since;
    this.#since = now;
    this.#calls = 0;
    service.callsALook = ms < QUICK_MS ? Math.min(2 * service.callsALook, MAX_CALLS_A_LOOK) : 1;
    if (ms > service.slowMs) this.#onSlow(service, this.#hook, ms, this.#connection as ServedConnection);
  }
}
