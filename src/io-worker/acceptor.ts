import net from 'node:net';
import type { ListenRequest, ServerAddress } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import { boardCounter } from '../shared/status-board.js';
import { type TlsServerSettings, tlsReasonOf } from '../shared/tls-settings.js';
import type { EventLoop } from './event-loop.js';
import type { Origin } from './origin.js';
import { addressesOf, type UnixPaths } from './socket-addresses.js';
import { SocketStream } from './socket-stream.js';
import { TcpConnection } from './tcp-connection.js';
import { TlsAcceptor } from './tls-acceptor.js';
import { listenOnPath } from './unix-listener.js';

/** A listening socket: what comes in through it becomes connections. */
export class Acceptor {
  readonly #origin: Origin;
  readonly #server: net.Server;
  readonly #tls: TlsAcceptor | undefined;
  readonly #unix: UnixPaths | undefined;
  readonly #loop: EventLoop;
  readonly #reuseReadBuffer: boolean;
  #listening: Promise<ServerAddress> | undefined;
  #address: ServerAddress = { address: '', port: 0, family: '' };

  /** Throws ERR_REACTOR_INVALID_OPTION for TLS settings that cannot be used. */
  constructor(loop: EventLoop, origin: Origin, request: ListenRequest, reuseReadBuffer: boolean) {
    this.#origin = origin;
    this.#loop = loop;
    this.#reuseReadBuffer = reuseReadBuffer;
    const { tls, path } = request;
    if (path !== undefined) this.#unix = { remote: '', local: path };
    if (tls !== undefined) this.#tls = usable(() => this.#makeTls(tls));
    const isPlain = tls === undefined;
    // A socket with TLS reads at once, for the handshake; who ends in the middle of it is not waited for.
    this.#server = net.createServer({ pauseOnConnect: isPlain, allowHalfOpen: isPlain, noDelay: true });
    this.#server.on('connection', (socket) => (isPlain ? this.#adopt(socket) : this.#shakeHands(socket)));
  }

  /** Called again, it answers the same. */
  listen(request: ListenRequest): Promise<ServerAddress> {
    this.#listening ??= this.#listen(request);
    return this.#listening;
  }

  async #listen(request: ListenRequest): Promise<ServerAddress> {
    const { host, port, path, mode, backlog } = request;
    const server = this.#server;
    try {
      if (path !== undefined) await listenOnPath(server, { path, mode, backlog });
      else await this.#bind(request);
    } catch (error) {
      const where = path === undefined ? `${host ?? '*'}:${port}` : JSON.stringify(path);
      const message = `Cannot listen on ${where}: ${(error as Error).message}`;
      throw new ReactorError('ERR_REACTOR_LISTEN_FAILED', message, { cause: error });
    }
    server.removeAllListeners('error');
    // accept() failed, for want of file descriptors for example: libuv has refused that peer, the others are served on.
    server.on('error', (error) => {
      this.#loop.board.count(boardCounter.REFUSED);
      this.#loop.log.write('warn', { server: request.server, error: error.message }, 'A peer could not be accepted');
    });
    this.#address =
      path === undefined ? (server.address() as net.AddressInfo) : { address: path, port: 0, family: 'Unix' };
    this.#loop.log.write('info', { server: request.server, ...this.#address }, 'Server listens');
    return this.#address;
  }

  #bind({ host, port, backlog, home }: ListenRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      const options = { ...(host !== undefined && { host }), port, backlog, exclusive: true };
      // The types are those of Node 20, which has no reusePort.
      const shared = { ...options, reusePort: true } as net.ListenOptions;
      this.#server.listen(home === undefined ? shared : options, resolve);
    });
  }

  get address(): ServerAddress {
    return this.#address;
  }

  /** Throws ERR_REACTOR_INVALID_OPTION, and then nothing changes. */
  updateTls(settings: TlsServerSettings): void {
    usable(() => this.#tls?.update(settings));
  }

  /** Stops listening; its connections stay. The server object itself never says that it has closed: see SocketStream.adopt. */
  stop(): void {
    this.#server.close();
    this.#tls?.stop();
  }

  #makeTls(settings: TlsServerSettings): TlsAcceptor {
    return new TlsAcceptor(settings, this.#loop.table.slots, {
      onSecured: (socket, addresses) => this.#open(SocketStream.secured(socket, addresses)),
      onFailed: (error, peer) => {
        this.#loop.board.count(boardCounter.REFUSED);
        this.#loop.log.write(
          'info',
          { server: this.#origin.id, ...peer, error: error.message },
          'TLS handshake failed',
        );
        this.#origin.announceTlsFailure(peer, error);
      },
    });
  }

  #shakeHands(socket: net.Socket): void {
    if (this.#tls?.accept(socket, addressesOf(socket, this.#unix, true)) === true) return;
    this.#loop.board.count(boardCounter.REFUSED);
    socket.destroy();
  }

  #adopt(socket: net.Socket): void {
    this.#open(SocketStream.adopt(socket, this.#reuseReadBuffer, this.#unix));
  }

  #open(socket: SocketStream): void {
    if (TcpConnection.open(this.#loop, socket, this.#origin, 0) === undefined) {
      this.#loop.board.count(boardCounter.REFUSED);
      this.#loop.log.write('info', { server: this.#origin.id, ...socket.addresses }, 'Refused: maxConnections');
      socket.destroy();
      return;
    }
    this.#loop.board.count(boardCounter.ACCEPTED);
  }
}

/** They have been tried in the thread that has given them; this one may know better. */
function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    const message = `Option 'tls' cannot be used: ${tlsReasonOf(error)}`;
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message, { cause: error });
  }
}
