import { expect } from 'chai';
import { killThreads } from './mortal-threads.js';

describe('a balanced server of which one thread is killed each second for 20 s', () => {
  it('answers every request at least once, in order, and loses neither connections nor memory', async () => {
    const { answered, redelivered } = await killThreads({ kills: 20, everyMs: 1000, settleMs: 30_000 });
    expect(answered).to.be.above(10_000);
    expect(redelivered).to.be.above(0);
  });
});
