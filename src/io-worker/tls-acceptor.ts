import type net from 'node:net';
import tls from 'node:tls';
import type { ConnectionAddresses, TlsPeer } from '../shared/event-record.js';
import { makeSecureContext, type TlsServerSettings } from '../shared/tls-settings.js';
import { nodeError, tlsError } from './tls-error.js';

export interface TlsAcceptorListener {
  /** The handshake is done. */
  onSecured(socket: tls.TLSSocket, addresses: ConnectionAddresses): void;
  /** It has failed, and the socket is gone. */
  onFailed(error: Error, peer: TlsPeer): void;
}

/** The accepted socket that a TLS socket was made on. No documentation promises it. */
interface Wrapper {
  readonly _parent?: net.Socket;
}

/**
 * Makes TLS sockets of accepted ones.
 *
 * The tls.Server never listens. It is handed its sockets, which is documented, and is replaced as a whole when the settings
 * change; handshakes that are under way end with the one that they began with.
 */
export class TlsAcceptor {
  readonly #listener: TlsAcceptorListener;
  readonly #maxHandshakes: number;
  #server: tls.Server;
  /** Sockets whose handshake is under way. */
  readonly #handshakes = new Set<net.Socket>();
  /** Of a socket that is gone they cannot be asked for any more. */
  readonly #addresses = new WeakMap<net.Socket, ConnectionAddresses>();
  #stopped = false;

  constructor(settings: TlsServerSettings, maxHandshakes: number, listener: TlsAcceptorListener) {
    this.#listener = listener;
    this.#maxHandshakes = maxHandshakes;
    this.#server = this.#makeServer(settings);
  }

  /** For the sockets that come from now on. Throws OpenSSL's error, and then nothing changes. */
  update(settings: TlsServerSettings): void {
    this.#server = this.#makeServer(settings);
  }

  /** Begins a handshake. False: too many are under way. */
  accept(socket: net.Socket, addresses: ConnectionAddresses): boolean {
    if (this.#handshakes.size >= this.#maxHandshakes) return false;
    this.#handshakes.add(socket);
    this.#addresses.set(socket, addresses);
    socket.once('close', () => this.#handshakes.delete(socket));
    // Its errors are those of the TLS socket; should it have one of its own, it must not be thrown.
    socket.on('error', ignore);
    this.#server.emit('connection', socket);
    return true;
  }

  /** Ends the handshakes that are under way. */
  stop(): void {
    this.#stopped = true;
    for (const socket of this.#handshakes) socket.destroy();
  }

  #makeServer(settings: TlsServerSettings): tls.Server {
    const { ALPNProtocols, requestCert, rejectUnauthorized, handshakeTimeoutMs } = settings;
    const { cert, key, passphrase, pfx, ca, crl, ciphers, minVersion, maxVersion } = settings;
    const choose = chooserOf(settings);
    const server = tls.createServer({
      ...({ cert, key, passphrase, pfx, ca, crl, ciphers, minVersion, maxVersion } as object),
      ...(ALPNProtocols.length > 0 && { ALPNProtocols: [...ALPNProtocols] }),
      requestCert,
      rejectUnauthorized,
      handshakeTimeout: handshakeTimeoutMs,
      SNICallback: (name, callback) => callback(null, choose(name)),
    });
    server.on('secureConnection', (socket) => this.#onSecured(socket));
    server.on('tlsClientError', (error, socket) => this.#onFailed(error, socket));
    return server;
  }

  #onSecured(socket: tls.TLSSocket): void {
    const addresses = this.#end(socket);
    if (this.#stopped) {
      socket.destroy();
      return;
    }
    // Until here a peer that ends is gone; from now on it may still want its answers.
    socket.allowHalfOpen = true;
    this.#listener.onSecured(socket, addresses);
  }

  #onFailed(error: Error, socket: tls.TLSSocket): void {
    const peer = this.#end(socket);
    socket.on('error', ignore);
    // What it had to tell its peer, an alert, it has written by now.
    socket.destroy();
    if (this.#stopped) return;
    // Of a client whose certificate was refused Node says only that it has hung up.
    const refusal = socket.authorizationError as unknown;
    const cause = refusal
      ? nodeError(String(refusal), `The certificate of the client was refused: ${String(refusal)}`)
      : error;
    const { remoteAddress, remotePort } = peer;
    const from = remoteAddress === '' ? 'a client' : `${remoteAddress}:${remotePort}`;
    this.#listener.onFailed(tlsError(`The handshake with ${from} failed`, cause), { remoteAddress, remotePort });
  }

  /** Its handshake has ended. */
  #end(socket: tls.TLSSocket): ConnectionAddresses {
    const accepted = (socket as Wrapper)._parent;
    // On a Node that does not tell which one it was, none is known any more: at worst silent peers outlive `stop` for a while.
    if (accepted === undefined) this.#handshakes.clear();
    else this.#handshakes.delete(accepted);
    return (accepted && this.#addresses.get(accepted)) ?? NOWHERE;
  }
}

function ignore(): void {}

const NOWHERE: ConnectionAddresses = {
  remoteAddress: '',
  remotePort: 0,
  remoteFamily: 'IPv4',
  localAddress: '',
  localPort: 0,
  encrypted: true,
};

/** Finds the certificate for a name; undefined: the server's own. The first one that matches is taken, exact names first. */
function chooserOf({ sni, ...settings }: TlsServerSettings): (name: string) => tls.SecureContext | undefined {
  const exact = new Map<string, tls.SecureContext>();
  const wildcards: { readonly pattern: RegExp; readonly context: tls.SecureContext }[] = [];
  const { ca, crl, ciphers, minVersion, maxVersion } = settings;
  for (const [name, credentials] of Object.entries(sni)) {
    const defaults = { ca, crl, ciphers, minVersion, maxVersion } as object;
    const context = makeSecureContext({ ...defaults, ...credentials });
    if (!name.includes('*')) exact.set(name, context);
    else {
      const pattern = name.replace(/[.^$+?\-\\[\]{}()|]/g, '\\$&').replaceAll('*', '[^.]*');
      wildcards.push({ pattern: new RegExp(`^${pattern}$`), context });
    }
  }
  return (asked) => {
    const name = asked.toLowerCase();
    return exact.get(name) ?? wildcards.find(({ pattern }) => pattern.test(name))?.context;
  };
}
