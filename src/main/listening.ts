import type { ListenRequest, ServerDescription } from '../shared/control-protocol.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { IoLink } from './io-link.js';
import type { IoLinks } from './io-links.js';
import { sharesPorts, warnOfSingleHome } from './shared-port.js';
import type { TcpServer } from './tcp-server.js';

/** After a crash, how often listening again is tried, and with what pauses. */
const RELISTEN_DELAYS_MS = [20, 100, 500, 2000];

/** On which io workers servers listen, and this thread's subscriptions to them. */
export class Listening {
  readonly #links: IoLinks;
  readonly #ioWorkers: number;

  constructor(links: IoLinks, ioWorkers: number) {
    this.#links = links;
    this.#ioWorkers = ioWorkers;
  }

  /** Listens on all io workers if they can share the port, otherwise on one. */
  async listen(request: ListenRequest): Promise<ServerDescription> {
    if (this.#ioWorkers === 1 || !sharesPorts) {
      const home = this.#homeOf(request);
      if (this.#ioWorkers > 1) warnOfSingleHome(home);
      return { request, address: await this.#links.call(home, 'listen', request) };
    }
    const shared = { ...request, reusePort: true };
    const address = await this.#links.call(0, 'listen', shared);
    try {
      // The first has found the port; the others share it.
      for (let worker = 1; worker < this.#ioWorkers; worker++) {
        await this.#links.call(worker, 'listen', { ...shared, port: address.port });
      }
    } catch (error) {
      await this.#links.callAll('closeOrigin', request.server, 'server-close', 0);
      throw error;
    }
    return { request: shared, address };
  }

  /** Subscribes on all io workers that have the server. Rejects with ERR_REACTOR_NO_SUCH_SERVER if none has. */
  async subscribe(server: number): Promise<ServerDescription> {
    const outcomes = await Promise.allSettled(
      this.#links.all.map(({ worker }) => this.#links.call(worker, 'subscribe', server)),
    );
    let missing: unknown;
    for (const outcome of outcomes) {
      if (outcome.status === 'fulfilled') continue;
      if (!isMissingServer(outcome.reason)) throw outcome.reason;
      missing = outcome.reason;
    }
    for (const outcome of outcomes) if (outcome.status === 'fulfilled') return outcome.value;
    throw missing;
  }

  /**
   * Leaves the server on all io workers.
   * @param unlessLast leave only where another thread is subscribed
   * @returns false if this thread is the last one somewhere, and has not left
   */
  async unsubscribe(server: number, unlessLast: boolean): Promise<boolean> {
    const answers = await this.#links.callAll('unsubscribe', server, unlessLast);
    return answers.every((answer) => answer !== false);
  }

  /** Listens and subscribes again, on an io worker that has been started again. */
  async restore(link: IoLink, servers: readonly TcpServer[], onFailed: (error: ReactorError) => void): Promise<void> {
    for (const server of servers) {
      const { request } = server;
      if (request === undefined || !(request.reusePort || this.#homeOf(request) === link.worker)) continue;
      try {
        await listenAgain(link, request);
        if (server.isSubscribed) await link.call('subscribe', server.id);
      } catch (error) {
        if (link.isLost) return;
        if (error instanceof ReactorError) onFailed(error);
      }
    }
  }

  #homeOf(request: ListenRequest): number {
    return request.server % this.#ioWorkers;
  }
}

async function listenAgain(link: IoLink, request: ListenRequest): Promise<void> {
  for (const delayMs of [...RELISTEN_DELAYS_MS, undefined]) {
    try {
      await link.call('listen', request);
      return;
    } catch (error) {
      if (delayMs === undefined || link.isLost) throw error;
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }
}

export function isMissingServer(error: unknown): boolean {
  return error instanceof ReactorError && error.code === 'ERR_REACTOR_NO_SUCH_SERVER';
}
