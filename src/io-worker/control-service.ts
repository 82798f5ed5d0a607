import type { CloseReason } from '../shared/close-reason.js';
import { type ConnectionId, generationOf, slotOf } from '../shared/connection-id.js';
import { MAX_LANES } from '../shared/connection-table.js';
import type {
  ConnectionDetails,
  ConnectRequest,
  ControlResult,
  DrainReport,
  IoWorkerControl,
  LaneWelcome,
  ListenRequest,
  ServerAddress,
  ServerDescription,
  SocketWays,
} from '../shared/control-protocol.js';
import { NOTHING_DRAINED, sumDrained } from '../shared/drain-report.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { ReactorError, toErrorData } from '../shared/reactor-error.js';
import type { TlsServerSettings } from '../shared/tls-settings.js';
import { Acceptor } from './acceptor.js';
import type { ClientServices, ClientServicesHold } from './client-services.js';
import type { Codec } from './codec.js';
import { Connector } from './connector.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import { loadCodec } from './load-codec.js';
import { loadServices } from './load-services.js';
import { Origin } from './origin.js';
import { Reconnector } from './reconnector.js';
import { Services } from './services.js';
import type { TlsClientContexts } from './tls-client-contexts.js';

/** What all threads' calls have in common. */
export interface IoWorkerParts {
  readonly loop: EventLoop;
  readonly ioWorkers: number;
  readonly sockets: SocketWays;
  /** By the number of the call that has asked for them. */
  readonly reconnectors: Map<number, Reconnector>;
  readonly clientContexts: TlsClientContexts;
  /** Servers from before this io worker that were closed: a thread that has not heard of it must not have them listen again. */
  readonly closedServers: Set<number>;
  readonly clientServices: ClientServices;
  /** Servers with lower numbers are from before. */
  readonly firstFreshServer: number;
  /** Until then (monotonicMs) servers may be missing that threads are about to restore. */
  readonly restoredUntil: number;
  /** Resolves when all lines are written, or after so long; for the last time. */
  readonly closeLog: (timeoutMs: number) => Promise<void>;
}

/** What a thread gets when it joins. */
export interface OpenedLane {
  readonly lane: EventLane;
  readonly welcome: LaneWelcome;
}

const LOOK_AGAIN_MS = 10;

/** When all is closed so late, the log may still take so long; shorter than the app thread waits for the answer. */
const LOG_GRACE_MS = 800;

/** The control plane's end in the io worker, for one lane. */
export class ControlService implements IoWorkerControl {
  readonly #parts: IoWorkerParts;
  readonly #loop: EventLoop;
  readonly #open: () => OpenedLane | undefined;
  /** The thread's, once it has joined. */
  #lane: EventLane | undefined;
  /** Attempts of this thread. */
  readonly #attempts = new Set<Reconnector>();

  /** @param open gives the thread its lane, or undefined if there is none left */
  constructor(parts: IoWorkerParts, open: () => OpenedLane | undefined) {
    this.#parts = parts;
    this.#loop = parts.loop;
    this.#open = open;
  }

  join(): ControlResult<LaneWelcome> {
    return settle(async () => {
      const opened = this.#open();
      if (opened === undefined) {
        const message = `attach(): the reactor serves ${MAX_LANES} threads at most`;
        throw new ReactorError('ERR_REACTOR_TOO_MANY_THREADS', message);
      }
      this.#lane = opened.lane;
      return opened.welcome;
    });
  }

  listen(request: ListenRequest, seniority: number | undefined): ControlResult<ServerAddress> {
    return settle(async () => {
      const lane = this.#openLane();
      const codec = await loadCodec(request.connection.codec, this.#loop.wheel);
      const { services: wanted } = request.connection;
      const services = wanted.length === 0 ? [] : await loadServices(wanted, request.connection.codec.type, 'listen()');
      // Behind all waiting: from here on nobody comes in between.
      const known = this.#loop.origins.get(request.server);
      if (lane.isRetired) throw threadHasLeft();
      if (this.#parts.closedServers.has(request.server)) throw noSuchServer(request.server);
      if (known?.acceptor !== undefined) {
        known.inform(lane);
        // Of several threads that restore it after a crash, only some may know of the last update.
        if (request.tls !== undefined) known.updateTls(request.tls);
        return known.acceptor.listen(request);
      }
      const origin = Origin.server(request, codec, this.#loop);
      if (services.length > 0) {
        origin.services = new Services(services, this.#loop);
        origin.services.belongTo(origin);
      }
      const acceptor = new Acceptor(this.#loop, origin, request, this.#parts.sockets);
      origin.inform(lane);
      if (seniority !== undefined) origin.subscribe(lane, seniority);
      // Known before it listens: two threads may ask for it after a crash.
      this.#loop.origins.set(request.server, origin);
      origin.acceptor = acceptor;
      try {
        return await acceptor.listen(request);
      } catch (error) {
        // Two may have waited for it.
        if (this.#loop.origins.get(request.server) === origin) this.#loop.origins.delete(request.server);
        await origin.services?.stop();
        throw error;
      }
    });
  }

  subscribe(server: number, seniority: number): ControlResult<ServerDescription> {
    return settle(async () => {
      const { origin, request, acceptor } = await this.#server(server);
      origin.subscribe(this.#openLane(), seniority);
      return { request, address: acceptor.address };
    });
  }

  unsubscribe(server: number, unlessLast: boolean): ControlResult<boolean> {
    return settle(async () => {
      const origin = this.#loop.origins.get(server);
      const lane = this.#openLane();
      if (origin === undefined) return true;
      const { audience } = origin;
      if (unlessLast && audience.size - (audience.has(lane) ? 1 : 0) === 0) return false;
      await origin.unsubscribe(lane);
      return true;
    });
  }

  updateTls(server: number, tls: TlsServerSettings): ControlResult<void> {
    return settle(async () => {
      const { origin, request } = await this.#server(server);
      if (request.tls === undefined) {
        throw new ReactorError('ERR_REACTOR_INVALID_OPTION', `updateTls(): server ${server} listens without 'tls'`);
      }
      origin.updateTls(tls);
    });
  }

  describe(server: number): ControlResult<ServerDescription> {
    return settle(async () => {
      const { request, acceptor } = await this.#server(server);
      return { request, address: acceptor.address };
    });
  }

  closeOrigin(id: number, reason: CloseReason, drainMs: number): ControlResult<DrainReport> {
    return settle(async () => {
      const origin = this.#loop.origins.get(id);
      // Also if it is not known here: after a crash, a slower thread may still ask for it. Clients are never asked for.
      if (reason === 'server-close' && id < this.#parts.firstFreshServer) this.#parts.closedServers.add(id);
      if (origin === undefined || origin.isEnded) return NOTHING_DRAINED;
      const report = await origin.windDown(reason, drainMs);
      // A client's may get further connections from attempts that were under way.
      if (!origin.isServer) return report;
      this.#loop.log.write('info', { server: id }, 'Server closed');
      await origin.services?.stop();
      origin.isEnded = true;
      if (origin.isUnused) this.#loop.origins.delete(id);
      origin.announceEnd();
      return report;
    });
  }

  connect(request: ConnectRequest): ControlResult<ConnectionId> {
    return settle(async () => {
      const lane = this.#openLane();
      const services = this.#parts.clientServices.hold(request);
      const { sockets, clientContexts, reconnectors } = this.#parts;
      const loading = loadCodec(request.connection.codec, this.#loop.wheel);
      // While the services start nobody waits for it.
      loading.catch(() => undefined);
      const codec = services === undefined ? loading : services.started.then(() => loading);
      const originOf = (loaded: Codec): Origin => this.#clientOrigin(request, loaded, services);
      const parts = { sockets, clientContexts, codec, originOf };
      const reconnector = new Reconnector(
        this.#loop,
        request,
        lane,
        codec,
        (to) => new Connector(this.#loop, request, to, parts),
        () => {
          reconnectors.delete(request.attempt);
          this.#attempts.delete(reconnector);
          services?.release();
          const origin = this.#loop.origins.get(request.client);
          if (origin?.isUnused === true) this.#loop.origins.delete(request.client);
        },
      );
      reconnectors.set(request.attempt, reconnector);
      this.#attempts.add(reconnector);
      try {
        return (await reconnector.connect()).id;
      } finally {
        const origin = this.#loop.origins.get(request.client);
        if (origin?.isUnused === true) this.#loop.origins.delete(request.client);
      }
    });
  }

  abortConnect(attempt: number): ControlResult<void> {
    const error = new ReactorError('ERR_REACTOR_ABORTED', 'The attempt to connect was aborted');
    return settle(async () => this.#parts.reconnectors.get(attempt)?.abort(error));
  }

  info(id: ConnectionId): ControlResult<ConnectionDetails | undefined> {
    return settle(async () => {
      const connection = this.#loop.slots.get(slotOf(id));
      if (connection === undefined || connection.isClosed) return undefined;
      return connection.generation === generationOf(id) ? connection.details : undefined;
    });
  }

  close(drainMs: number): ControlResult<DrainReport> {
    return settle(async () => {
      const until = monotonicMs() + drainMs + LOG_GRACE_MS;
      const closed = new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the reactor is closed');
      for (const reconnector of [...this.#parts.reconnectors.values()]) reconnector.abort(closed);
      const origins = [...this.#loop.origins.values()];
      const drained = await Promise.all(origins.map((origin) => origin.windDown('reactor-close', drainMs)));
      await Promise.all(origins.map((origin) => origin.services?.stop()));
      await this.#parts.closeLog(Math.max(0, until - monotonicMs()));
      return sumDrained(drained);
    });
  }

  /** The thread has ended: what it was connecting is nobody's. */
  abortAttempts(): void {
    const gone = new ReactorError('ERR_REACTOR_ABORTED', 'The thread that was connecting has ended');
    for (const reconnector of [...this.#attempts]) reconnector.abort(gone);
  }

  #openLane(): EventLane {
    const lane = this.#lane;
    if (lane === undefined || lane.isRetired) throw threadHasLeft();
    return lane;
  }

  async #server(id: number): Promise<{ origin: Origin; request: ListenRequest; acceptor: Acceptor }> {
    for (;;) {
      const origin = this.#loop.origins.get(id);
      const { request, acceptor } = origin ?? {};
      if (origin?.isEnded === true) throw noSuchServer(id);
      if (origin !== undefined && request !== undefined && acceptor !== undefined) {
        // It may be about to listen again.
        await acceptor.listen(request);
        if (this.#loop.origins.get(id) !== origin || origin.isEnded) continue;
        return { origin, request: origin.request ?? request, acceptor };
      }
      const mayCome = monotonicMs() < this.#parts.restoredUntil && !this.#parts.closedServers.has(id);
      if (!mayCome) throw noSuchServer(id);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  #clientOrigin(request: ConnectRequest, codec: Codec, services: ClientServicesHold | undefined): Origin {
    const { client: id, connection } = request;
    const known = this.#loop.origins.get(id);
    if (known !== undefined) return known;
    const origin = Origin.client(id, connection, codec, this.#openLane(), this.#loop);
    origin.clientServices = services;
    origin.services = services?.services;
    origin.services?.belongTo(origin);
    this.#loop.origins.set(id, origin);
    return origin;
  }
}

function threadHasLeft(): ReactorError {
  return new ReactorError('ERR_REACTOR_CLOSED', 'The thread has left the reactor');
}

function noSuchServer(id: number): ReactorError {
  return new ReactorError('ERR_REACTOR_NO_SUCH_SERVER', `There is no server ${id}; it may have been closed`);
}

async function settle<T>(call: () => Promise<T>): ControlResult<T> {
  try {
    return { ok: true, value: await call() };
  } catch (error) {
    return { ok: false, error: toErrorData(error) };
  }
}
