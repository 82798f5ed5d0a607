import { surviveHostilePeers } from './hostile-peers.js';

describe('hostile peers for 30 s', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

  it(`harm nobody else, FUZZ_SEED=${seed}`, async () => {
    await surviveHostilePeers(30_000, seed);
  });
});
