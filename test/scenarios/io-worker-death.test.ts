import { killForGood, killIoWorkers } from './io-worker-death.js';

describe('an io worker that dies while several threads are at work', () => {
  for (const dispatch of ['balance', 'all'] as const) {
    it(`is replaced each time, and everybody and everything comes back, dispatch '${dispatch}'`, async () => {
      await killIoWorkers({ threads: 2, crashes: 2, dispatch });
    });
  }

  it('ends the reactor in every thread if it is not to be replaced', async () => {
    await killForGood({ threads: 2 });
  });
});
