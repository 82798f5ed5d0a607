import { SEED } from '../fixtures/scenario-tools.js';
import { terminateThreads } from './random-termination.js';

describe('threads that are terminated at random moments', () => {
  it(`leave nothing torn, and neither lanes nor slots nor credit behind, FUZZ_SEED=${SEED}`, async () => {
    await terminateThreads(12, SEED);
  });
});
