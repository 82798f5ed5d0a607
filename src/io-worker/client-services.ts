import type { ConnectRequest } from '../shared/control-protocol.js';
import { loadServices } from './load-services.js';
import { type ServiceParts, Services } from './services.js';

/** The services of one client, for as long as an attempt or a connection of its needs them. */
export class ClientServicesHold {
  /** They have been loaded and started; otherwise it rejects with ERR_REACTOR_SERVICE_FAILED or ERR_REACTOR_INVALID_OPTION. */
  readonly started: Promise<void>;
  /** Once they have been started. */
  services: Services | undefined;
  readonly #onUnused: () => void;
  #users = 0;

  constructor({ connection: { services, codec } }: ConnectRequest, parts: ServiceParts, onUnused: () => void) {
    this.#onUnused = onUnused;
    this.started = this.#start(async () => new Services(await loadServices(services, codec.type, 'connect()'), parts));
    // Whoever waits for it hears of it.
    this.started.catch(() => undefined);
  }

  async #start(load: () => Promise<Services>): Promise<void> {
    const services = await load();
    await services.start();
    this.services = services;
    if (this.#users === 0) void services.stop();
  }

  retain(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
    if (this.#users > 0) return;
    this.#onUnused();
    void this.services?.stop();
  }
}

/** The services of clients on this io worker: started for the first attempt to connect, and stopped behind the last connection. */
export class ClientServices {
  readonly #parts: ServiceParts;
  readonly #holds = new Map<number, ClientServicesHold>();

  constructor(parts: ServiceParts) {
    this.#parts = parts;
  }

  /** Those that an attempt needs; it has them until it releases them. Undefined: it needs none. */
  hold(request: ConnectRequest): ClientServicesHold | undefined {
    if (request.connection.services.length === 0) return undefined;
    const { client } = request;
    let hold = this.#holds.get(client);
    if (hold === undefined) {
      const made = new ClientServicesHold(request, this.#parts, () => {
        if (this.#holds.get(client) === made) this.#holds.delete(client);
      });
      hold = made;
      this.#holds.set(client, hold);
    }
    hold.retain();
    return hold;
  }
}
