import { exchangeRecords } from './ring-threads.js';

describe('a ring between two threads', () => {
  const seed = Number(process.env['RING_SEED'] ?? Date.now() % 2 ** 31);
  for (const capacity of [4096, 65_536]) {
    it(`keeps 200,000 records whole and in order, ${capacity} bytes, RING_SEED=${seed}`, async () => {
      await exchangeRecords(capacity, 200_000, seed);
    });
  }
});
