import { setTimeout as wait } from 'node:timers/promises';
import { eventKind } from '../shared/event-record.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError, thrownErrorData } from '../shared/reactor-error.js';
import {
  encodeServiceReport,
  type ReportOrigin,
  type ServiceAction,
  type ServiceHook,
  type ServiceReport,
} from '../shared/service-report.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import { messageOf, tellable } from './codec-failure.js';
import type { ServedConnection } from './connection-services.js';
import type { ServiceConnection, ServiceContext } from './define-service.js';
import type { EventLane } from './event-lane.js';
import type { IoLog } from './io-log.js';
import type { LoadedService } from './load-services.js';
import { RunningService, serviceLog } from './running-service.js';
import { ServiceClock } from './service-clock.js';
import { ServiceTimers } from './service-timers.js';
import type { TimingWheel } from './timing-wheel.js';

/** A service may take so long to stop. */
const MAX_STOP_MS = 1000;

/** What services need of the event loop. */
export interface ServiceParts {
  readonly worker: number;
  readonly board: StatusBoard;
  readonly wheel: TimingWheel;
  readonly log: IoLog;
}

/** The server or client that has them. */
export interface ServicesOwner {
  readonly id: number;
  readonly connections: Iterable<{ readonly services: { readonly views: readonly ServiceConnection[] } | undefined }>;
  /** The threads that know it. */
  readonly informed: Iterable<EventLane>;
}

let lastNumber = 0;

/** The services of one server or client, on this io worker. */
export class Services {
  readonly all: readonly RunningService[];
  /** Those that get messages, in order. */
  receivers: readonly RunningService[];
  /** For calls about what was read. */
  readonly clock: ServiceClock = new ServiceClock((...call) => this.#slow(...call));
  /** By the kind of system message that they get. */
  readonly #byKind = new Map<number, RunningService>();
  readonly #parts: ServiceParts;
  readonly #timers: ServiceTimers[] = [];
  #owner: ServicesOwner | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  /** Tells its reports from those of others that wait for the same ring. */
  readonly #number = ++lastNumber;

  constructor(loaded: readonly LoadedService[], parts: ServiceParts) {
    this.#parts = parts;
    this.all = loaded.map(
      ({ definition, options }, index) =>
        new RunningService(definition, index, (service) => this.#contextOf(service, definition.name, options)),
    );
    this.receivers = this.all.filter(({ definition }) => definition.onMessage !== undefined);
    for (const service of this.all) for (const kind of service.definition.kinds ?? []) this.#byKind.set(kind, service);
  }

  /** From now on its threads hear of what happens. */
  belongTo(owner: ServicesOwner): void {
    this.#owner = owner;
  }

  /** Starts them, in order; called again, it is the same. Rejects with ERR_REACTOR_SERVICE_FAILED, and then all are stopped. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    for (const service of this.all) {
      try {
        await service.definition.start?.(service.context);
      } catch (thrown) {
        const cause = tellable(thrown);
        this.#parts.board.count(boardCounter.SERVICE_FAILURES);
        void this.stop();
        throw failure(service, 'start', cause);
      }
    }
  }

  /** Ends them, in reverse order; called again, it is the same. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const stopped = [...this.all].reverse().map((service) => this.#end(service));
    // Not longer than that: somebody waits for the server to be closed.
    const late = new AbortController();
    await Promise.race([
      Promise.all(stopped),
      wait(MAX_STOP_MS, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
  }

  /** The service that gets system messages of that kind. */
  ofKind(kind: number): RunningService | undefined {
    return this.#byKind.get(kind);
  }

  /** Calls a service about something that is no message. Never throws. */
  call(service: RunningService, hook: ServiceHook, run: () => unknown, connection?: ServedConnection): unknown {
    const since = monotonicMs();
    let result: unknown;
    try {
      result = run();
    } catch (cause) {
      this.failed(service, hook, cause, connection);
    }
    const ms = monotonicMs() - since;
    if (ms > service.slowMs) this.#slow(service, hook, ms, connection);
    return this.watch(service, hook, result, connection);
  }

  /** What a service has returned may be a promise, which may be rejected. The one that is returned is not. */
  watch(service: RunningService, hook: ServiceHook, result: unknown, connection?: ServedConnection): unknown {
    if (typeof result !== 'object' || result === null) return undefined;
    // Anything may have a then(), and may throw from it.
    return Promise.resolve(result).catch((cause) => this.failed(service, hook, cause, connection));
  }

  /** A service threw. */
  failed(service: RunningService, hook: ServiceHook, thrown: unknown, connection?: ServedConnection): void {
    const cause = tellable(thrown);
    const { board, log } = this.#parts;
    board.count(boardCounter.SERVICE_FAILURES);
    const action = actionFor(service, hook, connection);
    const error = thrownErrorData(cause);
    const fields = { ...fieldsOf(service, hook, connection), error: error.message, action, stack: error.stack };
    log.write('error', fields, 'A service failed');
    this.#report({ type: 'error', ...originOf(service, hook, connection), error, action });
    if (action === 'disable') this.#disable(service);
    if (action === 'close') connection?.serviceFailed(failure(service, hook, cause));
  }

  /** A call has taken that long. */
  #slow(service: RunningService, hook: ServiceHook, ms: number, connection?: ServedConnection): void {
    const { board, log } = this.#parts;
    board.count(boardCounter.SLOW_SERVICE_CALLS);
    const omitted = service.takeReport(monotonicMs());
    if (omitted === undefined) return;
    log.write('warn', { ...fieldsOf(service, hook, connection), ms, omitted }, 'A service has held the io worker up');
    this.#report({ type: 'slow', ...originOf(service, hook, connection), ms, omitted });
  }

  /** Of those that wait for room in a ring, the newest is enough. */
  #report(report: ServiceReport): void {
    if (this.#owner === undefined) return;
    const payload = encodeServiceReport(this.#owner.id, report);
    for (const lane of this.#owner.informed) {
      lane.notices.send(eventKind.SERVICE_REPORT, this.#number, report.type === 'error' ? 1 : 2, payload);
    }
  }

  #disable(service: RunningService): void {
    this.receivers = this.receivers.filter((each) => each !== service);
    for (const kind of service.definition.kinds ?? []) this.#byKind.delete(kind);
    void this.#end(service);
  }

  /** It is called for the last time. */
  #end(service: RunningService): unknown {
    if (service.isOut) return undefined;
    service.isOut = true;
    this.#timers[service.index]?.end();
    return this.call(service, 'stop', () => service.definition.stop?.());
  }

  #contextOf(service: RunningService, name: string, options: unknown): ServiceContext {
    const { worker, wheel } = this.#parts;
    const timers = new ServiceTimers(wheel, (fn) => void this.call(service, 'timer', fn));
    this.#timers.push(timers);
    const connections = (): IterableIterator<ServiceConnection> => this.#connectionsOf(service);
    return {
      options,
      ioWorker: worker,
      log: serviceLog(() => this.#parts.log, name),
      after: (ms, fn) => timers.after(ms, fn),
      every: (ms, fn) => timers.every(ms, fn),
      cancel: (timer) => timers.cancel(timer),
      get connections() {
        return connections();
      },
    };
  }

  *#connectionsOf({ index }: RunningService): Generator<ServiceConnection, undefined> {
    for (const { services } of this.#owner?.connections ?? []) {
      const view = services?.views[index];
      if (view !== undefined && view.state !== 'closed') yield view;
    }
  }
}

function originOf(service: RunningService, hook: ServiceHook, connection: ServedConnection | undefined): ReportOrigin {
  return { service: service.name, hook, ...(connection !== undefined && { connectionId: connection.id }) };
}

/** The same in the log, where other lines have `connection`. */
function fieldsOf(service: RunningService, hook: ServiceHook, connection: ServedConnection | undefined): object {
  return { service: service.name, hook, ...(connection !== undefined && { connection: connection.id }) };
}

function actionFor(
  service: RunningService,
  hook: ServiceHook,
  connection: ServedConnection | undefined,
): ServiceAction {
  if (service.isOut) return 'none';
  if (service.definition.onError === 'disable') return 'disable';
  return connection === undefined || hook === 'onClose' || connection.state === 'closed' ? 'none' : 'close';
}

function failure({ name }: RunningService, hook: ServiceHook, cause: unknown): ReactorError {
  const message = `Service '${name}' threw in ${hook === 'timer' ? 'a timer' : hook}: ${messageOf(cause)}`;
  return new ReactorError('ERR_REACTOR_SERVICE_FAILED', message, { cause });
}
