import type tls from 'node:tls';
import { makeSecureContext, type TlsClientSettings } from '../shared/tls-settings.js';

/** A context costs more than a connection: certificates are read, those of Node's authorities included. */
const MAX_CONTEXTS = 64;

/** The contexts of the clients that have connected last. */
export class TlsClientContexts {
  readonly #contexts = new Map<number, tls.SecureContext>();

  /** @param client whose settings never change */
  get(client: number, settings: TlsClientSettings): tls.SecureContext {
    const context = this.#contexts.get(client) ?? makeSecureContext(settings);
    this.#contexts.delete(client);
    this.#contexts.set(client, context);
    for (const oldest of this.#contexts.keys()) {
      if (this.#contexts.size <= MAX_CONTEXTS) break;
      this.#contexts.delete(oldest);
    }
    return context;
  }
}
