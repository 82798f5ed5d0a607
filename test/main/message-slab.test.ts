import { expect } from 'chai';
import fc from 'fast-check';
import { MessageSlab } from '../../src/main/message-slab.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const KIB = 1024;
const SLAB = 256 * KIB;

const memory = SharedMemory.allocate(1024 * KIB);
const shared = memory.view(0, memory.byteLength);
for (let i = 0; i < shared.length; i++) shared[i] = (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 0xff;

describe('MessageSlab', () => {
  it('copies, so that the message stays when the ring is overwritten', () => {
    const ring = SharedMemory.allocate(64);
    ring.writeUtf8(8, 'hello', 5);
    const message = new MessageSlab().copy(ring, 8, 5);
    ring.writeUtf8(8, 'later', 5);
    expect(message.toString()).to.equal('hello');
  });

  it('keeps messages apart', () => {
    const slab = new MessageSlab();
    const first = slab.copy(memory, 16, 10);
    const second = slab.copy(memory, 26, 10);
    const third = slab.copy(memory, 40, 0);
    second.fill(0xff);
    expect(first).to.deep.equal(Buffer.from(memory.view(16, 10)));
    expect(third.length).to.equal(0);
  });

  it('carves short messages out of one block', () => {
    const slab = new MessageSlab();
    const blocks = new Set(Array.from({ length: 1000 }, (_, i) => slab.copy(memory, i * 16, 100).buffer));
    expect(blocks.size).to.equal(1);
    expect([...blocks][0]?.byteLength).to.equal(SLAB);
  });

  it('begins a new block when the old one is full, and lets no message grow over the end', () => {
    const slab = new MessageSlab();
    const messages = Array.from({ length: 600 }, (_, i) => ({ offset: i * 8, copy: slab.copy(memory, i * 8, 1000) }));
    expect(new Set(messages.map(({ copy }) => copy.buffer)).size).to.equal(Math.ceil((600 * 1000) / SLAB));
    for (const { offset, copy } of messages) {
      expect(Buffer.compare(copy, memory.view(offset, 1000))).to.equal(0);
    }
  });

  it('fills a block to its last byte', () => {
    const slab = new MessageSlab();
    const first = slab.copy(memory, 0, SLAB - 8);
    const last = slab.copy(memory, 16, 8);
    const next = slab.copy(memory, 24, 1);
    expect(last.buffer).to.equal(first.buffer);
    expect(next.buffer).to.not.equal(first.buffer);
    expect(Buffer.compare(last, memory.view(16, 8))).to.equal(0);
  });

  it('begins a new block when a message does not fit only because of where it must start', () => {
    const slab = new MessageSlab();
    const first = slab.copy(memory, 0, SLAB - 100);
    // 100 bytes are left, and two of them must be passed over.
    const last = slab.copy(memory, 6, 99);
    expect(last.buffer === first.buffer).to.equal(false);
    expect(Buffer.compare(last, memory.view(6, 99))).to.equal(0);
  });

  it('gives a long message that does not fit memory of its own, and goes on with the block', () => {
    const slab = new MessageSlab();
    const short = slab.copy(memory, 0, 200 * KIB);
    const long = slab.copy(memory, 3, 100 * KIB);
    const after = slab.copy(memory, 0, 50 * KIB);
    expect(long.buffer.byteLength).to.equal(100 * KIB);
    expect(after.buffer).to.equal(short.buffer);
    expect(Buffer.compare(long, memory.view(3, 100 * KIB))).to.equal(0);
  });

  it('copies a message that is longer than a block', () => {
    const long = new MessageSlab().copy(memory, 5, 700 * KIB);
    expect(Buffer.compare(long, memory.view(5, 700 * KIB))).to.equal(0);
  });

  it('places messages in a block like their source lies modulo 8, so that the copy is a fast one', () => {
    const slab = new MessageSlab();
    for (let i = 0; i < 200; i++) expect(slab.copy(memory, i * 13, i).byteOffset % 8).to.equal((i * 13) % 8);
  });

  it('gives back what lay in the ring, and changes no message that it has given out', () => {
    const length = fc.oneof(fc.nat(20), fc.nat(3000), fc.nat(70 * KIB), fc.nat(400 * KIB));
    const copies = fc.array(fc.tuple(fc.nat(100 * KIB), length), { maxLength: 40 });
    fc.assert(
      fc.property(copies, (plan) => {
        const slab = new MessageSlab();
        const given = plan.map(([offset, count]) => ({ offset, count, copy: slab.copy(memory, offset, count) }));
        for (const { offset, count, copy } of given) {
          expect(copy.length).to.equal(count);
          expect(Buffer.compare(copy, memory.view(offset, count)), `${count} bytes at ${offset}`).to.equal(0);
        }
      }),
    );
  });
});
