import type { ServerAddress } from '../shared/control-protocol.js';
import { checkServerClose } from './option-checks.js';
import { type CloseOptions, DEFAULT_DRAIN_MS, type ListenOptions } from './options.js';
import { surfaceErrors } from './surface.js';
import type { TcpConnection } from './tcp-connection.js';
import { TcpHost } from './tcp-host.js';

/** A listening socket on the io worker, and its connections. Made by `reactor.listen()`. */
export class TcpServer extends TcpHost {
  readonly #close: (server: TcpServer, drainMs: number) => Promise<void>;
  #address: ServerAddress | undefined;
  #closing: Promise<void> | undefined;
  /** Connections that came before whoever called listen() had a chance to listen to events. */
  #early: TcpConnection[] | undefined = [];

  /** @internal */
  constructor(id: number, options: ListenOptions, close: (server: TcpServer, drainMs: number) => Promise<void>) {
    super(id, options);
    this.#close = close;
  }

  /** Where it listens, as `net.Server` gives it. */
  get address(): ServerAddress {
    return this.#address ?? { address: '', port: 0, family: '' };
  }

  /**
   * Stops accepting, lets every connection handle what it has received and send what it has to send, then shuts it down.
   * What is not done after `drainMs` is cut; its 'disconnect' says how many bytes were not sent. Connections end with
   * reason 'server-close'. Twice is the same as once.
   *
   * Throws ERR_REACTOR_INVALID_OPTION. Thread: app.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkServerClose(options);
    this.#closing ??= this.#close(this, options.drainMs ?? DEFAULT_DRAIN_MS);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** @internal */
  listening(address: ServerAddress): void {
    this.#address = address;
    // The caller's `await listen()` goes on in a microtask; only then can it add listeners.
    setImmediate(() => this.#announceEarly());
  }

  /** @internal */
  override finishAll(): void {
    this.#announceEarly();
    super.finishAll();
  }

  #announceEarly(): void {
    const early = this.#early ?? [];
    this.#early = undefined;
    for (const connection of early) surfaceErrors(() => this.#announce(connection));
  }

  /** @internal */
  onOpen(connection: TcpConnection): void {
    this.add(connection);
    if (this.#early === undefined) this.#announce(connection);
    else this.#early.push(connection);
  }

  #announce(connection: TcpConnection): void {
    try {
      this.emit('connection', connection);
    } finally {
      connection.start();
    }
  }
}
