import { expect } from 'chai';
import type { ServedConnection } from '../../src/io-worker/connection-services.js';
import type { RunningService } from '../../src/io-worker/running-service.js';
import { ServiceClock } from '../../src/io-worker/service-clock.js';

const SLOW_MS = 20;
const QUICK_CALL_MS = 0.001;

describe('ServiceClock', () => {
  const real = performance.now;
  let now = 0;
  let looks = 0;
  let told: [service: string, hook: string, ms: number][] = [];
  let clock: ServiceClock;

  const service = (name: string): RunningService => ({ name, slowMs: SLOW_MS, callsALook: 1 }) as RunningService;
  const call = (called: RunningService, ms: number, hook: 'onMessage' | 'onSystem' = 'onMessage'): void => {
    clock.enter(called, hook);
    now += ms;
    clock.leave(called);
  };
  const repeat = (times: number, called: RunningService): void => {
    for (let i = 0; i < times; i++) call(called, QUICK_CALL_MS);
  };

  beforeEach(() => {
    [now, looks, told] = [1000, 0, []];
    performance.now = () => {
      looks++;
      return now;
    };
    clock = new ServiceClock(({ name }, hook, ms) => told.push([name, hook, Math.round(ms)]));
    clock.begin({} as ServedConnection);
  });

  afterEach(() => {
    performance.now = real;
  });

  it('looks once for eight calls, when they are quick', () => {
    const quick = service('quick');
    repeat(2000, quick);
    clock.end();
    // Those in front of the first eight: 1, 2 and 4; and one each at the beginning and at the end.
    expect(looks).to.equal(Math.floor((2000 - 7) / 8) + 3 + 2);
    expect(told).to.deep.equal([]);
  });

  it('tells of a slow call behind any number of quick ones', () => {
    const expected: typeof told = [];
    for (let before = 0; before < 50; before++) {
      const called = service(`behind ${before}`);
      repeat(before, called);
      call(called, 25);
      repeat(3, called);
      expected.push([called.name, 'onMessage', 25]);
    }
    clock.end();
    expect(told).to.deep.equal(expected);
  });

  it('tells of a slow call that is the last one', () => {
    const called = service('a');
    repeat(40, called);
    call(called, 25);
    clock.end();
    expect(told).to.deep.equal([['a', 'onMessage', 25]]);
  });

  it('gives each call its own look again, when they are not quick', () => {
    const called = service('a');
    repeat(100, called);
    for (let i = 0; i < 40; i++) call(called, 15);
    for (let i = 0; i < 40; i++) call(called, 21);
    clock.end();
    const slow = told.filter(([, , ms]) => ms === 21);
    expect(slow).to.have.length(40);
    // At most for the first few, which came behind quick ones, the sum of several.
    expect(told.length - slow.length).to.be.at.most(1);
  });

  it('tells services and hooks apart, however quick they have been', () => {
    const [a, b] = [service('a'), service('b')];
    repeat(100, a);
    repeat(100, b);
    for (let i = 0; i < 5; i++) {
      repeat(3, a);
      call(b, 25);
      call(a, 30, 'onSystem');
    }
    clock.end();
    expect(told).to.have.length(10);
    for (let i = 0; i < 10; i += 2) {
      expect(told.slice(i, i + 2)).to.deep.equal([
        ['b', 'onMessage', 25],
        ['a', 'onSystem', 30],
      ]);
    }
  });

  it('does not count the time between two reads', () => {
    const called = service('a');
    repeat(100, called);
    clock.end();
    now += 500;
    clock.begin({} as ServedConnection);
    repeat(1, called);
    clock.end();
    expect(told).to.deep.equal([]);
  });
});
