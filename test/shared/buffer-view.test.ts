import { expect } from 'chai';
import { bufferView, viewsBy } from '../../src/shared/buffer-view.js';

describe('bufferView', () => {
  class NoBuffer extends Uint8Array {}
  const refuses = (): never => {
    throw new TypeError('not by you');
  };
  const ways: Record<string, typeof bufferView> = {
    'as this Node makes them': bufferView,
    'without a species': viewsBy(undefined),
    'with Buffer as the species': viewsBy(Buffer),
    'with a species that makes something else': viewsBy(NoBuffer),
    'with a species that throws': viewsBy(refuses),
  };

  for (const [name, view] of Object.entries(ways)) {
    it(`makes Buffers of memory, shared or not, without a copy: ${name}`, () => {
      for (const memory of [new ArrayBuffer(16), new SharedArrayBuffer(16)]) {
        const bytes = new Uint8Array(memory);
        bytes.forEach((_, index) => {
          bytes[index] = index;
        });
        const made = view(memory, 3, 5);
        expect(Buffer.isBuffer(made)).to.equal(true);
        expect(made.constructor).to.equal(Buffer);
        expect([...made]).to.deep.equal([3, 4, 5, 6, 7]);
        expect(made.toString('hex')).to.equal('0304050607');
        bytes[4] = 99;
        expect(made[1]).to.equal(99);
        expect(view(memory, 16, 0).length).to.equal(0);
      }
    });
  }
});
