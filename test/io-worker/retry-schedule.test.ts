import { expect } from 'chai';
import { Backoff } from '../../src/io-worker/backoff.js';
import { RetrySchedule } from '../../src/io-worker/retry-schedule.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { HandClock } from '../fixtures/hand-clock.js';

describe('Backoff', () => {
  const settings = { minDelayMs: 100, maxDelayMs: 1000, factor: 3, jitter: 0.2 };

  it('grows by its factor up to the longest delay, and begins anew after a reset', () => {
    const backoff = new Backoff(settings, () => 0.5);
    expect([1, 2, 3, 4, 5].map(() => backoff.next())).to.deep.equal([100, 300, 900, 1000, 1000]);
    backoff.reset();
    expect(backoff.next()).to.equal(100);
  });

  it('leaves a part of each delay to chance, and is never longer than the longest', () => {
    for (const [random, expected] of [
      [0, [80, 240, 720, 800]],
      [1, [120, 360, 1000, 1000]],
    ] as const) {
      const backoff = new Backoff(settings, () => random);
      for (const delay of expected) expect(backoff.next()).to.be.closeTo(delay, 0.001);
    }
  });
});

describe('RetrySchedule', () => {
  let clock: HandClock;
  let wheel: TimingWheel;
  let schedule: RetrySchedule;

  beforeEach(() => {
    clock = new HandClock();
    wheel = new TimingWheel(clock);
    schedule = new RetrySchedule(wheel);
  });

  it('makes the attempts of a few when they want to', () => {
    const made: number[] = [];
    for (const delay of [500, 510, 520, 2000]) schedule.add(delay, () => made.push(Math.round(wheel.now)));
    clock.moveTo(clock.time + 3000);
    expect(made).to.have.length(4);
    for (const [index, at] of made.entries()) expect(at).to.be.closeTo([500, 510, 520, 2000][index] as number, 2);
    expect(schedule.waiting).to.equal(0);
  });

  it('spreads a thousand that come at once, round after round: no second has more than 15 % of them', () => {
    const perSecond = new Map<number, number>();
    let attempts = 0;
    const client = (backoff: Backoff): void => {
      schedule.add(backoff.next(), () => {
        attempts++;
        const second = Math.floor(wheel.now / 1000);
        perSecond.set(second, (perSecond.get(second) ?? 0) + 1);
        // The server is down for ten seconds.
        if (wheel.now < 10_000) client(backoff);
      });
    };
    for (let at = 0; at < 1000; at++) {
      client(new Backoff({ minDelayMs: 500, maxDelayMs: 30_000, factor: 2, jitter: 0.2 }));
    }
    clock.moveTo(clock.time + 120_000);
    expect(schedule.waiting).to.equal(0);
    expect(attempts).to.be.at.least(1000);
    expect(Math.max(...perSecond.values()) / attempts).to.be.at.most(0.15);
  });

  for (const [clients, delayMs, most] of [
    [1, 1, 4],
    [10, 20, 4],
    [1000, 1, 10],
    [1000, 20, 10],
  ] as const) {
    it(`makes not more than ${most} in a tenth of a second of ${clients} that fail at once and come again in ${delayMs} ms`, () => {
      const per = new Map<number, number>();
      const again = (): void => {
        schedule.add(delayMs, () => {
          const slice = Math.floor(wheel.now / 100);
          per.set(slice, (per.get(slice) ?? 0) + 1);
          again();
        });
      };
      for (let client = 0; client < clients; client++) again();
      clock.moveTo(clock.time + 60_000);
      expect(Math.max(...per.values())).to.equal(most);
      expect(schedule.waiting).to.equal(clients);
    });
  }

  it('gives a tenth of a second its four anew when one of them is cancelled, not when it has been made', () => {
    const first = schedule.add(50, () => undefined);
    for (const delayMs of [10, 20, 30]) schedule.add(delayMs, () => undefined);
    clock.moveTo(clock.time + 40);
    expect(schedule.add(20, () => undefined).delayMs).to.be.greaterThan(20);
    first.cancel();
    expect(schedule.add(20, () => undefined).delayMs).to.equal(20);
  });

  it('forgets what is cancelled, once', () => {
    let made = 0;
    const retries = Array.from({ length: 1000 }, () => schedule.add(100, () => made++));
    for (const retry of retries) {
      retry.cancel();
      retry.cancel();
    }
    expect(schedule.waiting).to.equal(0);
    expect(wheel.size).to.equal(0);
    const { delayMs } = schedule.add(100, () => made++);
    expect(delayMs).to.equal(100);
    clock.moveTo(clock.time + 20_000);
    expect(made).to.equal(1);
  });
});
