import { expect } from 'chai';
import fc from 'fast-check';
import { Deadline, TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { HandClock } from '../fixtures/hand-clock.js';

const DAY_MS = 24 * 3600 * 1000;

describe('TimingWheel', () => {
  let clock: HandClock;
  let wheel: TimingWheel;
  let fired: string[];

  beforeEach(() => {
    clock = new HandClock();
    wheel = new TimingWheel(clock);
    fired = [];
  });

  function at(name: string): Deadline {
    return new Deadline(() => fired.push(name));
  }

  it('has each deadline due once, when its time has passed and not before', () => {
    for (const afterMs of [0, 1, 2, 255, 256, 257, 16_383, 16_384, 1_048_575, 1_048_577, DAY_MS, 60 * DAY_MS]) {
      const before = clock.time;
      wheel.set(at(String(afterMs)), afterMs);
      clock.moveTo(before + afterMs - 0.5);
      expect(fired, `early: ${afterMs}`).to.deep.equal([]);
      clock.moveTo(before + afterMs + 2);
      expect(fired).to.deep.equal([String(afterMs)]);
      fired.length = 0;
    }
    expect(wheel.size).to.equal(0);
  });

  it('fires in the order of the times, whatever order they were set in', () => {
    const delays = [70_000, 3, 300, 299, 20_000, 1, 17_000, 500];
    for (const delay of delays) wheel.set(at(String(delay)), delay);
    clock.moveTo(clock.time + 100_000);
    expect(fired).to.deep.equal(delays.toSorted((a, b) => a - b).map(String));
  });

  it('forgets what is cleared, and moves what is set anew', () => {
    const [a, b, c] = [at('a'), at('b'), at('c')];
    for (const deadline of [a, b, c]) wheel.set(deadline, 100);
    wheel.clear(b);
    wheel.set(a, 200);
    wheel.clear(b);
    expect(wheel.size).to.equal(2);
    expect(b.isSet).to.equal(false);
    clock.moveTo(clock.time + 150);
    expect(fired).to.deep.equal(['c']);
    clock.moveTo(clock.time + 100);
    expect(fired).to.deep.equal(['c', 'a']);
    expect(a.isSet).to.equal(false);
  });

  it('lets a deadline set and clear others when it is due, also such as are due at the same time', () => {
    const second = at('second');
    const first: Deadline = new Deadline(() => {
      fired.push('first');
      wheel.clear(second);
      if (fired.length < 3) wheel.set(first, 0);
    });
    wheel.set(first, 10);
    wheel.set(second, 10);
    clock.moveTo(clock.time + 50);
    expect(fired).to.deep.equal(['first', 'first', 'first']);
  });

  it('goes on after one that throws', () => {
    const bad = new Deadline(() => {
      throw new Error('thrown by a deadline');
    });
    wheel.set(bad, 10);
    wheel.set(at('next'), 10);
    expect(() => clock.moveTo(clock.time + 20)).to.throw('thrown by a deadline');
    clock.moveTo(clock.time + 20);
    expect(fired).to.deep.equal(['next']);
  });

  it('has those due together that may be late by as much', () => {
    for (let i = 0; i < 64; i++) wheel.set(at(String(i)), 1000 + i, 64);
    clock.moveTo(clock.time + 1200);
    expect(fired).to.have.length(64);
    expect(clock.wakes).to.be.at.most(6);
  });

  it('sleeps while nothing is due, and for ever when nothing is set', () => {
    expect(clock.sleepsUntil).to.equal(Number.POSITIVE_INFINITY);
    wheel.set(at('far'), DAY_MS);
    clock.moveTo(clock.time + DAY_MS + 2);
    expect(fired).to.deep.equal(['far']);
    // Down through the levels, not once a tick.
    expect(clock.wakes).to.be.at.most(8);
    expect(clock.sleepsUntil).to.equal(Number.POSITIVE_INFINITY);
  });

  it('catches up after a long stop of its thread, in order', () => {
    for (const delay of [5, 400, 90_000]) wheel.set(at(String(delay)), delay);
    clock.time += 3_600_000;
    wheel.turn();
    expect(fired).to.deep.equal(['5', '400', '90000']);
  });

  it('wakes as often for 100,000 deadlines that are far away as for none', () => {
    const many = Array.from({ length: 100_000 }, () => at('many'));
    for (const [i, deadline] of many.entries()) wheel.set(deadline, 200_000 + (i % 50_000));
    clock.moveTo(clock.time + 190_000);
    expect(fired).to.deep.equal([]);
    expect(clock.wakes).to.be.at.most(16);
    for (const deadline of many) wheel.clear(deadline);
    expect(wheel.size).to.equal(0);
  });

  it('agrees with a sorted list, whatever is done to it', () => {
    const delay = fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 2_000_000 }));
    const step = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), which: fc.nat(7), delay }),
      fc.record({ kind: fc.constant('clear' as const), which: fc.nat(7), delay: fc.constant(0) }),
      fc.record({ kind: fc.constant('move' as const), which: fc.constant(0), delay }),
      fc.record({ kind: fc.constant('stop' as const), which: fc.constant(0), delay }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ownClock = new HandClock();
        const own = new TimingWheel(ownClock);
        const due = new Map<number, number>();
        const deadlines = Array.from(
          { length: 8 },
          (_, i) =>
            new Deadline(() => {
              const expected = due.get(i);
              if (expected === undefined) throw new Error('not set');
              due.delete(i);
              expect(ownClock.time).to.be.at.least(expected);
            }),
        );
        for (const { kind, which, delay: ms } of steps) {
          if (kind === 'set') {
            own.set(deadlines[which] as Deadline, ms);
            due.set(which, ownClock.time + ms);
          } else if (kind === 'clear') {
            own.clear(deadlines[which] as Deadline);
            due.delete(which);
          } else if (kind === 'move') ownClock.moveTo(ownClock.time + ms);
          else {
            ownClock.time += ms;
            own.turn();
          }
          expect(own.size).to.equal(due.size);
          // The wake-up may be a moment away, when the clock has stopped in the middle of a tick.
          for (const time of due.values()) expect(time).to.be.above(ownClock.time - 2.5);
        }
      }),
      { numRuns: 500 },
    );
  });
});
