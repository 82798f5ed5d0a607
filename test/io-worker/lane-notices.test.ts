import { expect } from 'chai';
import type { BlockedSource, EventLane } from '../../src/io-worker/event-lane.js';
import { LaneNotices } from '../../src/io-worker/lane-notices.js';
import { eventKind } from '../../src/shared/event-record.js';

/** A lane with room for so many events. */
class Lane {
  room = 0;
  isRetired = false;
  readonly events: string[] = [];
  blocked: BlockedSource | undefined;

  offer(kind: number, slot: number, generation: number, payload: Buffer): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.events.push(`${kind} ${slot} ${generation} ${payload.toString()}`);
    return true;
  }

  block(source: BlockedSource): void {
    this.blocked = source;
  }
}

describe('LaneNotices', () => {
  const { DRAIN, CLOSE } = eventKind;
  let lane: Lane;
  let notices: LaneNotices;

  function send(kind: number, slot: number, text = ''): void {
    notices.send(kind, slot, 1, Buffer.from(text));
  }

  beforeEach(() => {
    lane = new Lane();
    notices = new LaneNotices(lane as unknown as EventLane);
  });

  it('go into the ring at once if there is room', () => {
    lane.room = 1;
    send(DRAIN, 5);
    expect(lane.events).to.deep.equal([`${DRAIN} 5 1 `]);
    expect(lane.blocked).to.equal(undefined);
  });

  it('wait in order for room, and are not overtaken by a later one', () => {
    send(DRAIN, 1);
    lane.room = 1;
    send(CLOSE, 2);
    expect(lane.events).to.deep.equal([]);
    expect(lane.blocked).to.equal(notices);
    expect(notices.retryDelivery()).to.equal(false);
    expect(lane.events).to.deep.equal([`${DRAIN} 1 1 `]);
    lane.room = 5;
    expect(notices.retryDelivery()).to.equal(true);
    expect(lane.events).to.deep.equal([`${DRAIN} 1 1 `, `${CLOSE} 2 1 `]);
    send(DRAIN, 3);
    expect(lane.events.length).to.equal(3);
  });

  it('wait once each, with what was said last', () => {
    send(CLOSE, 1, 'first');
    send(CLOSE, 1, 'last');
    send(DRAIN, 1);
    lane.room = 5;
    notices.retryDelivery();
    expect(lane.events).to.deep.equal([`${CLOSE} 1 1 last`, `${DRAIN} 1 1 `]);
  });

  it('are not for a thread that is dead', () => {
    lane.isRetired = true;
    send(DRAIN, 1);
    expect(lane.blocked).to.equal(undefined);
    lane.room = 1;
    expect(notices.retryDelivery()).to.equal(true);
    expect(lane.events).to.deep.equal([]);
  });
});
