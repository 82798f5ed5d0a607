import type { BlockedSource, EventLane } from './event-lane.js';

interface Notice {
  readonly kind: number;
  readonly slot: number;
  readonly generation: number;
  readonly payload: Buffer;
}

/**
 * Events for a thread that are in no order with a connection's messages: answers, and news for threads that get none of its
 * messages. What does not fit into the ring waits here; each notice of a connection waits once.
 */
export class LaneNotices implements BlockedSource {
  readonly #lane: EventLane;
  readonly #waiting = new Map<string, Notice>();

  constructor(lane: EventLane) {
    this.#lane = lane;
  }

  send(kind: number, slot: number, generation: number, payload: Buffer): void {
    const lane = this.#lane;
    if (lane.isRetired) return;
    if (this.#waiting.size === 0 && lane.offer(kind, slot, generation, payload, 0, payload.length)) return;
    this.#waiting.set(`${kind} ${slot} ${generation}`, { kind, slot, generation, payload });
    lane.block(this);
  }

  retryDelivery(): boolean {
    for (const [key, { kind, slot, generation, payload }] of this.#waiting) {
      if (!this.#lane.offer(kind, slot, generation, payload, 0, payload.length)) return false;
      this.#waiting.delete(key);
    }
    return true;
  }
}
