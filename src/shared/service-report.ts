import type { ConnectionId } from './connection-id.js';
import type { ErrorData } from './reactor-error.js';

/** In which part of a service something happened. */
export type ServiceHook = 'start' | 'onOpen' | 'onMessage' | 'onSystem' | 'onClose' | 'stop' | 'timer';

/** What was done about a service that threw: its connection was closed, the service was taken out, or there was nothing to do. */
export type ServiceAction = 'close' | 'disable' | 'none';

/** Whom a report is about. */
export interface ReportOrigin {
  /** The service's name. */
  readonly service: string;
  readonly hook: ServiceHook;
  /** Missing if it was about none. */
  readonly connectionId?: ConnectionId;
}

/** A service threw, or a promise of its was rejected. */
export interface ServiceErrorReport extends ReportOrigin {
  readonly type: 'error';
  readonly error: ErrorData;
  readonly action: ServiceAction;
}

/** A service held the io worker up. */
export interface SlowServiceReport extends ReportOrigin {
  readonly type: 'slow';
  readonly ms: number;
  /** So many others were not reported since the last report of that service. */
  readonly omitted: number;
}

export type ServiceReport = ServiceErrorReport | SlowServiceReport;

/**
 * ```
 *  0            8
 *  +------------+----------------+
 *  | origin f64 | report as JSON |
 *  +------------+----------------+
 * ```
 */
const reportOffset = { ORIGIN: 0, JSON: 8 } as const;

export function encodeServiceReport(origin: number, report: ServiceReport): Buffer {
  const json = JSON.stringify(report);
  const payload = Buffer.alloc(reportOffset.JSON + Buffer.byteLength(json));
  payload.writeDoubleLE(origin, reportOffset.ORIGIN);
  payload.write(json, reportOffset.JSON);
  return payload;
}

export function decodeServiceReport(payload: Buffer): { readonly origin: number; readonly report: ServiceReport } {
  return {
    origin: payload.readDoubleLE(reportOffset.ORIGIN),
    report: JSON.parse(payload.toString('utf8', reportOffset.JSON)) as ServiceReport,
  };
}
