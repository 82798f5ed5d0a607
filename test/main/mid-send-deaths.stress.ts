import { expect } from 'chai';
import { SEED } from '../fixtures/scenario-tools.js';
import { dieInSend } from './mid-send-deaths.js';

describe('2,000 threads that are terminated in send()', () => {
  it(`leave each byte that they have charged for in the ring or in the ledger, FUZZ_SEED=${SEED}`, async () => {
    expect(await dieInSend(2000, SEED)).to.be.above(0);
  });
});
