import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectRequest } from '../shared/control-protocol.js';
import { eventKind } from '../shared/event-record.js';
import { ReactorError, type ReactorErrorCode, toErrorData } from '../shared/reactor-error.js';
import type { ReconnectNews, ReconnectSettings, Target } from '../shared/reconnect-settings.js';
import { boardCounter } from '../shared/status-board.js';
import { Backoff } from './backoff.js';
import type { ConnectorTarget } from './connector.js';
import type { EventLane } from './event-lane.js';
import type { EventLoop } from './event-loop.js';
import type { Retry } from './retry-schedule.js';
import type { ConnectionKeeper, TcpConnection } from './tcp-connection.js';

/** A connection that was open for so long has lasted, unless `maxDelayMs` is shorter: what follows is a new story. */
const LASTING_MS = 10_000;

/** The application has ended it, or is gone: nobody wants it back. */
const UNWANTED: ReadonlySet<CloseReason> = new Set(['local-shutdown', 'local-destroy', 'reactor-close', 'orphaned']);

/** An error names so many addresses, the last one among them, each with so many characters: an event has room for no more. */
const MAX_NAMED = 16;
const MAX_OF_EACH = 200;

/** One attempt to connect to one address. */
export interface Dial {
  connect(): Promise<TcpConnection>;
  abort(error: ReactorError): void;
}

/**
 * What one call of `connect()` has asked for: a connection to one of several addresses, and with `reconnect` another one whenever it
 * is lost.
 *
 * ```
 *            +--> round: each address in turn --failed--> wait (Backoff, RetrySchedule) --+
 *            |      | connected                                                            |
 *            |      v                                                                      |
 *            |    open --lost--> wait ------------------------------------------------->---+
 *            +----------------------------------------------------------------------------+
 * ```
 */
export class Reconnector implements ConnectionKeeper {
  readonly #loop: EventLoop;
  readonly #request: ConnectRequest;
  readonly #lane: EventLane;
  readonly #dialTo: (to: ConnectorTarget) => Dial;
  readonly #onOver: () => void;
  readonly #settings: ReconnectSettings | undefined;
  readonly #backoff: Backoff | undefined;
  /** The address that the next round begins with. */
  #next = 0;
  /** The one that is being tried. */
  #at = 0;
  /** Attempts in a row that have failed. */
  #failures = 0;
  #dial: Dial | undefined;
  #retry: Retry | undefined;
  #openedAt = 0;
  #connected = false;
  #isHopeless = false;
  #over: ReactorError | undefined;
  #settle:
    | { readonly resolve: (connection: TcpConnection) => void; readonly reject: (error: unknown) => void }
    | undefined;

  /**
   * @param ready what the attempts need is loaded: under the timeout of the first one; if that fails, trying again makes it no better
   * @param dialTo makes an attempt
   * @param onOver called when there will be no attempts any more
   */
  constructor(
    loop: EventLoop,
    request: ConnectRequest,
    lane: EventLane,
    ready: Promise<unknown>,
    dialTo: (to: ConnectorTarget) => Dial,
    onOver: () => void,
  ) {
    this.#loop = loop;
    this.#request = request;
    this.#lane = lane;
    this.#dialTo = dialTo;
    this.#onOver = onOver;
    ready.catch(() => {
      this.#isHopeless = true;
    });
    this.#settings = request.reconnect;
    this.#backoff = request.reconnect === undefined ? undefined : new Backoff(request.reconnect);
    // One that an io worker before this one had, and that was lost with it.
    this.#connected = request.isAgain;
  }

  /** Resolves with the first connection. */
  connect(): Promise<TcpConnection> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      // Others have lost theirs with the same io worker.
      if (this.#request.isAgain) this.#wait({});
      else void this.#round();
    });
  }

  /** No more attempts. A connection that is there stays. */
  abort(error: ReactorError): void {
    this.#finish(error);
    if (this.#dial === undefined) this.#settle?.reject(error);
    else this.#dial.abort(error);
  }

  async #round(): Promise<void> {
    const { targets } = this.#request;
    const failures: unknown[] = [];
    // However many addresses there are.
    if (this.#connected) this.#loop.board.count(boardCounter.RECONNECT_ATTEMPTS);
    for (let tried = 0; tried < targets.length && this.#over === undefined; tried++) {
      const at = (this.#next + tried) % targets.length;
      try {
        this.#at = at;
        const keeper = this.#settings === undefined ? undefined : this;
        this.#dial = this.#dialTo({ target: targets[at] as Target, isAgain: this.#connected, keeper });
        this.#opened(await this.#dial.connect());
        return;
      } catch (error) {
        failures.push(error);
      } finally {
        this.#dial = undefined;
      }
    }
    this.#failed(this.#over ?? ofAll(failures));
  }

  onMade(): void {
    this.#next = this.#at;
    this.#connected = true;
    this.#openedAt = this.#loop.wheel.now;
  }

  /** It may have been lost again by now. */
  #opened(connection: TcpConnection): void {
    if (this.#over !== undefined) {
      // Aborted at the moment it succeeded.
      if (!connection.isClosed) connection.destroy('local-destroy');
      this.#settle?.reject(this.#over);
      return;
    }
    this.#settle?.resolve(connection);
    this.#settle = undefined;
    if (this.#settings === undefined) this.#finish();
  }

  get #hasLasted(): boolean {
    const { maxDelayMs } = this.#settings as ReconnectSettings;
    return this.#loop.wheel.now - this.#openedAt >= Math.min(maxDelayMs, LASTING_MS);
  }

  comesBack(reason: CloseReason): boolean {
    return this.#over === undefined && !UNWANTED.has(reason);
  }

  onLost(reason: CloseReason, error: Error | undefined): void {
    if (this.#over !== undefined) return;
    if (UNWANTED.has(reason)) {
      this.#finish();
      return;
    }
    if (this.#hasLasted) {
      this.#failures = 0;
      this.#backoff?.reset();
    } else {
      // As good as none: whoever accepts and closes at once is not to be asked ever faster.
      this.#failures++;
      this.#next++;
    }
    this.#goOn(error, reason);
  }

  #failed(error: unknown): void {
    this.#failures++;
    this.#next++;
    if (this.#settings === undefined || this.#over !== undefined || this.#isHopeless) {
      this.#settle?.reject(error);
      this.#finish();
    } else this.#goOn(error, 'connect-failed');
  }

  #goOn(error: unknown, reason: CloseReason): void {
    const { maxAttempts } = this.#settings as ReconnectSettings;
    const what = {
      ...(error !== undefined && { error: toErrorData(error) }),
      reason,
    };
    if (this.#failures < maxAttempts) {
      this.#wait(what);
      return;
    }
    this.#settle?.reject(error);
    if (this.#settle === undefined) this.#tell(what);
    this.#finish();
  }

  #wait(what: Pick<ReconnectNews, 'error' | 'reason'>): void {
    const { retries } = this.#loop;
    this.#retry = retries.add(this.#backoff?.next() ?? 0, () => {
      this.#retry = undefined;
      void this.#round();
    });
    this.#tell({ ...what, delayMs: Math.round(this.#retry.delayMs) });
  }

  #tell(what: Pick<ReconnectNews, 'delayMs' | 'error' | 'reason'>): void {
    const { client, attempt: call } = this.#request;
    const news: ReconnectNews = { client, call, attempt: this.#failures + 1, ...what };
    // The numbers in the header only tell those of one call from others: a later one of the same takes its place if both wait.
    this.#lane.notices.send(eventKind.RECONNECTING, call % 2 ** 31, 0, Buffer.from(JSON.stringify(news)));
  }

  #finish(error?: ReactorError): void {
    if (this.#over !== undefined) return;
    this.#over = error ?? new ReactorError('ERR_REACTOR_CLOSED', 'The connection is not wanted any more');
    this.#retry?.cancel();
    this.#retry = undefined;
    this.#onOver();
  }
}

/** The code and the cause are those of the last address. */
function ofAll(failures: readonly unknown[]): unknown {
  const last = failures.at(-1);
  if (failures.length === 1 || !(last instanceof Error)) return last;
  const [code, cause] = last instanceof ReactorError ? [last.code, last.cause] : ['ERR_REACTOR_CONNECT_FAILED', last];
  const each = failures.map((failure) => cut(failure instanceof Error ? failure.message : String(failure)));
  const unnamed = each.length - MAX_NAMED;
  if (unnamed > 0) each.splice(MAX_NAMED - 1, unnamed, `${unnamed} more`);
  const message = `None of ${failures.length} addresses: ${each.join('; ')}`;
  return new ReactorError(code as ReactorErrorCode, message, cause === undefined ? {} : { cause });
}

function cut(message: string): string {
  return message.length <= MAX_OF_EACH ? message : `${message.slice(0, MAX_OF_EACH)}...`;
}
