import { SEED } from '../fixtures/scenario-tools.js';
import { terminateThreads } from './random-termination.js';

describe('1,000 threads that are terminated at random moments', () => {
  it(`leave nothing torn, and neither lanes nor slots nor credit behind, FUZZ_SEED=${SEED}`, async () => {
    await terminateThreads(1000, SEED);
  });
});
