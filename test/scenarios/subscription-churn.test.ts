import { SEED } from '../fixtures/scenario-tools.js';
import { subscribeAndLeave } from './subscription-churn.js';

describe('threads that subscribe and unsubscribe while traffic flows', () => {
  for (const dispatch of ['balance', 'owner'] as const) {
    it(`get every message once and in order between them, dispatch '${dispatch}', FUZZ_SEED=${SEED}`, async () => {
      await subscribeAndLeave({ dispatch, threads: 4, peers: 20, bytes: 200, ms: 500, seed: SEED });
    });
  }

  it(`do so when messages are longer than a read of the socket, FUZZ_SEED=${SEED}`, async () => {
    await subscribeAndLeave({ dispatch: 'balance', threads: 4, peers: 10, bytes: 100_000, ms: 500, seed: SEED });
  });
});
