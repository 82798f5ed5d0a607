import { expect } from 'chai';
import { fuzzFrameDecoder } from './frame-codec-fuzz.js';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

describe('FrameConnection, fuzzed for 30 seconds', () => {
  it(`agrees with the reference on whatever comes, however it is split (FUZZ_SEED=${seed})`, async () => {
    expect(await fuzzFrameDecoder(30_000, seed)).to.be.greaterThan(1000);
  });
});
