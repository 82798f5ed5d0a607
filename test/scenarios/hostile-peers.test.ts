import { expect } from 'chai';
import { surviveHostilePeers } from './hostile-peers.js';

describe('hostile peers', () => {
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

  it(`end with documented reasons and harm nobody else, FUZZ_SEED=${seed}`, async () => {
    const reasons = await surviveHostilePeers(2000, seed);
    const documented = ['protocol-error', 'frame-too-large', 'peer-end', 'peer-reset', 'reactor-close'];
    expect([...reasons.keys()].filter((reason) => !documented.includes(reason))).to.deep.equal([]);
    expect(reasons.get('protocol-error')).to.be.above(0);
    expect(reasons.get('frame-too-large')).to.be.above(0);
    expect(reasons.get('peer-end')).to.be.above(0);
  });
});
