import { expect } from 'chai';
import { Registry } from '../../src/shared/registry.js';

describe('Registry', () => {
  it('gives rising numbers in all threads, and knows which it has given', () => {
    const one = Registry.allocate(0);
    const other = new Registry(one.memory);
    expect([one.nextNumber(), other.nextNumber(), one.nextNumber()]).to.deep.equal([1, 2, 3]);
    expect([0, 1, 3, 4, 1.5, -1].map((number) => other.hasNumber(number))).to.deep.equal([
      false,
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  it('gives ids that no other thread has, and that are no numbers, however many', () => {
    const one = Registry.allocate(0);
    const [other, third] = [new Registry(one.memory), new Registry(one.memory)];
    const ids = new Set<number>();
    // More than one thread takes at a time.
    for (let i = 0; i < 2 ** 20 + 10; i++) ids.add(one.nextId());
    for (let i = 0; i < 10; i++) ids.add(other.nextId());
    for (let i = 0; i < 10; i++) ids.add(third.nextId());
    expect(ids.size).to.equal(2 ** 20 + 30);
    expect([...ids].every((id) => Number.isSafeInteger(id) && id >= 2 ** 31)).to.equal(true);
  });
});
