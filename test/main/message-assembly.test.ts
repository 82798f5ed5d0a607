import { expect } from 'chai';
import fc from 'fast-check';
import { MessageAssembly } from '../../src/main/message-assembly.js';

const KIB = 1024;
const MIB = 1024 * KIB;

const noise = Buffer.alloc(2 * MIB);
for (let i = 0; i < noise.length; i++) noise[i] = (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 0xff;

describe('MessageAssembly', () => {
  it('returns the message with its last piece, and undefined before', () => {
    const assembly = new MessageAssembly(6);
    expect(assembly.add(Buffer.from('ab'))).to.equal(undefined);
    expect(assembly.add(Buffer.from('c'))).to.equal(undefined);
    expect(assembly.add(Buffer.from('def'))?.toString()).to.equal('abcdef');
  });

  it('takes a message that comes in one piece, or is empty', () => {
    expect(new MessageAssembly(3).add(Buffer.from('abc'))?.toString()).to.equal('abc');
    expect(new MessageAssembly(0).add(Buffer.alloc(0))?.length).to.equal(0);
  });

  it('passes over empty pieces', () => {
    const assembly = new MessageAssembly(2);
    expect(assembly.add(Buffer.alloc(0))).to.equal(undefined);
    expect(assembly.add(Buffer.from('a'))).to.equal(undefined);
    expect(assembly.add(Buffer.alloc(0))).to.equal(undefined);
    expect(assembly.add(Buffer.from('b'))?.toString()).to.equal('ab');
  });

  it('copies the pieces: they are views of the ring', () => {
    const assembly = new MessageAssembly(4);
    const piece = Buffer.from('ab');
    assembly.add(piece);
    piece.fill(0xff);
    const last = Buffer.from('cd');
    const message = assembly.add(last);
    last.fill(0xff);
    expect(message?.toString()).to.equal('abcd');
  });

  it('refuses more than was announced', () => {
    const assembly = new MessageAssembly(4);
    assembly.add(Buffer.from('abc'));
    expect(() => assembly.add(Buffer.from('de'))).to.throw(RangeError);
  });

  it('uses the memory of a beginning again, and never that of a message', () => {
    const messages: Buffer[] = [];
    for (const length of [300 * KIB, 2 * MIB, 257 * KIB, 256 * KIB, 5 * MIB, 300 * KIB]) {
      const assembly = new MessageAssembly(length);
      let message: Buffer | undefined;
      for (let at = 0; at < length; at += 60 * KIB) {
        message = assembly.add(Buffer.alloc(Math.min(60 * KIB, length - at), messages.length + 1));
      }
      expect(message?.length).to.equal(length);
      messages.push(message as Buffer);
    }
    expect(new Set(messages.map(({ buffer }) => buffer)).size).to.equal(messages.length);
    for (const [index, message] of messages.entries()) {
      expect(message.equals(Buffer.alloc(message.length, index + 1))).to.equal(true);
    }
  });

  it('puts together whatever comes in whatever pieces, in memory of exactly that length', () => {
    const length = fc.oneof(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 200 * KIB, max: 2 * MIB }));
    const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 30 });
    fc.assert(
      fc.property(length, cuts, (total, places) => {
        const ends = [...places.map((place) => Math.floor(place * (total - 1))).sort((a, b) => a - b), total];
        const assembly = new MessageAssembly(total);
        let start = 0;
        for (const end of ends) {
          const message = assembly.add(noise.subarray(start, end));
          start = end;
          if (end < total) expect(message).to.equal(undefined);
          else {
            expect(message?.length).to.equal(total);
            expect(message?.buffer.byteLength).to.equal(total);
            expect(Buffer.compare(message ?? noise, noise.subarray(0, total))).to.equal(0);
          }
        }
      }),
    );
  });

  it('allocates little for a peer that announces much and sends little', () => {
    const before = process.memoryUsage().arrayBuffers;
    const assemblies = Array.from({ length: 20 }, () => new MessageAssembly(1024 * MIB));
    for (const assembly of assemblies) assembly.add(noise.subarray(0, 100));
    expect((process.memoryUsage().arrayBuffers - before) / assemblies.length).to.be.lessThan(300 * KIB);
  });

  it('allocates at most four times what has come', () => {
    // Counted as it is allocated: the blocks that were outgrown may or may not have been collected.
    const allocate = Buffer.allocUnsafeSlow;
    const blocks: number[] = [];
    Buffer.allocUnsafeSlow = (size) => {
      blocks.push(size);
      return allocate(size);
    };
    try {
      const assembly = new MessageAssembly(1024 * MIB);
      let have = 0;
      for (let i = 0; i < 300; i++) {
        assembly.add(noise.subarray(0, 64 * KIB));
        have += 64 * KIB;
        expect(blocks.at(-1)).to.be.within(have, Math.max(4 * have, 256 * KIB));
      }
      expect(blocks.length, 'grows by factors, or copying would take a quadratic time').to.be.lessThan(6);
    } finally {
      Buffer.allocUnsafeSlow = allocate;
    }
  });
});
