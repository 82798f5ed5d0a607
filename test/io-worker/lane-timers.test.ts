import { expect } from 'chai';
import type { EventLane } from '../../src/io-worker/event-lane.js';
import { LaneTimers } from '../../src/io-worker/lane-timers.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { StatusBoard } from '../../src/shared/status-board.js';
import { encodeTimerIds, encodeTimers } from '../../src/shared/timer-record.js';
import { HandClock } from '../fixtures/hand-clock.js';

const SECOND = 1000;

/** In place of an EventLane: which timers have told the thread something, and which event that has taken last. */
class Lane {
  timerEventsTaken: number;
  hasRoom = true;
  told: number[] = [];
  last = 0;

  constructor(taken: number) {
    this.timerEventsTaken = taken;
  }

  offer(_kind: number, slot: number, _generation: number, bytes: Buffer): boolean {
    if (!this.hasRoom) return false;
    this.told.push(slot);
    this.last = bytes.readInt32LE();
    return true;
  }

  block(): void {}
}

for (const start of [0, 2 ** 31 - 3]) {
  describe(`LaneTimers, from event ${start} on`, () => {
    let clock: HandClock;
    let lane: Lane;
    let timers: LaneTimers;

    beforeEach(() => {
      clock = new HandClock();
      lane = new Lane(start);
      const wheel = new TimingWheel(clock);
      timers = new LaneTimers(lane as unknown as EventLane, wheel, StatusBoard.allocate(), () => clock.time);
    });

    function add(id: number, interval: number): void {
      timers.add(encodeTimers([{ id, first: clock.time + interval, interval, told: 0 }]));
    }

    /** Returns the timers that have told the thread something meanwhile. */
    function pass(ms: number): number[] {
      lane.told = [];
      clock.moveTo(clock.time + ms);
      return lane.told;
    }

    it('has one event of a timer under way at most', () => {
      add(1, 100);
      add(2, 100);
      expect(pass(SECOND)).to.deep.equal([1, 2]);
      lane.timerEventsTaken = (lane.last - 1) | 0;
      expect(pass(SECOND)).to.deep.equal([1]);
      lane.timerEventsTaken = lane.last;
      expect(pass(SECOND)).to.have.members([1, 2]);
    });

    it('does not take an event for one under way when so many others have come since that their numbers are about to come round', () => {
      add(1, 100 * SECOND);
      expect(pass(100 * SECOND + 1)).to.deep.equal([1]);
      lane.timerEventsTaken = lane.last;
      add(2, SECOND);
      expect(pass(SECOND + 1)).to.deep.equal([2]);
      // As if there had been as many of the other timer: it is the first timer's number that counts, half a round back.
      lane.timerEventsTaken = (lane.last + 2 ** 31) | 0;
      timers.remove(encodeTimerIds([2]));
      expect(pass(100 * SECOND)).to.deep.equal([1]);
    });

    it('tells what had no room when there is some, once', () => {
      add(1, 100);
      lane.hasRoom = false;
      expect(pass(SECOND)).to.deep.equal([]);
      lane.hasRoom = true;
      expect(timers.retryDelivery()).to.equal(true);
      expect(lane.told).to.deep.equal([1]);
      expect(pass(SECOND)).to.deep.equal([]);
    });
  });
}
