import { expect } from 'chai';
import type { RetainedInput } from '../../src/io-worker/lane-trail.js';
import { leftToDo, suspectsIn } from '../../src/io-worker/unfinished-input.js';
import { eventKind } from '../../src/shared/event-record.js';
import { frame } from '../fixtures/raw-peer.js';

const NONE: ReadonlySet<number> = new Set();

function input(kind: number, upTo: number, payload: Buffer, more: Partial<RetainedInput> = {}): RetainedInput {
  return { kind, upTo, payload, wasDelivered: false, isSuspect: false, ...more };
}

function messages(upTo: number, texts: readonly string[], more: Partial<RetainedInput> = {}): RetainedInput {
  return input(eventKind.MESSAGES, upTo, Buffer.concat(texts.map((text) => frame(text))), more);
}

describe('what a thread has not finished', () => {
  it('is cut at the messages that are done', () => {
    const { left, removed } = leftToDo([messages(3, ['a', 'b', 'c'])], { done: 2, overtaken: NONE, died: false });
    expect(left).to.deep.equal([messages(3, ['c'])]);
    expect(removed).to.equal(0);
  });

  it('goes on whole if nothing of it is done, also where the counter wraps', () => {
    const upTo = (2 ** 31 + 1) | 0;
    const { left } = leftToDo([messages(upTo, ['a', 'b', 'c'])], { done: 2 ** 31 - 2, overtaken: NONE, died: false });
    expect(left).to.deep.equal([messages(upTo, ['a', 'b', 'c'])]);
  });

  it('loses what was overtaken, and the messages behind it have other numbers', () => {
    const unfinished = [
      messages(3, ['a', 'b', 'c']),
      input(eventKind.PART_FIRST, 4, Buffer.from('long')),
      input(eventKind.PART, 4, Buffer.from('er')),
      messages(6, ['d', 'e']),
    ];
    // b, the long one with all of its pieces, and e
    const overtaken = new Set([1, 3, 5]);
    const { left, removed } = leftToDo(unfinished, { done: 0, overtaken, died: false });
    expect(left).to.deep.equal([messages(2, ['a', 'c']), messages(3, ['d'])]);
    expect(removed).to.equal(3);
  });

  it('keeps the pieces of a long message that was not overtaken', () => {
    const unfinished = [
      messages(1, ['a']),
      input(eventKind.PART_FIRST, 2, Buffer.from('long')),
      input(eventKind.PART, 2, Buffer.from('er')),
    ];
    const { left } = leftToDo(unfinished, { done: 0, overtaken: new Set([0]), died: false });
    expect(left).to.deep.equal([
      input(eventKind.PART_FIRST, 1, Buffer.from('long')),
      input(eventKind.PART, 1, Buffer.from('er')),
    ]);
  });

  it('is suspect if the thread has had it and died, or one before it has', () => {
    const unfinished = [
      messages(1, ['had'], { wasDelivered: true }),
      messages(2, ['before'], { isSuspect: true }),
      messages(3, ['never']),
    ];
    const suspects = (died: boolean): boolean[] =>
      leftToDo(unfinished, { done: 0, overtaken: NONE, died }).left.map(({ isSuspect }) => isSuspect);
    expect(suspects(true)).to.deep.equal([true, true, false]);
    expect(suspects(false)).to.deep.equal([false, true, false]);
  });

  it('has suspects up to the last message that may have been handled, long ones counted once', () => {
    const isSuspect = true;
    expect(suspectsIn([])).to.equal(0);
    expect(suspectsIn([messages(2, ['a', 'b'])])).to.equal(0);
    const unfinished = [
      messages(2, ['a', 'b']),
      input(eventKind.PART_FIRST, 3, Buffer.from('lo'), { isSuspect }),
      input(eventKind.PART, 3, Buffer.from('ng'), { isSuspect }),
      messages(4, ['c']),
    ];
    expect(suspectsIn(unfinished)).to.equal(3);
  });
});
