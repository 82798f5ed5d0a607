import net from 'node:net';
import type { ListenRequest, ServerAddress } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import { boardCounter } from '../shared/status-board.js';
import type { EventLoop } from './event-loop.js';
import type { Origin } from './origin.js';
import { PlainSocket } from './plain-socket.js';
import { TcpConnection } from './tcp-connection.js';

/** A listening socket: what comes in through it becomes connections. */
export class Acceptor {
  readonly #origin: Origin;
  readonly #server: net.Server;
  readonly #loop: EventLoop;
  readonly #reuseReadBuffer: boolean;
  #listening: Promise<ServerAddress> | undefined;
  #address: ServerAddress = { address: '', port: 0, family: '' };

  constructor(loop: EventLoop, origin: Origin, reuseReadBuffer: boolean) {
    this.#origin = origin;
    this.#loop = loop;
    this.#reuseReadBuffer = reuseReadBuffer;
    this.#server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
    this.#server.on('connection', (socket) => this.#adopt(socket));
  }

  /** Called again, it answers the same. */
  listen(request: ListenRequest): Promise<ServerAddress> {
    this.#listening ??= this.#listen(request);
    return this.#listening;
  }

  async #listen(request: ListenRequest): Promise<ServerAddress> {
    const { host, port, backlog, home } = request;
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) => {
        const message = `Cannot listen on ${host ?? '*'}:${port}: ${error.message}`;
        reject(new ReactorError('ERR_REACTOR_LISTEN_FAILED', message, { cause: error }));
      });
      const options = { ...(host !== undefined && { host }), port, backlog, exclusive: true };
      // The types are those of Node 20, which has no reusePort.
      server.listen(home === undefined ? ({ ...options, reusePort: true } as net.ListenOptions) : options, resolve);
    });
    server.removeAllListeners('error');
    // accept() failed, for want of file descriptors for example: libuv has refused that peer, the others are served on.
    server.on('error', () => this.#loop.board.count(boardCounter.REFUSED));
    this.#address = server.address() as net.AddressInfo;
    return this.#address;
  }

  get address(): ServerAddress {
    return this.#address;
  }

  /** Stops listening; its connections stay. The server object itself never says that it has closed: see PlainSocket.adopt. */
  stop(): void {
    this.#server.close();
  }

  #adopt(accepted: net.Socket): void {
    const socket = PlainSocket.adopt(accepted, this.#reuseReadBuffer);
    if (TcpConnection.open(this.#loop, socket, this.#origin, 0) === undefined) {
      this.#loop.board.count(boardCounter.REFUSED);
      socket.destroy();
      return;
    }
    this.#loop.board.count(boardCounter.ACCEPTED);
  }
}
