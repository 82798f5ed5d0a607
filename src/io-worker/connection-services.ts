import { inspect } from 'node:util';
import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionId } from '../shared/connection-id.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import { FIRST_USER_KIND, frameKind } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { Codec } from './codec.js';
import type { ServiceConnection, ServiceContext } from './define-service.js';
import type { RunningService } from './running-service.js';
import type { Services } from './services.js';

const MAX_KIND = 255;

/** What services ask of a connection. */
export interface ServedConnection {
  readonly id: ConnectionId;
  readonly addresses: ConnectionAddresses;
  readonly state: 'open' | 'closing' | 'closed';
  readonly bufferedAmount: number;
  /** Copies the message. @param call for errors */
  sendFromService(call: string, message: Uint8Array, kind: number): boolean;
  shutdown(reason: CloseReason): void;
  destroy(reason: CloseReason): void;
  serviceFailed(error: ReactorError): void;
}

/** What the services of a server or client do with one of its connections. */
export class ConnectionServices {
  /** One for each service, by its index. */
  readonly views: readonly ServiceConnection[];
  readonly #services: Services;
  readonly #connection: ServedConnection;
  /** How many of them, from the first on, know of the connection: one of them may have ended it. */
  #opened = 0;

  constructor(services: Services, connection: ServedConnection) {
    this.#services = services;
    this.#connection = connection;
    this.views = services.all.map(({ context }) => new ConnectionView(connection, context));
  }

  opened(): void {
    for (const service of this.#services.all) {
      const { definition, index } = service;
      if (this.#connection.state === 'closed') return;
      this.#opened = index + 1;
      if (service.isOut || definition.onOpen === undefined) continue;
      this.#services.call(service, 'onOpen', () => definition.onOpen?.(this.#view(index)), this.#connection);
    }
  }

  closed(reason: CloseReason): void {
    for (const service of this.#services.all) {
      const { definition, index } = service;
      if (index >= this.#opened || service.isOut || definition.onClose === undefined) continue;
      this.#services.call(service, 'onClose', () => definition.onClose?.(this.#view(index), reason), this.#connection);
    }
  }

  // ---- the input's ----

  get takesMessages(): boolean {
    return this.#services.receivers.length > 0;
  }

  takesKind(kind: number): boolean {
    return this.#services.ofKind(kind) !== undefined;
  }

  /** Calls about input follow. */
  begin(): void {
    this.#services.clock.begin(this.#connection);
  }

  /** No more of them. */
  end(): void {
    this.#services.clock.end();
  }

  /** True: it is handled. It is not if the connection has closed meanwhile: nobody gets it then. */
  message(data: Buffer): boolean {
    const { receivers, clock } = this.#services;
    for (let i = 0; i < receivers.length; i++) {
      const service = receivers[i] as RunningService;
      let result: unknown;
      clock.enter(service, 'onMessage');
      try {
        result = service.definition.onMessage?.(this.#view(service.index), data);
      } catch (cause) {
        this.#services.failed(service, 'onMessage', cause, this.#connection);
      }
      clock.leave(service);
      if (result === true) return true;
      if (typeof result === 'object') this.#services.watch(service, 'onMessage', result, this.#connection);
      if (this.#connection.state === 'closed') return false;
    }
    return false;
  }

  /** False: no service has that kind. */
  system(kind: number, data: Buffer): boolean {
    const { clock } = this.#services;
    const service = this.#services.ofKind(kind);
    if (service === undefined) return false;
    let result: unknown;
    clock.enter(service, 'onSystem');
    try {
      result = service.definition.onSystem?.(this.#view(service.index), kind, data);
    } catch (cause) {
      this.#services.failed(service, 'onSystem', cause, this.#connection);
    }
    clock.leave(service);
    if (typeof result === 'object') this.#services.watch(service, 'onSystem', result, this.#connection);
    return true;
  }

  #view(index: number): ServiceConnection {
    return this.views[index] as ServiceConnection;
  }
}

/** A connection as one service has it. */
class ConnectionView implements ServiceConnection {
  data: unknown = undefined;
  readonly context: ServiceContext;
  readonly #connection: ServedConnection;

  constructor(connection: ServedConnection, context: ServiceContext) {
    this.#connection = connection;
    this.context = context;
  }

  get id(): ConnectionId {
    return this.#connection.id;
  }

  get remoteAddress(): string {
    return this.#connection.addresses.remoteAddress;
  }

  get remotePort(): number {
    return this.#connection.addresses.remotePort;
  }

  get state(): 'open' | 'closing' | 'closed' {
    return this.#connection.state;
  }

  get bufferedAmount(): number {
    return this.#connection.bufferedAmount;
  }

  send(data: Uint8Array | string): boolean {
    return this.#connection.sendFromService('send()', bytesOf('send()', data), frameKind.DATA);
  }

  sendSystem(kind: number, data: Uint8Array | string = ''): boolean {
    if (!Number.isInteger(kind) || kind < FIRST_USER_KIND || kind > MAX_KIND) {
      const message = `sendSystem() takes a kind from ${FIRST_USER_KIND} to ${MAX_KIND}, got ${inspect(kind, { depth: 0 })}`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    return this.#connection.sendFromService('sendSystem()', bytesOf('sendSystem()', data), kind);
  }

  shutdown(): void {
    this.#connection.shutdown('local-shutdown');
  }

  destroy(): void {
    this.#connection.destroy('local-destroy');
  }
}

/** Throws what ServiceConnection.send() does for a message of that length and kind. */
export function checkServiceMessage(
  call: string,
  length: number,
  kind: number,
  codecType: string,
  { maxMessageBytes, minMessageBytes = 0 }: Pick<Codec, 'maxMessageBytes' | 'minMessageBytes'>,
): void {
  if (kind !== frameKind.DATA && codecType !== 'frame') {
    const message = `${call}: codec '${codecType}' has no system messages, only 'frame' has`;
    throw new ReactorError('ERR_REACTOR_UNSUPPORTED', message);
  }
  if (length > maxMessageBytes) {
    const message = `${call}: a message of ${length} bytes; this connection takes ${maxMessageBytes} at most`;
    throw new ReactorError('ERR_REACTOR_MESSAGE_TOO_LARGE', message);
  }
  if (length < minMessageBytes) {
    const message = `${call}: a message of ${length} bytes; this connection takes ${minMessageBytes} at least`;
    throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
  }
}

function bytesOf(call: string, data: unknown): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  const message = `${call} takes a Uint8Array or a string, got ${inspect(data, { depth: 0, maxStringLength: 60 })}`;
  throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
}
