import { expect } from 'chai';
import { killThreads } from './mortal-threads.js';

describe('a balanced server of which one thread after the other is killed', () => {
  it('answers every request at least once, in order, and loses neither connections nor memory', async () => {
    const { answered, redelivered } = await killThreads({ kills: 5, everyMs: 100, settleMs: 0 });
    expect(answered).to.be.above(500);
    expect(redelivered).to.be.above(0);
  });
});
