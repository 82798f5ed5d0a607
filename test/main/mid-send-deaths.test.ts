import { SEED } from '../fixtures/scenario-tools.js';
import { dieInSend } from './mid-send-deaths.js';

describe('a thread that is terminated in send()', () => {
  it(`leaves each byte that it has charged for in the ring or in the ledger, FUZZ_SEED=${SEED}`, async () => {
    await dieInSend(20, SEED);
  });
});
