import { expect } from 'chai';
import { AnswerSpin } from '../../src/io-worker/answer-spin.js';

const LOOK_MS = 0.001;

describe('AnswerSpin', () => {
  const real = performance.now;
  let now = 0;
  let looks = 0;
  let spin: AnswerSpin;

  /** One turn behind so many events, whose answer is there at that look. Returns whether it was looked for. */
  const turn = (events: number, answeredAt: number): boolean => {
    looks = 0;
    for (let i = 0; i < events; i++) spin.noteEvent();
    spin.spin(() => ++looks >= answeredAt);
    return looks > 0;
  };

  beforeEach(() => {
    now = 1000;
    performance.now = () => {
      now += LOOK_MS;
      return now;
    };
    spin = new AnswerSpin();
  });

  afterEach(() => {
    performance.now = real;
  });

  it('looks until the answer is there', () => {
    for (let i = 0; i < 100; i++) {
      expect(turn(1, 7)).to.equal(true);
      expect(looks).to.equal(7);
    }
  });

  it('does not look without an event, nor when there was more than one', () => {
    for (const events of [0, 2, 3, 100, 0]) expect(turn(events, 1)).to.equal(false);
    expect(turn(1, 1)).to.equal(true);
  });

  it('asks for a turn behind the first event, and only if that one would look', () => {
    expect([spin.noteEvent(), spin.noteEvent(), spin.noteEvent()]).to.deep.equal([true, false, false]);
    spin.spin(() => true);
    expect(turn(1, Number.POSITIVE_INFINITY)).to.equal(true);
    expect(spin.noteEvent()).to.equal(false);
    spin.spin(() => true);
    expect(spin.noteEvent()).to.equal(true);
  });

  it('gives up after 0.04 ms, and passes ever more chances, up to 63', () => {
    const passed: number[] = [];
    for (let i = 0; i < 10; i++) {
      const before = now;
      let chances = 0;
      while (!turn(1, Number.POSITIVE_INFINITY)) chances++;
      expect(now - before).to.be.within(0.04, 0.04 + 3 * LOOK_MS);
      passed.push(chances);
    }
    expect(passed).to.deep.equal([0, 1, 3, 7, 15, 31, 63, 63, 63, 63]);
  });

  it('takes each chance again when an answer has come in time', () => {
    for (let misses = 0; misses < 5; misses++) while (!turn(1, Number.POSITIVE_INFINITY));
    while (!turn(1, 3));
    for (let i = 0; i < 10; i++) expect(turn(1, 3)).to.equal(true);
    // And passes few of them when one does not.
    expect(turn(1, Number.POSITIVE_INFINITY)).to.equal(true);
    expect([turn(1, 3), turn(1, 3)]).to.deep.equal([false, true]);
  });
});
