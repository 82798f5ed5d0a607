import { SEED } from '../fixtures/scenario-tools.js';
import { subscribeAndLeave } from './subscription-churn.js';

describe('threads that subscribe and unsubscribe for 15 s while traffic flows', () => {
  for (const dispatch of ['balance', 'owner'] as const) {
    for (const bytes of [20, 2000, 100_000]) {
      it(`get all messages of ${bytes} bytes once and in order, dispatch '${dispatch}', FUZZ_SEED=${SEED}`, async () => {
        await subscribeAndLeave({ dispatch, threads: 6, peers: 50, bytes, ms: 15_000, seed: SEED });
      });
    }
  }
});
