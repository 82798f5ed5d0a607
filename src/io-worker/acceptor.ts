import net from 'node:net';
import type { ListenRequest, ServerAddress } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import { registryCounter } from '../shared/registry.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import { PlainSocket } from './plain-socket.js';
import { type ConnectionOrigin, TcpConnection } from './tcp-connection.js';

/** A listening socket: what comes in through it becomes connections. */
export class Acceptor {
  readonly #origin: ConnectionOrigin;
  readonly #server: net.Server;
  readonly #loop: EventLoop;
  readonly #lane: EventLane;
  readonly #reuseReadBuffer: boolean;

  constructor(loop: EventLoop, lane: EventLane, request: ListenRequest, reuseReadBuffer: boolean) {
    this.#origin = { id: request.server, settings: request.connection };
    this.#loop = loop;
    this.#lane = lane;
    this.#reuseReadBuffer = reuseReadBuffer;
    this.#server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
    this.#server.on('connection', (socket) => this.#adopt(socket));
  }

  async listen(request: ListenRequest): Promise<ServerAddress> {
    const { host, port, backlog } = request;
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        const message = `Cannot listen on ${host ?? '*'}:${port}: ${error.message}`;
        reject(new ReactorError('ERR_REACTOR_LISTEN_FAILED', message, { cause: error }));
      });
      server.listen({ ...(host !== undefined && { host }), port, backlog, exclusive: true }, resolve);
    });
    server.removeAllListeners('error');
    // accept() failed, for want of file descriptors for example: libuv has refused that peer, the others are served on.
    server.on('error', () => this.#loop.registry.count(registryCounter.REFUSED));
    return server.address() as net.AddressInfo;
  }

  /** Stops listening; its connections stay. The server object itself never says that it has closed: see PlainSocket.adopt. */
  stop(): void {
    this.#server.close();
  }

  #adopt(accepted: net.Socket): void {
    const socket = PlainSocket.adopt(accepted, this.#reuseReadBuffer);
    if (TcpConnection.open(this.#loop, this.#lane, socket, this.#origin, 0) === undefined) {
      this.#loop.registry.count(registryCounter.REFUSED);
      socket.destroy();
      return;
    }
    this.#loop.registry.count(registryCounter.ACCEPTED);
  }
}
