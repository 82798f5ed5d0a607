import { expect } from 'chai';
import fc from 'fast-check';
import { readU32, SharedMemory } from '../../src/shared/shared-memory.js';

const KIB = 1024;
/** Lengths on both sides of every threshold at which copying changes its way, and of its multiples. */
const lengths = [12, 72, 256, 4 * KIB, 64 * KIB, 128 * KIB].flatMap((threshold) =>
  [-1, 0, 1, 7].map((by) => threshold + by),
);
lengths.push(0, 1, 2, 8, 9, 15, 16, 17, 48, 200, 1000, 100_000);

const skews = [0, 1, 2, 3, 4, 5, 6, 7];
const GUARD = 16;
const SIZE = GUARD + 8 + 128 * KIB + 8 + GUARD;
const FILL = 0xa5;

const noise = Buffer.alloc(SIZE);
for (let i = 0; i < SIZE; i++) noise[i] = (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 0xff;

/** The target must hold exactly what a plain copy would have left there. */
function expectSame(target: Buffer, expected: Buffer, what: string): void {
  if (Buffer.compare(target, expected) !== 0) {
    const at = expected.findIndex((byte, i) => byte !== target[i]);
    expect.fail(`${what}: byte ${at} is ${target[at]}, a plain copy has ${expected[at]}`);
  }
}

function forAllCopies(copy: (length: number, from: number, to: number, what: string) => void): void {
  for (const length of lengths) {
    for (const from of skews) {
      for (const to of skews) copy(length, GUARD + from, GUARD + to, `${length} bytes from ${from} to ${to}`);
    }
  }
}

describe('SharedMemory', () => {
  const memory = SharedMemory.allocate(SIZE);
  const shared = memory.view(0, SIZE);
  const expected = Buffer.alloc(SIZE);

  describe('copyIn()', () => {
    it('does what a plain copy does, and nothing outside of it, for every alignment', () => {
      forAllCopies((length, from, to, what) => {
        shared.fill(FILL);
        expected.fill(FILL);
        noise.copy(expected, to, from, from + length);
        memory.copyIn(to, noise, from, from + length);
        expectSame(shared, expected, what);
      });
    });

    it('does so when the source is itself a part of something', () => {
      forAllCopies((length, from, to, what) => {
        shared.fill(FILL);
        expected.fill(FILL);
        noise.copy(expected, to, from, from + length);
        const source = new Uint8Array(noise.buffer, noise.byteOffset + from - 3, length + 3);
        memory.copyIn(to, source, 3, 3 + length);
        expectSame(shared, expected, what);
      });
    });

    it('does so when the source is shared, too, as a borrowed message is', () => {
      const other = SharedMemory.allocate(SIZE);
      other.copyIn(0, noise, 0, SIZE);
      forAllCopies((length, from, to, what) => {
        shared.fill(FILL);
        expected.fill(FILL);
        noise.copy(expected, to, from, from + length);
        memory.copyIn(to, other.view(from, length), 0, length);
        expectSame(shared, expected, what);
      });
    });

    it('leaves the source alone', () => {
      const source = Buffer.from(noise);
      forAllCopies((length, from, to) => memory.copyIn(to, source, from, from + length));
      expectSame(source, noise, 'source');
    });
  });

  describe('copyOut()', () => {
    it('does what a plain copy does, and nothing outside of it, for every alignment', () => {
      memory.copyIn(0, noise, 0, SIZE);
      const target = Buffer.alloc(SIZE);
      forAllCopies((length, from, to, what) => {
        target.fill(FILL);
        expected.fill(FILL);
        noise.copy(expected, to, from, from + length);
        memory.copyOut(from, length, target, to);
        expectSame(target, expected, what);
      });
      expectSame(shared, noise, 'source');
    });

    it('does so when the target is itself a part of something', () => {
      memory.copyIn(0, noise, 0, SIZE);
      const target = Buffer.alloc(SIZE);
      forAllCopies((length, from, to, what) => {
        target.fill(FILL);
        expected.fill(FILL);
        noise.copy(expected, to, from, from + length);
        memory.copyOut(from, length, target.subarray(to - 5, to + length), 5);
        expectSame(target, expected, what);
      });
    });
  });

  it('copies in and out whatever the offsets and lengths', () => {
    const offset = fc.integer({ min: 0, max: 2000 });
    const length = fc.oneof(fc.nat(60), fc.nat(1200), fc.nat(100_000));
    fc.assert(
      fc.property(offset, offset, offset, length, (from, at, to, count) => {
        shared.fill(FILL);
        memory.copyIn(at, noise, from, from + count);
        const target = Buffer.alloc(to + count + GUARD, FILL);
        memory.copyOut(at, count, target, to);
        const wanted = Buffer.alloc(to + count + GUARD, FILL);
        noise.copy(wanted, to, from, from + count);
        expectSame(target, wanted, 'target');
        expect([at > 0 ? shared[at - 1] : FILL, shared[at + count]]).to.deep.equal([FILL, FILL]);
      }),
    );
  });

  describe('writeUtf8()', () => {
    it('writes what Buffer.from() makes of a string, and nothing outside of it', () => {
      const texts = [
        '',
        'plain',
        'Übergröße',
        '漢字',
        '🙂 and 🙃',
        'a'.repeat(10_000),
        'é'.repeat(40_000),
        '\ud800 alone',
      ];
      for (const text of texts) {
        for (const skew of skews) {
          const bytes = Buffer.from(text);
          expect(Buffer.byteLength(text)).to.equal(bytes.length);
          shared.fill(FILL);
          expected.fill(FILL);
          bytes.copy(expected, GUARD + skew);
          memory.writeUtf8(GUARD + skew, text, bytes.length);
          expectSame(shared, expected, text.slice(0, 10));
        }
      }
    });

    it('does so for any string', () => {
      fc.assert(
        fc.property(fc.string({ unit: 'binary', maxLength: 60 }), fc.nat(7), (text, skew) => {
          const bytes = Buffer.from(text);
          shared.fill(FILL, 0, 500);
          memory.writeUtf8(GUARD + skew, text, bytes.length);
          const wanted = Buffer.alloc(500, FILL);
          bytes.copy(wanted, GUARD + skew);
          expectSame(shared.subarray(0, 500), wanted, JSON.stringify(text));
        }),
      );
    });

    it('writes no more than the length that it is given', () => {
      shared.fill(FILL, 0, 100);
      memory.writeUtf8(GUARD, 'abcdef', 3);
      expect(shared.toString('latin1', GUARD, GUARD + 4)).to.equal('abc\xa5');
    });
  });

  describe('writeFrameHeader() and readU32()', () => {
    it('write and read little-endian at any offset, and nothing outside of it', () => {
      for (const skew of skews) {
        for (const length of [0, 2, 0x01020304, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
          shared.fill(FILL, 0, 64);
          memory.writeFrameHeader(GUARD + skew, length, 7, 0x81);
          const wanted = Buffer.alloc(64, FILL);
          wanted.writeUInt32LE(length, GUARD + skew);
          wanted[GUARD + skew + 4] = 7;
          wanted[GUARD + skew + 5] = 0x81;
          expectSame(shared.subarray(0, 64), wanted, String(length));
          expect(memory.readU32(GUARD + skew)).to.equal(length);
          expect(readU32(wanted, GUARD + skew)).to.equal(length);
        }
      }
    });
  });

  describe('words', () => {
    it('change atomically and answer with the value from before', () => {
      const words = SharedMemory.allocate(64);
      words.store(3, 5);
      expect(words.add(3, -7)).to.equal(5);
      expect(words.load(3)).to.equal(-2);
      expect(words.exchange(3, 0b1100)).to.equal(-2);
      expect(words.or(3, 0b0011)).to.equal(0b1100);
      expect(words.and(3, 0b0110)).to.equal(0b1111);
      expect(words.load(3)).to.equal(0b0110);
      words.write(4, -1);
      expect([words.read(3), words.read(4), words.read(5)]).to.deep.equal([0b0110, -1, 0]);
      expect(words.readU32(16)).to.equal(2 ** 32 - 1);
    });

    it('are seen by everyone who has the same buffer', () => {
      const one = SharedMemory.allocate(64);
      const other = new SharedMemory(one.buffer);
      one.store(1, 77);
      expect(other.load(1)).to.equal(77);
      expect(other.byteLength).to.equal(64);
    });
  });

  it('shows the shared bytes themselves in a view', () => {
    const view = memory.view(GUARD, 4);
    memory.writeUtf8(GUARD, 'abcd', 4);
    expect(view.toString()).to.equal('abcd');
    view[0] = 0x7a;
    expect(memory.readU32(GUARD)).to.equal(Buffer.from('zbcd').readUInt32LE(0));
  });
});
