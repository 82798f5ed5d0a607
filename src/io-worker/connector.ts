import net from 'node:net';
import tls from 'node:tls';
import type { ConnectRequest, SocketWays } from '../shared/control-protocol.js';
import { ReactorError, toErrorData } from '../shared/reactor-error.js';
import type { Target } from '../shared/reconnect-settings.js';
import type { TlsClientSettings } from '../shared/tls-settings.js';
import type { Codec } from './codec.js';
import { bytesPerRead } from './connection-limits.js';
import { errorFields } from './error-fields.js';
import type { EventLoop } from './event-loop.js';
import type { Origin } from './origin.js';
import { addressesOf } from './socket-addresses.js';
import { SocketStream } from './socket-stream.js';
import { type ConnectionKeeper, TcpConnection } from './tcp-connection.js';
import type { TlsClientContexts } from './tls-client-contexts.js';
import { nodeError, tlsError } from './tls-error.js';

/** What attempts have in common. */
export interface ConnectorParts {
  readonly sockets: SocketWays;
  readonly clientContexts: TlsClientContexts;
  /** Loaded before it connects: what the peer sends at once is read at once. */
  readonly codec: Promise<Codec>;
  /** Asked when there is a connection: meanwhile its thread may have died. */
  readonly originOf: (codec: Codec) => Origin;
}

export interface ConnectorTarget {
  readonly target: Target;
  /** It is to replace a connection that was lost. */
  readonly isAgain: boolean;
  readonly keeper: ConnectionKeeper | undefined;
}

/** One attempt to connect: it ends with a connection, an error, or an abort, whichever comes first. */
export class Connector {
  readonly #loop: EventLoop;
  readonly #request: ConnectRequest;
  readonly #target: Target;
  readonly #to: ConnectorTarget;
  readonly #codec: Promise<Codec>;
  readonly #originOf: (codec: Codec) => Origin;
  readonly #contexts: TlsClientContexts;
  /** For messages. */
  readonly #where: string;
  readonly #sockets: SocketWays;
  readonly #readBytes: number;
  #raw: net.Socket | undefined;
  /** Made when there is something to be read from it: what the handshake reads is not the connection's. */
  #stream: SocketStream | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #handshakeTimeout: NodeJS.Timeout | undefined;
  #fail: ((error: ReactorError) => void) | undefined;
  #isOver = false;

  constructor(loop: EventLoop, request: ConnectRequest, to: ConnectorTarget, parts: ConnectorParts) {
    this.#loop = loop;
    this.#request = request;
    this.#target = to.target;
    this.#to = to;
    this.#codec = parts.codec;
    this.#originOf = parts.originOf;
    this.#contexts = parts.clientContexts;
    this.#sockets = parts.sockets;
    this.#readBytes = bytesPerRead(request.connection.limits);
    const { host, port, path } = to.target;
    this.#where = path === undefined ? `${host}:${port}` : JSON.stringify(path);
  }

  async connect(): Promise<TcpConnection> {
    const { attempt } = this.#request;
    try {
      this.#stream = await this.#connected(this.#codec);
    } catch (error) {
      this.#destroy();
      const where = this.#where;
      const fields = { client: this.#request.client, to: where, ...errorFields(error as Error, where) };
      this.#loop.log.write('info', fields, 'Could not connect');
      throw error;
    } finally {
      this.#isOver = true;
      clearTimeout(this.#timeout);
      clearTimeout(this.#handshakeTimeout);
      this.#fail = undefined;
    }
    const origin = this.#originOf(await this.#codec);
    const connection = TcpConnection.open(this.#loop, this.#stream, origin, { ...this.#to, attempt });
    if (connection === undefined) {
      this.#destroy();
      const message = `All ${this.#loop.table.slots} connections of the reactor are in use (maxConnections)`;
      throw new ReactorError('ERR_REACTOR_TOO_MANY_CONNECTIONS', message);
    }
    return connection;
  }

  abort(error: ReactorError): void {
    this.#fail?.(error);
  }

  #connected(codec: Promise<Codec>): Promise<SocketStream> {
    const { timeoutMs } = this.#request;
    return new Promise((resolve, reject) => {
      this.#fail = reject;
      this.#timeout = setTimeout(() => {
        const message = `No connection to ${this.#where} within ${timeoutMs} ms`;
        reject(new ReactorError('ERR_REACTOR_CONNECT_TIMEOUT', message));
      }, timeoutMs);
      codec.then(() => this.#isOver || this.#dial(resolve, reject), reject);
    });
  }

  #dial(resolve: (stream: SocketStream) => void, reject: (error: ReactorError) => void): void {
    const { host, port, path } = this.#target;
    const { tls } = this.#request;
    const target = path === undefined ? { host, port } : { path };
    if (tls === undefined) this.#stream = SocketStream.connect(target, this.#sockets, this.#readBytes);
    const raw = this.#stream?.socket ?? net.connect({ ...target, allowHalfOpen: true, noDelay: true });
    this.#raw = raw;
    raw.once('connect', () => {
      if (this.#stream !== undefined) resolve(this.#stream);
      else if (tls !== undefined) this.#shakeHands(raw, tls, resolve, reject);
    });
    // Not once: whatever comes later must find a listener.
    raw.on('error', (error) => {
      const message = `Cannot connect to ${this.#where}: ${toErrorData(error).message}`;
      reject(new ReactorError('ERR_REACTOR_CONNECT_FAILED', message, { cause: error }));
    });
  }

  /** The socket is connected: TLS takes it over. */
  #shakeHands(
    raw: net.Socket,
    settings: TlsClientSettings,
    resolve: (stream: SocketStream) => void,
    reject: (error: ReactorError) => void,
  ): void {
    const { host, path } = this.#target;
    const { client } = this.#request;
    const { ALPNProtocols, rejectUnauthorized, handshakeTimeoutMs } = settings;
    // An address is no name that could be asked for.
    const servername = settings.servername ?? (path === undefined && net.isIP(host) === 0 ? host : undefined);
    const addresses = addressesOf(raw, path === undefined ? undefined : { remote: path, local: '' }, true);
    const fail = (cause: Error): void => reject(tlsError(`TLS with ${this.#where} failed`, cause));
    try {
      const socket = tls.connect({
        socket: raw,
        secureContext: this.#contexts.get(client, settings),
        ...(ALPNProtocols.length > 0 && { ALPNProtocols: [...ALPNProtocols] }),
        ...(servername !== undefined && { servername }),
        // Against which the certificate is checked if there is no name.
        ...(path === undefined && { host }),
        rejectUnauthorized,
      });
      // At once: what comes right behind the handshake must find it paused.
      socket.once('secureConnect', () => resolve(SocketStream.secured(socket, addresses, this.#readBytes)));
      socket.on('error', fail);
    } catch (error) {
      fail(error as Error);
      return;
    }
    this.#handshakeTimeout = setTimeout(() => {
      fail(nodeError('ERR_TLS_HANDSHAKE_TIMEOUT', `No handshake within ${handshakeTimeoutMs} ms`));
    }, handshakeTimeoutMs);
  }

  /** With it the TLS that is on it. */
  #destroy(): void {
    this.#stream?.destroy();
    this.#raw?.destroy();
  }
}
