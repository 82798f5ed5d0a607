import { expect } from 'chai';
import { ChunkPool } from '../../src/io-worker/chunk-pool.js';
import { type InputKeeper, LaneTrail, type RetainedInput } from '../../src/io-worker/lane-trail.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const KIND = 2;

/** Has done with messages up to a number, and keeps what it is given. */
class Keeper implements InputKeeper {
  readonly kept: RetainedInput[] = [];
  done = 0;

  isDone(upTo: number): boolean {
    return upTo <= this.done;
  }

  keep(input: RetainedInput): void {
    this.kept.push(input);
  }

  get texts(): string[] {
    return this.kept.map(({ payload }) => payload.toString());
  }
}

describe('LaneTrail', () => {
  const ring = SharedMemory.allocate(64);
  let trail: LaneTrail;
  let keeper: Keeper;

  /** A record of four bytes that ends at `position`. */
  function add(text: string, upTo: number, position: number, by = keeper): void {
    const offset = (position - 4) & 63;
    ring.copyIn(offset, Buffer.from(text), 0, 4);
    trail.add({ keeper: by, upTo, isSuspect: upTo % 2 === 0 }, position, KIND, offset, 4);
  }

  beforeEach(() => {
    trail = new LaneTrail(ring, new ChunkPool());
    keeper = new Keeper();
  });

  it('copies what is not done out of the ring before its space is used again, and says that it was delivered', () => {
    add('one ', 1, 4);
    trail.settle(4);
    ring.view(0, 4).fill(0);
    expect(keeper.kept).to.deep.equal([
      { kind: KIND, payload: Buffer.from('one '), upTo: 1, wasDelivered: true, isSuspect: false },
    ]);
  });

  it('leaves alone what lies behind the position', () => {
    add('one ', 1, 4);
    add('two ', 2, 8);
    trail.settle(7);
    expect(keeper.texts).to.deep.equal(['one ']);
    trail.settle(8);
    expect(keeper.texts).to.deep.equal(['one ', 'two ']);
  });

  it('forgets what is done', () => {
    add('one ', 1, 4);
    add('two ', 2, 8);
    keeper.done = 1;
    trail.settle(8);
    expect(keeper.texts).to.deep.equal(['two ']);
    expect(keeper.kept[0]).to.include({ kind: KIND, isSuspect: true });
  });

  it('keeps each record once, and for its own keeper', () => {
    const other = new Keeper();
    add('mine', 1, 4);
    add('his ', 1, 8, other);
    trail.settle(8);
    trail.settle(8);
    expect([keeper.texts, other.texts]).to.deep.equal([['mine'], ['his ']]);
  });

  it('knows what is in front when positions wrap', () => {
    add('one ', 1, 2 ** 31 - 4);
    add('two ', 2, -(2 ** 31));
    trail.settle(2 ** 31 - 4);
    expect(keeper.texts).to.deep.equal(['one ']);
    trail.settle(-(2 ** 31));
    expect(keeper.texts).to.deep.equal(['one ', 'two ']);
  });

  it('goes on in order when much has been settled and some has not', () => {
    for (let number = 1; number <= 5000; number++) add('next', number, 4 * number);
    keeper.done = 2999;
    trail.settle(4 * 3000);
    expect(keeper.kept.map(({ upTo }) => upTo)).to.deep.equal([3000]);
    keeper.done = 4998;
    trail.settle(4 * 5000);
    expect(keeper.kept.map(({ upTo }) => upTo)).to.deep.equal([3000, 4999, 5000]);
  });

  describe('with pieces of long messages', () => {
    const KIB = 1024;
    const large = SharedMemory.allocate(128 * KIB);
    let pool: ChunkPool;

    beforeEach(() => {
      pool = new ChunkPool();
      trail = new LaneTrail(large, pool);
    });

    function keep(offset: number, length: number): RetainedInput {
      const bytes = Buffer.alloc(length);
      for (let i = 0; i < length; i++) bytes[i] = (i * 31 + offset) & 0xff;
      large.copyIn(offset, bytes, 0, length);
      trail.add({ keeper, upTo: 1, isSuspect: false }, offset + length, KIND, offset, length);
      trail.settle(offset + length);
      large.view(offset, length).fill(0);
      const kept = keeper.kept.at(-1) as RetainedInput;
      expect(Buffer.compare(kept.payload, bytes), 'the bytes differ').to.equal(0);
      return kept;
    }

    it('takes memory of the pool for them, wherever they lie', () => {
      for (const offset of [0, 1, 5, 8, 4099]) expect(keep(offset, 60 * KIB)).to.have.property('chunk');
    });

    it('takes the memory that has been given back', () => {
      const { chunk } = keep(0, 64 * KIB);
      if (chunk !== undefined) pool.release(chunk);
      expect(keep(8, 40 * KIB).chunk?.buffer).to.equal(chunk?.buffer);
    });

    it('takes none of it for what would not fill it, nor for what does not fit', () => {
      for (const [offset, length] of [
        [0, 70],
        [0, 32 * KIB - 1],
        [7, 64 * KIB],
        [0, 64 * KIB + 1],
      ] as const) {
        expect(keep(offset, length)).to.not.have.property('chunk');
      }
    });
  });
});
