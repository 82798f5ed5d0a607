import net from 'node:net';
import type { ListenRequest, ServerAddress, SocketWays } from '../shared/control-protocol.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import { ReactorError } from '../shared/reactor-error.js';
import { boardCounter } from '../shared/status-board.js';
import { type TlsServerSettings, tlsReasonOf } from '../shared/tls-settings.js';
import { AcceptLimits } from './accept-limits.js';
import { AcceptQueue } from './accept-queue.js';
import { type AcceptedHandle, peerAddressOf, takeHandles } from './accepted-handles.js';
import { bytesPerRead } from './connection-limits.js';
import { errorFields } from './error-fields.js';
import type { EventLoop } from './event-loop.js';
import type { Origin } from './origin.js';
import { addressesOf, type UnixPaths } from './socket-addresses.js';
import { SocketStream } from './socket-stream.js';
import { TcpConnection } from './tcp-connection.js';
import { TlsAcceptor } from './tls-acceptor.js';
import { listenOnPath } from './unix-listener.js';

/** One that no net.Socket has been made of. */
interface AcceptedSocket {
  readonly handle: AcceptedHandle;
  /** What it counts for, if limits by address do. */
  readonly address: string;
}

/** A listening socket: what comes in through it becomes connections. */
export class Acceptor {
  readonly #origin: Origin;
  readonly #server: net.Server;
  readonly #tls: TlsAcceptor | undefined;
  readonly #unix: UnixPaths | undefined;
  readonly #loop: EventLoop;
  readonly #sockets: SocketWays;
  readonly #readBytes: number;
  readonly #limits: AcceptLimits | undefined;
  /** Plain ones. */
  readonly #accepted: AcceptQueue<AcceptedSocket>;
  /** When sockets were accepted whose handshake is under way. */
  readonly #acceptedAt = new WeakMap<ConnectionAddresses, number>();
  #listening: Promise<ServerAddress> | undefined;
  #isStopped = false;
  #address: ServerAddress = { address: '', port: 0, family: '' };

  /** Throws ERR_REACTOR_INVALID_OPTION for TLS settings that cannot be used. */
  constructor(loop: EventLoop, origin: Origin, request: ListenRequest, sockets: SocketWays) {
    this.#origin = origin;
    this.#loop = loop;
    this.#sockets = sockets;
    this.#readBytes = bytesPerRead(request.connection.limits);
    const { tls, path, acceptLimits, backlog } = request;
    this.#accepted = new AcceptQueue(
      backlog,
      () => loop.wheel.now,
      (accepted, waitedMs) => this.#openHandle(accepted, waitedMs),
    );
    if (acceptLimits !== undefined) this.#limits = new AcceptLimits(acceptLimits, loop.worker);
    if (path !== undefined) this.#unix = { remote: '', local: path };
    if (tls !== undefined) this.#tls = usable(() => this.#makeTls(tls));
    const isPlain = tls === undefined;
    // A socket with TLS reads at once, for the handshake; who ends in the middle of it is not waited for.
    this.#server = net.createServer({ pauseOnConnect: isPlain, allowHalfOpen: isPlain, noDelay: true });
    this.#server.on('connection', (socket) => {
      const address = this.#limits?.countsAddresses === true ? (socket.remoteAddress ?? '') : '';
      if (!this.#admits(address)) {
        socket.destroy();
        return;
      }
      if (isPlain) this.#open(SocketStream.adopt(socket, this.#sockets, this.#unix, this.#readBytes), 0);
      else this.#shakeHands(socket);
      this.#releaseWith(socket, address);
    });
  }

  /** Called again, it answers the same. */
  listen(request: ListenRequest): Promise<ServerAddress> {
    this.#listening ??= this.#listen(request);
    return this.#listening;
  }

  async #listen(request: ListenRequest): Promise<ServerAddress> {
    const { host, port, path, mode, backlog } = request;
    const server = this.#server;
    const { services } = this.#origin;
    if (services !== undefined) await services.start();
    if (this.#isStopped) throw new ReactorError('ERR_REACTOR_CLOSED', 'listen(): the server was closed meanwhile');
    try {
      if (path !== undefined) await listenOnPath(server, { path, mode, backlog });
      else await this.#bind(request);
    } catch (error) {
      const where = path === undefined ? `${host ?? '*'}:${port}` : JSON.stringify(path);
      const message = `Cannot listen on ${where}: ${(error as Error).message}`;
      throw new ReactorError('ERR_REACTOR_LISTEN_FAILED', message, { cause: error });
    }
    if (this.#tls === undefined && this.#sockets.reuseReadBuffer) takeHandles(server, (handle) => this.#take(handle));
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
    usable(() => this.#tls?.update(this.#inTime(settings)));
  }

  /** Stops listening; its connections stay. When the server object itself says that it has closed means nothing: see takeHandles. */
  stop(): void {
    this.#isStopped = true;
    this.#server.close();
    this.#tls?.stop();
    for (const { handle, address } of this.#accepted.takeAll()) {
      handle.close();
      this.#limits?.release(address);
    }
  }

  /** Before anything is made for it. */
  #admits(address: string): boolean {
    const limit = this.#limits?.admit(address);
    if (limit === undefined) return true;
    const { board, log } = this.#loop;
    board.count(boardCounter.OVER_LIMIT);
    board.count(boardCounter.REFUSED);
    if (log.isEnabled('debug'))
      log.write('debug', { server: this.#origin.id, limit }, 'Peer turned away: over a limit');
    return false;
  }

  #makeTls(settings: TlsServerSettings): TlsAcceptor {
    return new TlsAcceptor(this.#inTime(settings), this.#loop.table.slots, {
      onSecured: (socket, addresses) => {
        const { now } = this.#loop.wheel;
        this.#open(
          SocketStream.secured(socket, addresses, this.#readBytes),
          now - (this.#acceptedAt.get(addresses) ?? now),
        );
      },
      onFailed: (error, peer) => {
        this.#loop.board.count(boardCounter.REFUSED);
        const fields = { server: this.#origin.id, ...peer, ...errorFields(error) };
        this.#loop.log.write('info', fields, 'TLS handshake failed');
        this.#origin.announceTlsFailure(peer, error);
      },
    });
  }

  /** The first frame comes behind the handshake, and is to be there in time all the same. */
  #inTime(settings: TlsServerSettings): TlsServerSettings {
    const { firstFrameTimeoutMs = settings.handshakeTimeoutMs } = this.#origin.settings.limits;
    return { ...settings, handshakeTimeoutMs: Math.min(settings.handshakeTimeoutMs, firstFrameTimeoutMs) };
  }

  #shakeHands(socket: net.Socket): void {
    const addresses = addressesOf(socket, this.#unix, true);
    this.#acceptedAt.set(addresses, this.#loop.wheel.now);
    if (this.#tls?.accept(socket, addresses) === true) return;
    this.#loop.board.count(boardCounter.REFUSED);
    socket.destroy();
  }

  #take(handle: AcceptedHandle): void {
    const address = this.#limits?.countsAddresses === true ? peerAddressOf(handle) : '';
    if (!this.#admits(address)) {
      handle.close();
      return;
    }
    this.#accepted.add({ handle, address });
  }

  #openHandle({ handle, address }: AcceptedSocket, waitedMs: number): void {
    const stream = SocketStream.onHandle(handle, this.#sockets, this.#unix, this.#readBytes);
    this.#open(stream, waitedMs);
    this.#releaseWith(stream.socket, address);
  }

  /** It counts against the limits until it is closed. */
  #releaseWith(socket: net.Socket, address: string): void {
    if (this.#limits !== undefined) socket.once('close', () => this.#limits?.release(address));
  }

  #open(socket: SocketStream, sinceMs: number): void {
    if (TcpConnection.open(this.#loop, socket, this.#origin, { attempt: 0, sinceMs }) === undefined) {
      this.#loop.board.count(boardCounter.REFUSED);
      this.#loop.log.write('info', { server: this.#origin.id, ...socket.addresses }, 'Refused: maxConnections');
      socket.destroy();
    }
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
