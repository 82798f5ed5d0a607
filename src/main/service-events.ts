import type { ConnectionId } from '../shared/connection-id.js';
import { fromErrorData } from '../shared/reactor-error.js';
import type { ServiceAction, ServiceErrorReport, ServiceHook, SlowServiceReport } from '../shared/service-report.js';

/** What 'serviceError' tells. */
export interface ServiceFailure {
  /** The service's name. */
  readonly service: string;
  readonly hook: ServiceHook;
  /** What it threw, or rejected with, with the stack that it had there. */
  readonly error: Error;
  /** Undefined if it had no connection in hand. */
  readonly connectionId?: ConnectionId;
  /** What was done: the connection was closed, the service was taken out, or nothing. */
  readonly action: ServiceAction;
}

/** What 'slowService' tells. */
export interface SlowServiceCall {
  readonly service: string;
  readonly hook: ServiceHook;
  /** How long it took; with others for messages of the same read that shared its look at the clock, seven at most. */
  readonly ms: number;
  readonly connectionId?: ConnectionId;
  /** So many slow calls of the service were not told of since the last time. */
  readonly omitted: number;
}

export function failureOf({ type: _, error, ...about }: ServiceErrorReport): ServiceFailure {
  return { ...about, error: fromErrorData(error) };
}

export function slowCallOf({ type: _, ...call }: SlowServiceReport): SlowServiceCall {
  return call;
}
