import { expect } from 'chai';
import { type BatchOwner, MessageBatch } from '../../src/io-worker/message-batch.js';
import { frameKind } from '../../src/shared/frame-format.js';
import { READ_BUFFER_BYTES } from '../../src/shared/lane.js';

/** Writes down what comes its way. */
class Taker implements BatchOwner {
  readonly taken: string[] = [];

  onBatch(bytes: Buffer, end: number, count: number): void {
    this.taken.push(`${count}: ${bytes.toString('hex', 0, end)}`);
  }
}

describe('MessageBatch', () => {
  let batch: MessageBatch;
  let one: Taker;
  let other: Taker;

  function add(owner: Taker, text: string): void {
    const bytes = Buffer.from(`<${text}>`);
    batch.add(owner, frameKind.DATA, bytes, 1, bytes.length - 1);
  }

  beforeEach(() => {
    batch = new MessageBatch();
    one = new Taker();
    other = new Taker();
  });

  it('makes frames of messages, and one record of them', () => {
    add(one, 'ab');
    add(one, '');
    add(one, 'c');
    expect(one.taken).to.deep.equal([]);
    batch.flush();
    expect(one.taken).to.deep.equal([
      '3: 04000000 0000 6162 02000000 0000 03000000 0000 63'.replaceAll(/(?<!:) /g, ''),
    ]);
  });

  it('copies messages of any length unchanged', () => {
    for (const length of [0, 1, 47, 48, 49, 50, 4096]) {
      const bytes = Buffer.from(Uint8Array.from({ length }, (_, i) => i * 7));
      batch.add(one, frameKind.DATA, bytes, 0, length);
      batch.flush();
      expect(one.taken.pop()?.slice('1: '.length + 12)).to.equal(bytes.toString('hex'));
    }
  });

  it('is empty after it was flushed', () => {
    add(one, 'a');
    batch.flush();
    batch.flush();
    expect(one.taken).to.have.length(1);
    add(one, 'b');
    batch.flush();
    expect(one.taken[1]).to.equal('1: 03000000000062');
  });

  it('sends what is in it on its way before another connection puts something there', () => {
    add(one, 'a');
    add(one, 'b');
    add(other, 'c');
    expect(one.taken).to.deep.equal(['2: 0300000000006103000000000062']);
    batch.flush();
    expect(other.taken).to.deep.equal(['1: 03000000000063']);
    expect(one.taken).to.have.length(1);
  });

  it('can be added to by who takes it', () => {
    const eager: BatchOwner = {
      onBatch(bytes, end, count) {
        one.onBatch(bytes, end, count);
        if (one.taken.length === 1) add(other, 'x');
      },
    };
    batch.add(eager, frameKind.DATA, Buffer.from('a'), 0, 1);
    batch.flush();
    batch.flush();
    expect(one.taken).to.deep.equal(['1: 03000000000061']);
    expect(other.taken).to.deep.equal(['1: 03000000000078']);
  });

  it('is sent on its way when the next message has no room', () => {
    const half = Buffer.alloc(READ_BUFFER_BYTES / 2);
    expect(batch.hasRoomFor(half.length)).to.equal(true);
    batch.add(one, frameKind.DATA, half, 0, half.length);
    expect(batch.hasRoomFor(half.length)).to.equal(false);
    batch.add(one, frameKind.DATA, half, 0, half.length);
    expect(one.taken).to.have.length(1);
    batch.flush();
    expect(one.taken).to.have.length(2);
  });

  it('makes a frame that goes on its way alone, behind what is in it', () => {
    add(one, 'a');
    const frame = batch.frameOf(frameKind.RESPONSE, Buffer.from('<xy>'), 1, 3);
    expect(one.taken).to.deep.equal(['1: 03000000000061']);
    expect(frame.toString('hex')).to.equal(`04000000${frameKind.RESPONSE.toString(16).padStart(2, '0')}007879`);
    batch.flush();
    expect(one.taken).to.have.length(1);
  });
});
