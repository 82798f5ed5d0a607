import v8 from 'node:v8';
import vm from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { InboundQueue } from '../../src/main/inbound-queue.js';

const KIB = 1024;

function queueOf(...lengths: number[]): InboundQueue {
  const queue = new InboundQueue();
  for (const length of lengths) queue.push(Buffer.alloc(length));
  return queue;
}

describe('InboundQueue', () => {
  it('is empty at first, and not full', () => {
    const queue = new InboundQueue();
    expect([queue.isEmpty, queue.isFull, queue.shift()]).to.deep.equal([true, false, undefined]);
  });

  it('gives messages back in the order in which they came', () => {
    const queue = new InboundQueue();
    const messages = ['a', '', 'b', 'a'].map((text) => Buffer.from(text));
    for (const message of messages) queue.push(message);
    for (const message of messages) {
      expect(queue.isEmpty).to.equal(false);
      expect(queue.shift()).to.equal(message);
    }
    expect([queue.isEmpty, queue.shift()]).to.deep.equal([true, undefined]);
  });

  it('is full when more than 256 KiB wait', () => {
    const queue = queueOf(256 * KIB - 1, 1);
    expect(queue.isFull).to.equal(false);
    queue.push(Buffer.alloc(1));
    expect(queue.isFull).to.equal(true);
  });

  it('stays full until no more than 64 KiB wait', () => {
    const queue = queueOf(150 * KIB, 50 * KIB, 1, 64 * KIB);
    expect(queue.isFull).to.equal(true);
    queue.shift();
    expect(queue.isFull).to.equal(true);
    queue.shift();
    expect(queue.isFull, 'one byte too many').to.equal(true);
    queue.shift();
    expect(queue.isFull).to.equal(false);
  });

  it('is not full again before more than 256 KiB wait again', () => {
    const queue = queueOf(200 * KIB, 100 * KIB);
    queue.shift();
    queue.shift();
    queue.push(Buffer.alloc(256 * KIB));
    expect(queue.isFull).to.equal(false);
    queue.push(Buffer.alloc(1));
    expect(queue.isFull).to.equal(true);
  });

  it('is full with one message that is longer than the limit, and not when it has been taken', () => {
    const queue = queueOf(1000 * KIB);
    expect(queue.isFull).to.equal(true);
    queue.shift();
    expect([queue.isFull, queue.isEmpty]).to.deep.equal([false, true]);
  });

  it('is empty and not full after clear(), which tells how many it dropped, and can be used again', () => {
    const queue = queueOf(200 * KIB, 200 * KIB, 5);
    queue.shift();
    expect(queue.clear()).to.equal(2);
    expect(queue.clear()).to.equal(0);
    expect([queue.isEmpty, queue.isFull]).to.deep.equal([true, false]);
    queue.push(Buffer.alloc(256 * KIB));
    expect(queue.isFull).to.equal(false);
    queue.push(Buffer.from('b'));
    expect(queue.isFull).to.equal(true);
    queue.shift();
    expect(queue.shift()?.toString()).to.equal('b');
  });

  it('is full some time, too, when all messages are empty: they cost memory all the same', () => {
    const queue = new InboundQueue();
    const empty = Buffer.alloc(0);
    for (let i = 0; i < 512 * KIB && !queue.isFull; i++) queue.push(empty);
    expect(queue.isFull).to.equal(true);
  });

  it('lets go of a message when it is taken, also while others wait', async () => {
    v8.setFlagsFromString('--expose-gc');
    const collectGarbage = vm.runInNewContext('gc') as () => void;
    const queue = new InboundQueue();
    const taken = Array.from({ length: 100 }, () => {
      const message = Buffer.alloc(1000);
      queue.push(message);
      return new WeakRef(message);
    });
    queue.push(Buffer.from('still waiting'));
    for (let i = 0; i < 100; i++) queue.shift();
    // A WeakRef keeps its target until the current job has ended.
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    expect(taken.filter((message) => message.deref() !== undefined)).to.have.length(0);
    expect(queue.shift()?.toString()).to.equal('still waiting');
  });

  it('behaves like an array, however many messages come and go', () => {
    // A number pushes a message of that length, a negative one takes that many.
    const step = fc.oneof(
      fc.nat(100),
      fc.nat(200 * KIB),
      fc.integer({ min: -5, max: -1 }),
      fc.integer({ min: -1500, max: -1000 }),
    );
    const memory = Buffer.alloc(200 * KIB);
    fc.assert(
      fc.property(fc.array(fc.tuple(step, fc.constantFrom(1, 1, 1, 700)), { maxLength: 50 }), (plan) => {
        const queue = new InboundQueue();
        const model: Buffer[] = [];
        let bytes = 0;
        let full = false;
        for (const [value, times] of plan) {
          for (let i = 0; i < times && value >= 0; i++) {
            // Long messages come one at a time.
            const message = memory.subarray(0, times > 1 ? value % 100 : value);
            queue.push(message);
            model.push(message);
            bytes += message.length;
          }
          if (bytes > 256 * KIB) full = true;
          for (let i = 0; i > value; i--) {
            const message = model.shift();
            if (queue.shift() !== message) expect.fail('another message than in the array');
            bytes -= message?.length ?? 0;
            if (bytes <= 64 * KIB) full = false;
          }
          expect([queue.isEmpty, queue.isFull]).to.deep.equal([model.length === 0, full]);
        }
        while (model.length > 0) if (queue.shift() !== model.shift()) expect.fail('another message than in the array');
        expect([queue.isEmpty, queue.isFull]).to.deep.equal([true, false]);
      }),
    );
  });
});
