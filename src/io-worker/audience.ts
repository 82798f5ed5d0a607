import type { Dispatch } from '../shared/control-protocol.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import type { EventLane } from './event-lane.js';
import type { TcpConnection } from './tcp-connection.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/**
 * The threads that get the events of a server's or a client's connections, and the connections that are held because
 * there is no such thread at present.
 */
export class Audience {
  readonly #dispatch: Dispatch;
  readonly #orphanTimeoutMs: number;
  readonly #board: StatusBoard;
  readonly #wheel: TimingWheel;
  /** With their seniority: of those that stand by, the one with the lowest is next. */
  readonly #lanes = new Map<EventLane, number>();
  readonly #held = new Map<TcpConnection, Deadline>();

  /** @param orphanTimeoutMs how long connections are held; 0: not at all */
  constructor(dispatch: Dispatch, orphanTimeoutMs: number, board: StatusBoard, wheel: TimingWheel) {
    this.#wheel = wheel;
    this.#dispatch = dispatch;
    this.#orphanTimeoutMs = orphanTimeoutMs;
    this.#board = board;
  }

  /** A thread that dies has its unfinished messages passed on. Where all get everything there is nothing to pass on. */
  get passesOn(): boolean {
    return this.#dispatch !== 'all';
  }

  has(lane: EventLane): boolean {
    return this.#lanes.has(lane);
  }

  get size(): number {
    return this.#lanes.size;
  }

  get lanes(): IterableIterator<EventLane> {
    return this.#lanes.keys();
  }

  /**
   * Finds threads for a connection that has none, or holds it.
   * @returns false if it is not held either: it ends
   */
  place(connection: TcpConnection): boolean {
    this.forget(connection);
    if (this.#dispatch === 'all') for (const lane of this.#lanes.keys()) connection.attach(lane);
    else {
      const lane = this.#choose();
      if (lane !== undefined) connection.attach(lane);
    }
    if (!connection.input.recipients.isHeld) return true;
    if (this.#orphanTimeoutMs === 0) return false;
    const deadline = new Deadline(() => {
      this.forget(connection);
      connection.orphan();
    });
    this.#wheel.set(deadline, this.#orphanTimeoutMs);
    this.#held.set(connection, deadline);
    this.#board.count(boardCounter.HELD);
    return true;
  }

  /** The thread gets events from now on; those that are held find their thread in it. */
  add(lane: EventLane, seniority: number, connections: Iterable<TcpConnection>): void {
    if (this.#lanes.has(lane)) return;
    this.#lanes.set(lane, seniority);
    for (const connection of [...this.#held.keys()]) this.place(connection);
    if (this.#dispatch !== 'all') return;
    for (const connection of connections) {
      if (!connection.input.recipients.has(lane) && !connection.input.isDropped) connection.attach(lane);
    }
  }

  remove(lane: EventLane): void {
    this.#lanes.delete(lane);
  }

  /** The connection is over, or is being placed. */
  forget(connection: TcpConnection): void {
    const deadline = this.#held.get(connection);
    if (deadline === undefined) return;
    this.#wheel.clear(deadline);
    this.#held.delete(connection);
    this.#board.count(boardCounter.HELD, -1);
  }

  #choose(): EventLane | undefined {
    let chosen: EventLane | undefined;
    let lowest = Number.POSITIVE_INFINITY;
    for (const [lane, seniority] of this.#lanes) {
      const rank = this.#dispatch === 'owner' ? seniority : lane.connections;
      if (rank >= lowest) continue;
      chosen = lane;
      lowest = rank;
    }
    return chosen;
  }
}
