import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionId } from '../shared/connection-id.js';
import type {
  ConnectRequest,
  ControlResult,
  IoWorkerControl,
  ListenRequest,
  ServerAddress,
} from '../shared/control-protocol.js';
import { ReactorError, toErrorData } from '../shared/reactor-error.js';
import { Acceptor } from './acceptor.js';
import { Connector } from './connector.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import type { TcpConnection } from './tcp-connection.js';

/** The control plane's end in the io worker. */
export class ControlService implements IoWorkerControl {
  readonly #loop: EventLoop;
  readonly #reuseReadBuffer: boolean;
  readonly #acceptors = new Map<number, Acceptor>();
  readonly #connectors = new Map<number, Connector>();

  constructor(loop: EventLoop, reuseReadBuffer: boolean) {
    this.#loop = loop;
    this.#reuseReadBuffer = reuseReadBuffer;
  }

  listen(lane: number, request: ListenRequest): ControlResult<ServerAddress> {
    return settle(async () => {
      const acceptor = new Acceptor(this.#loop, this.#lane(lane), request, this.#reuseReadBuffer);
      const reply = await acceptor.listen(request);
      this.#acceptors.set(request.server, acceptor);
      return reply;
    });
  }

  closeOrigin(id: number, reason: CloseReason, drainMs: number): ControlResult<void> {
    return settle(async () => {
      this.#acceptors.get(id)?.stop();
      this.#acceptors.delete(id);
      const connections = [...this.#loop.slots].filter((connection) => connection.origin.id === id);
      await windDown(connections, reason, drainMs);
    });
  }

  connect(lane: number, request: ConnectRequest): ControlResult<ConnectionId> {
    return settle(async () => {
      const connector = new Connector(this.#loop, request, this.#reuseReadBuffer);
      this.#connectors.set(request.attempt, connector);
      try {
        return await connector.connect(this.#lane(lane));
      } finally {
        this.#connectors.delete(request.attempt);
      }
    });
  }

  abortConnect(attempt: number): ControlResult<void> {
    const error = new ReactorError('ERR_REACTOR_ABORTED', 'The attempt to connect was aborted');
    return settle(async () => this.#connectors.get(attempt)?.abort(error));
  }

  close(drainMs: number): ControlResult<void> {
    return settle(async () => {
      for (const acceptor of this.#acceptors.values()) acceptor.stop();
      this.#acceptors.clear();
      const closed = new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the reactor is closed');
      for (const connector of this.#connectors.values()) connector.abort(closed);
      await windDown([...this.#loop.slots], 'reactor-close', drainMs);
    });
  }

  #lane(index: number): EventLane {
    const lane = this.#loop.lane(index);
    if (lane === undefined) throw new ReactorError('ERR_REACTOR_INTERNAL', `There is no lane ${index}`);
    return lane;
  }
}

async function settle<T>(call: () => Promise<T>): ControlResult<T> {
  try {
    return { ok: true, value: await call() };
  } catch (error) {
    return { ok: false, error: toErrorData(error) };
  }
}

/** Lets every connection finish what it has in hand; after the deadline closes what is left. */
async function windDown(connections: readonly TcpConnection[], reason: CloseReason, drainMs: number): Promise<void> {
  const deadline = setTimeout(() => {
    for (const connection of connections) connection.destroy(reason);
  }, drainMs);
  await Promise.all(connections.map((connection) => connection.windDown(reason)));
  clearTimeout(deadline);
}
