import { expect } from 'chai';
import { SpareBuffers } from '../../src/main/spare-buffers.js';

const KIB = 1024;

describe('SpareBuffers', () => {
  let spares: SpareBuffers;

  beforeEach(() => {
    spares = new SpareBuffers();
  });

  it('takes what has been given back, if it is long enough', () => {
    const buffer = spares.take(300 * KIB);
    expect(spares.take(1)).to.not.equal(buffer);
    spares.giveBack(buffer);
    expect(spares.take(513 * KIB)).to.not.equal(buffer);
    expect(spares.take(512 * KIB)).to.equal(buffer);
  });

  it('gives none to two', () => {
    spares.giveBack(spares.take(1));
    expect(spares.take(1)).to.not.equal(spares.take(1));
  });

  it('keeps four, of 1 MiB each at most', () => {
    const buffers = Array.from({ length: 5 }, () => spares.take(1024 * KIB));
    for (const buffer of buffers) spares.giveBack(buffer);
    const again = buffers.map(() => spares.take(1));
    expect(buffers.filter((buffer) => again.includes(buffer)).length).to.equal(4);
    const long = spares.take(1024 * KIB + 1);
    expect(long.length).to.equal(1024 * KIB + 1);
    spares.giveBack(long);
    expect(spares.take(1)).to.not.equal(long);
  });
});
