import type { CloseReason } from '../shared/close-reason.js';
import type { DrainReport, ListenRequest, ServerDescription } from '../shared/control-protocol.js';
import { NOTHING_DRAINED, sumDrained } from '../shared/drain-report.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { TlsServerSettings } from '../shared/tls-settings.js';
import type { IoLink } from './io-link.js';
import { type IoLinks, ignoreEnd } from './io-links.js';
import { sharesPorts, warnOfSingleHome } from './shared-port.js';
import type { TcpServer } from './tcp-server.js';

/** After a crash, how often listening again is tried, and with what pauses. */
const RELISTEN_DELAYS_MS = [20, 100, 500, 2000];

export interface RestoreListener {
  /** Another thread has closed the server meanwhile. */
  onClosed(server: TcpServer): void;
  onFailed(error: ReactorError): void;
}

/** On which io workers servers listen, and this thread's subscriptions to them. */
export class Listening {
  readonly #links: IoLinks;
  readonly #ioWorkers: number;
  /** Where io workers cannot share a port, servers take turns. */
  #nextHome = 0;

  constructor(links: IoLinks, ioWorkers: number) {
    this.#links = links;
    this.#ioWorkers = ioWorkers;
  }

  /**
   * Listens on all io workers if they can share the port, otherwise on one; a path cannot be shared.
   * @param seniority if this thread subscribes at the same time
   */
  async listen(request: ListenRequest, seniority: number | undefined): Promise<ServerDescription> {
    const isPath = request.path !== undefined;
    if (this.#ioWorkers === 1 || !sharesPorts || isPath) {
      const home = this.#nextHome++ % this.#ioWorkers;
      if (this.#ioWorkers > 1 && !isPath) warnOfSingleHome(home);
      const alone = { ...request, home };
      return { request: alone, address: await this.#links.call(home, 'listen', alone, seniority) };
    }
    const shared = { ...request, home: undefined };
    const address = await this.#links.call(0, 'listen', shared, seniority);
    try {
      // The first has found the port; the others share it.
      for (let worker = 1; worker < this.#ioWorkers; worker++) {
        await this.#links.call(worker, 'listen', { ...shared, port: address.port }, seniority);
      }
    } catch (error) {
      await this.#links.callAll('closeOrigin', request.server, 'server-close', 0);
      throw error;
    }
    return { request: shared, address };
  }

  /** Subscribes on all io workers that have the server. Rejects with ERR_REACTOR_NO_SUCH_SERVER if none has. */
  async subscribe({ id, seniority }: TcpServer): Promise<ServerDescription> {
    const asked = this.#links.all.map(({ worker }) => this.#links.call(worker, 'subscribe', id, seniority));
    // A server that lives on one io worker is missing on the others; one that has just been started would wait for it.
    const alone = new Promise<ServerDescription>((resolve) => {
      for (const answer of asked) {
        answer.then(
          (description) => description.request.home !== undefined && resolve(description),
          () => undefined,
        );
      }
    });
    return Promise.race([alone, this.#allSubscribed(asked)]);
  }

  async #allSubscribed(asked: readonly Promise<ServerDescription>[]): Promise<ServerDescription> {
    const outcomes = await Promise.allSettled(asked);
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
   * Closes a server or a client on all io workers. One that is being started again is told, too, so that no other thread has
   * the server listen there again; but not longer than the deadline.
   */
  async close(id: number, reason: CloseReason, drainMs: number, deadline: AbortSignal): Promise<DrainReport> {
    const late = new Promise<DrainReport>((resolve) => {
      deadline.addEventListener('abort', () => resolve(NOTHING_DRAINED));
    });
    const reports = await Promise.all(
      this.#links.all.map(async (link) => {
        const closed = this.#links.call(link.worker, 'closeOrigin', id, reason, drainMs).catch(ignoreEnd);
        // Whoever has the io worker answers when it has cut what was left at the deadline: that is worth waiting for.
        return link.isLost ? Promise.race([closed, late]) : closed;
      }),
    );
    return sumDrained(reports);
  }

  /** New TLS settings on all io workers that have the server. One that is being started again is waited for. */
  async updateTls({ id, request }: TcpServer, tls: TlsServerSettings): Promise<void> {
    const links = this.#links.all.filter(({ worker }) => request?.home === undefined || request.home === worker);
    await Promise.all(links.map(({ worker }) => this.#links.call(worker, 'updateTls', id, tls)));
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
  async restore(link: IoLink, servers: readonly TcpServer[], listener: RestoreListener): Promise<void> {
    for (const server of servers) {
      const { request } = server;
      if (request === undefined || (request.home !== undefined && request.home !== link.worker)) continue;
      try {
        await listenAgain(link, server, request);
        if (server.isSubscribed) await link.call('subscribe', server.id, server.seniority);
      } catch (error) {
        if (link.isLost) return;
        if (isMissingServer(error)) listener.onClosed(server);
        else if (error instanceof ReactorError && !server.isOver) listener.onFailed(error);
      }
    }
  }
}

async function listenAgain(link: IoLink, server: TcpServer, request: ListenRequest): Promise<void> {
  for (const delayMs of [...RELISTEN_DELAYS_MS, undefined]) {
    if (server.isOver) return;
    try {
      await link.call('listen', request, undefined);
      return;
    } catch (error) {
      if (delayMs === undefined || link.isLost || isMissingServer(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, delayMs).unref());
    }
  }
}

export function isMissingServer(error: unknown): boolean {
  return error instanceof ReactorError && error.code === 'ERR_REACTOR_NO_SUCH_SERVER';
}
