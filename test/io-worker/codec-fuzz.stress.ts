import { expect } from 'chai';
import { fuzzCodec, subjects } from './codec-fuzz.js';

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

for (const name of Object.keys(subjects) as (keyof typeof subjects)[]) {
  describe(`Codec ${name}, fuzzed for 30 seconds`, () => {
    it(`agrees with the reference on whatever comes, however it is split (FUZZ_SEED=${seed})`, async () => {
      expect(await fuzzCodec(name, 30_000, seed)).to.be.greaterThan(100);
    });
  });
}
