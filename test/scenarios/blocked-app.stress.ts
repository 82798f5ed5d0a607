import { blockApplication } from './blocked-app.js';

describe('an application thread that is blocked for 5 s', () => {
  for (const bytes of [64, 4096, 100_000]) {
    it(`finds every message of 50 peers afterwards, ${bytes} bytes each`, async () => {
      await blockApplication({ ms: 5000, peers: 50, bytes });
    });
  }
});
