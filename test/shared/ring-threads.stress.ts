import { exchangeRecords } from './ring-threads.js';

describe('a ring between two threads', () => {
  const seed = Number(process.env['RING_SEED'] ?? Date.now() % 2 ** 31);
  for (const capacity of [4096, 1024 * 1024]) {
    it(`keeps 10,000,000 records whole and in order, ${capacity} bytes, RING_SEED=${seed}`, async () => {
      await exchangeRecords(capacity, 10_000_000, seed);
    });
  }
});
