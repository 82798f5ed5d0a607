import { expect } from 'chai';
import { LATENESS_BUCKETS, latenessBucket, latenessOf } from '../../src/shared/lateness-histogram.js';
import { StatusBoard } from '../../src/shared/status-board.js';

describe('lateness histogram', () => {
  it('has percentiles that are never better than the truth, and at most a fifth worse', () => {
    const board = StatusBoard.allocate();
    const values: number[] = [];
    for (let i = 1; i <= 10_000; i++) values.push((i * i) / 50_000);
    for (const value of values) board.notePing(value);
    const { p50, p99, p999, max, histogram } = latenessOf(board.pingLateness, values.at(-1) as number);
    for (const [share, found] of [
      [0.5, p50],
      [0.99, p99],
      [0.999, p999],
    ] as const) {
      const truth = values[Math.ceil(share * values.length) - 1] as number;
      expect(found).to.be.within(truth, truth * 1.21);
    }
    expect(max).to.equal(2000);
    expect(histogram.reduce((total, { count }) => total + count, 0)).to.equal(10_000);
  });

  it('is all zero when nothing has been noted, and holds anything at its ends', () => {
    expect(latenessOf(new Float64Array(LATENESS_BUCKETS), 0)).to.deep.equal({
      p50: 0,
      p99: 0,
      p999: 0,
      max: 0,
      histogram: [],
    });
    expect(latenessBucket(0)).to.equal(0);
    expect(latenessBucket(0.5)).to.equal(1);
    expect(latenessBucket(1e9)).to.equal(LATENESS_BUCKETS - 1);
  });
});
