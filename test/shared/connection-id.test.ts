import { expect } from 'chai';
import fc from 'fast-check';
import {
  connectionId,
  generationOf,
  MAX_GENERATION,
  MAX_IO_WORKERS,
  MAX_SLOTS,
  slotOf,
  workerOf,
} from '../../src/shared/connection-id.js';

function partsOf(id: number): [worker: number, slot: number, generation: number] {
  return [workerOf(id), slotOf(id), generationOf(id)];
}

describe('ConnectionId', () => {
  const extremes = [0, 1, MAX_IO_WORKERS - 1].flatMap((worker) =>
    [0, 1, MAX_SLOTS - 1].flatMap((slot) =>
      [1, 2, MAX_GENERATION].map((generation): [number, number, number] => [worker, slot, generation]),
    ),
  );

  it('is the three numbers in one, as the picture shows', () => {
    expect(connectionId(0, 0, 1)).to.equal(2 ** 27);
    expect(connectionId(0, 1, 1)).to.equal(2 ** 27 + 2 ** 6);
    expect(connectionId(5, 3, 2)).to.equal(2 * 2 ** 27 + 3 * 2 ** 6 + 5);
    expect([MAX_IO_WORKERS, MAX_SLOTS, MAX_GENERATION]).to.deep.equal([2 ** 6, 2 ** 21, 2 ** 26 - 1]);
  });

  it('gives back worker, slot and generation at their extremes', () => {
    for (const [worker, slot, generation] of extremes) {
      expect(partsOf(connectionId(worker, slot, generation))).to.deep.equal([worker, slot, generation]);
    }
  });

  it('is a safe integer at the extremes, and never 0', () => {
    const ids = extremes.map(([worker, slot, generation]) => connectionId(worker, slot, generation));
    for (const id of ids) expect(Number.isSafeInteger(id) && id > 0, String(id)).to.equal(true);
    expect(Math.max(...ids)).to.equal(Number.MAX_SAFE_INTEGER);
    expect(new Set(ids).size).to.equal(ids.length);
  });

  const worker = fc.integer({ min: 0, max: MAX_IO_WORKERS - 1 });
  const slot = fc.integer({ min: 0, max: MAX_SLOTS - 1 });
  const generation = fc.integer({ min: 1, max: MAX_GENERATION });

  it('gives back whatever it was made of, and survives JSON', () => {
    fc.assert(
      fc.property(worker, slot, generation, (...parts) => {
        const id = connectionId(...parts);
        expect(Number.isSafeInteger(id)).to.equal(true);
        expect(id).to.be.greaterThan(0);
        expect(partsOf(id)).to.deep.equal(parts);
        expect(partsOf(JSON.parse(JSON.stringify(id)) as number)).to.deep.equal(parts);
      }),
    );
  });

  it('differs as soon as one of the three does', () => {
    const parts = fc.tuple(worker, slot, generation);
    // Mostly equal parts, or no two would ever be compared that differ in one only.
    const pairs = fc.tuple(parts, parts, fc.tuple(fc.boolean(), fc.boolean(), fc.boolean()));
    fc.assert(
      fc.property(pairs, ([a, other, changed]) => {
        const b = [0, 1, 2].map((i) => (changed[i] ? other[i] : a[i])) as [number, number, number];
        const same = a.every((part, i) => part === b[i]);
        expect(connectionId(...a) === connectionId(...b)).to.equal(same);
      }),
    );
  });
});
