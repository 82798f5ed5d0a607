import type { ConnectionId } from '../shared/connection-id.js';
import type { ConnectRequest } from '../shared/control-protocol.js';
import { ReactorError, toErrorData } from '../shared/reactor-error.js';
import { boardCounter } from '../shared/status-board.js';
import type { EventLoop } from './event-loop.js';
import type { Origin } from './origin.js';
import { PlainSocket } from './plain-socket.js';
import { TcpConnection } from './tcp-connection.js';

/** One attempt to connect: it ends with a connection, an error, or an abort, whichever comes first. */
export class Connector {
  readonly #loop: EventLoop;
  readonly #request: ConnectRequest;
  readonly #socket: PlainSocket;
  #timeout: NodeJS.Timeout | undefined;
  #fail: ((error: ReactorError) => void) | undefined;

  constructor(loop: EventLoop, request: ConnectRequest, reuseReadBuffer: boolean) {
    this.#loop = loop;
    this.#request = request;
    this.#socket = PlainSocket.connect(request.host, request.port, reuseReadBuffer);
  }

  /** @param originOf asked when there is a connection: meanwhile its thread may have died */
  async connect(originOf: () => Origin): Promise<ConnectionId> {
    const { host, port, timeoutMs, attempt } = this.#request;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#fail = reject;
        this.#timeout = setTimeout(() => {
          reject(
            new ReactorError('ERR_REACTOR_CONNECT_TIMEOUT', `No connection to ${host}:${port} within ${timeoutMs} ms`),
          );
        }, timeoutMs);
        this.#socket.socket.once('connect', resolve);
        this.#socket.socket.once('error', (error) => {
          const message = `Cannot connect to ${host}:${port}: ${toErrorData(error).message}`;
          reject(new ReactorError('ERR_REACTOR_CONNECT_FAILED', message, { cause: error }));
        });
      });
    } catch (error) {
      this.#socket.destroy();
      throw error;
    } finally {
      clearTimeout(this.#timeout);
      this.#fail = undefined;
    }
    const connection = TcpConnection.open(this.#loop, this.#socket, originOf(), attempt);
    if (connection === undefined) {
      this.#socket.destroy();
      const message = `All ${this.#loop.table.slots} connections of the reactor are in use (maxConnections)`;
      throw new ReactorError('ERR_REACTOR_TOO_MANY_CONNECTIONS', message);
    }
    this.#loop.board.count(boardCounter.CONNECTED);
    return connection.id;
  }

  abort(error: ReactorError): void {
    this.#fail?.(error);
  }
}
