import { killForGood, killIoWorkers } from './io-worker-death.js';

describe('an io worker that dies ten times while several threads are at work', () => {
  for (const dispatch of ['balance', 'all'] as const) {
    it(`is replaced each time, and everybody and everything comes back, dispatch '${dispatch}'`, async () => {
      await killIoWorkers({ threads: 4, crashes: 10, dispatch });
    });
  }

  for (let round = 1; round <= 20; round++) {
    it(`ends the reactor in every thread if it is not to be replaced, time ${round}`, async () => {
      await killForGood({ threads: 4 });
    });
  }
});
