import type { CloseReason } from '../shared/close-reason.js';
import { framing, type SlotSettings } from '../shared/connection-table.js';
import type { ConnectionSettings, DrainReport, ListenRequest } from '../shared/control-protocol.js';
import { encodeTlsFailed, eventKind, TLS_VERSION_BYTES, type TlsPeer } from '../shared/event-record.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import type { TlsServerSettings } from '../shared/tls-settings.js';
import type { Acceptor } from './acceptor.js';
import { Audience } from './audience.js';
import type { ClientServicesHold } from './client-services.js';
import type { Codec } from './codec.js';
import { encodingKey } from './encoding-key.js';
import type { EventLane } from './event-lane.js';
import type { Services } from './services.js';
import type { TcpConnection } from './tcp-connection.js';
import type { TimingWheel } from './timing-wheel.js';

const NOTHING: Buffer = Buffer.alloc(0);

/** What an origin needs of the event loop. */
export interface OriginParts {
  readonly board: StatusBoard;
  readonly wheel: TimingWheel;
}

/** The server or client that connections belong to. */
export class Origin {
  readonly id: number;
  readonly settings: ConnectionSettings;
  readonly codec: Codec;
  /** What the table says of each of its connections. */
  readonly slotSettings: SlotSettings;
  readonly audience: Audience;
  /** Origins with the same one encode alike. */
  readonly encodingKey: string;
  readonly connections: Set<TcpConnection> = new Set();
  /** What the user has on the io worker; undefined if there are none. */
  services: Services | undefined;
  /** A client's, which end with its last connection. */
  clientServices: ClientServicesHold | undefined;
  /** What a server listens with. */
  request: ListenRequest | undefined;
  acceptor: Acceptor | undefined;
  /** Who hears of a server's end. */
  readonly #interested = new Set<EventLane>();
  /** Those who wait for a thread to have left. */
  #departures: { readonly lane: EventLane; left: number; readonly resolve: () => void }[] = [];

  readonly #board: StatusBoard;

  private constructor(
    id: number,
    settings: ConnectionSettings,
    codec: Codec,
    audience: Audience,
    board: StatusBoard,
    request?: ListenRequest,
  ) {
    this.id = id;
    this.settings = settings;
    this.codec = codec;
    const { type } = settings.codec;
    this.slotSettings = {
      ...settings,
      maxMessageBytes: codec.maxMessageBytes,
      framing: type === 'raw' ? framing.BYTES : framing.MESSAGES,
      minMessageBytes: codec.minMessageBytes ?? 0,
      hasRequests: type === 'frame',
    };
    this.encodingKey = encodingKey(id, settings.codec);
    this.audience = audience;
    this.#board = board;
    this.request = request;
  }

  static server(request: ListenRequest, codec: Codec, { board, wheel }: OriginParts): Origin {
    const audience = new Audience(request.dispatch, request.orphanTimeoutMs, board, wheel);
    return new Origin(request.server, request.connection, codec, audience, board, request);
  }

  /** A client's connections belong to the thread that made them: without it they end. */
  static client(
    id: number,
    settings: ConnectionSettings,
    codec: Codec,
    lane: EventLane,
    { board, wheel }: OriginParts,
  ): Origin {
    const origin = new Origin(id, settings, codec, new Audience('owner', 0, board, wheel), board);
    origin.audience.add(lane, 0, origin.connections);
    return origin;
  }

  /** It is closed: there will be no connections and no subscribers any more. */
  isEnded = false;

  /** Connections of it have ended because no thread got their events. */
  hasOrphans = false;

  /** Otherwise it is a client. */
  get isServer(): boolean {
    return this.request !== undefined;
  }

  /** Nothing refers to it: a client that has no connections, or a server that has ended and whose last connection is over. */
  get isUnused(): boolean {
    return (!this.isServer || this.isEnded) && this.connections.size === 0;
  }

  /** The threads that know it. */
  get informed(): Iterable<EventLane> {
    return this.isServer ? this.#interested : this.audience.lanes;
  }

  inform(lane: EventLane): void {
    this.#interested.add(lane);
  }

  subscribe(lane: EventLane, seniority: number): void {
    this.inform(lane);
    this.audience.add(lane, seniority, this.connections);
  }

  /** Resolves when the thread has handed over all its connections. */
  unsubscribe(lane: EventLane): Promise<void> {
    this.audience.remove(lane);
    let left = 0;
    for (const connection of this.connections) if (connection.input.leave(lane)) left++;
    if (left === 0) return Promise.resolve();
    return new Promise((resolve) => this.#departures.push({ lane, left, resolve }));
  }

  /** A thread that is leaving has handed over one of its connections. */
  noteReleased(lane: EventLane): void {
    const departure = this.#departures.find((each) => each.lane === lane);
    if (departure === undefined) return;
    departure.left--;
    if (departure.left === 0) this.#depart(departure);
  }

  #depart(departure: { readonly resolve: () => void }): void {
    this.#departures = this.#departures.filter((each) => each !== departure);
    departure.resolve();
  }

  /** The thread is dead: it gets nothing any more. */
  forget(lane: EventLane): void {
    this.audience.remove(lane);
    this.#interested.delete(lane);
  }

  /** The thread is dead, and its connections have been told. */
  noteDeparted(lane: EventLane): void {
    for (const departure of this.#departures) if (departure.lane === lane) this.#depart(departure);
  }

  /** Lets every connection finish what it has in hand; after the deadline closes what is left. */
  async windDown(reason: CloseReason, drainMs: number): Promise<DrainReport> {
    this.acceptor?.stop();
    const connections = [...this.connections];
    const open = connections.filter((connection) => !connection.isClosed);
    let cut = 0;
    const deadline = setTimeout(() => {
      for (const connection of open) if (!connection.isClosed) cut++;
      for (const connection of connections) connection.cut(reason);
    }, drainMs);
    await Promise.all(connections.map((connection) => connection.windDown(reason)));
    clearTimeout(deadline);
    const unsentBytes = open.reduce((total, connection) => total + connection.unsentBytes, 0);
    const lostMessages = connections.reduce((total, connection) => total + connection.input.lostMessages, 0);
    return { connections: open.length, cut, unsentBytes, lostMessages };
  }

  /** New connections get these settings from now on, and all threads that know the server are told: they restore it after a crash. */
  updateTls(tls: TlsServerSettings): void {
    const { request } = this;
    if (request?.tls === undefined || tls.version <= request.tls.version) return;
    this.acceptor?.updateTls(tls);
    this.request = { ...request, tls };
    const payload = Buffer.alloc(TLS_VERSION_BYTES);
    payload.writeUInt32LE(tls.version);
    for (const lane of this.#interested) lane.notices.send(eventKind.TLS_UPDATED, this.id, 0, payload);
  }

  /**
   * Tells the threads that know it, whoever gets its connections, that a handshake has failed. One whose ring is full is not told: peers
   * make these.
   */
  announceTlsFailure(peer: TlsPeer, error: Error): void {
    const payload = encodeTlsFailed({ peer, error });
    for (const lane of this.informed) {
      if (!lane.offer(eventKind.TLS_FAILED, this.id, 0, payload, 0, payload.length)) {
        this.#board.count(boardCounter.UNTOLD_TLS_ERRORS);
      }
    }
  }

  /** Tells the threads that a server is closed. */
  announceEnd(): void {
    for (const lane of this.#interested) lane.notices.send(eventKind.SERVER_CLOSED, this.id, 0, NOTHING);
  }
}
