import { expect } from 'chai';
import { periodStart } from '../../src/shared/log-period.js';

const HOUR_MS = 3_600_000;

describe('the period of a file of the log', () => {
  const before = process.env['TZ'];

  function inZone(zone: string): void {
    process.env['TZ'] = zone;
  }

  afterEach(() => {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  });

  it('of days and hours begins in local time, whatever the zone', () => {
    for (const zone of ['Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu', 'UTC']) {
      inZone(zone);
      const now = new Date(2026, 4, 17, 13, 31, 12, 345);
      expect(periodStart('daily', now.getTime())).to.equal(new Date(2026, 4, 17).getTime());
      expect(periodStart('hourly', now.getTime())).to.equal(new Date(2026, 4, 17, 13).getTime());
    }
  });

  it('of a day begins once on days that are longer or shorter', () => {
    inZone('Europe/Berlin');
    for (const day of [new Date(2026, 2, 29), new Date(2026, 9, 25)]) {
      const next = new Date(day.getFullYear(), day.getMonth(), day.getDate() + 1).getTime();
      for (let now = day.getTime(); now < next; now += HOUR_MS / 4) {
        expect(periodStart('daily', now)).to.equal(day.getTime());
      }
      expect(periodStart('daily', next)).to.equal(next);
    }
  });

  it('of an hour that comes twice begins twice', () => {
    inZone('Europe/Berlin');
    const first = new Date(2026, 9, 25, 2).getTime();
    expect(new Date(first + HOUR_MS).getHours()).to.equal(2);
    const starts = [0, 0.5, 1, 1.5, 2].map((hours) => periodStart('hourly', first + hours * HOUR_MS) - first);
    expect(starts).to.deep.equal([0, 0, HOUR_MS, HOUR_MS, 2 * HOUR_MS]);
  });

  it('of so many ms begins at multiples of them, 30 days among them', () => {
    expect(periodStart(1000, 1_790_000_000_999)).to.equal(1_790_000_000_000);
    const long = 30 * 24 * HOUR_MS;
    expect(periodStart(long, 7 * long + long - 1)).to.equal(7 * long);
    expect(periodStart(long, 8 * long)).to.equal(8 * long);
  });

  it('never ends without a frequency', () => {
    expect(periodStart(undefined, 1_790_000_000_999)).to.equal(0);
  });
});
