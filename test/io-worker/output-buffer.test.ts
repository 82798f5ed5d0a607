import v8 from 'node:v8';
import vm from 'node:vm';
import { expect } from 'chai';
import fc from 'fast-check';
import { type Chunk, ChunkPool } from '../../src/io-worker/chunk-pool.js';
import { OutputBuffer } from '../../src/io-worker/output-buffer.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const LARGEST_CHUNK = 64 * KIB;

const memory = SharedMemory.allocate(MIB);

/** Bytes that differ from one call to the next. */
let seed = 0;
function freshBytes(length: number): Buffer {
  seed++;
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8) * 7 + seed * 97) & 0xff;
  return bytes;
}

/** As a command in the ring: what lies there is overwritten as soon as it has been appended. */
function append(output: OutputBuffer, bytes: Buffer, offset = 0): void {
  memory.copyIn(offset, bytes, 0, bytes.length);
  output.append(memory, offset, bytes.length);
  memory.view(offset, bytes.length).fill(0xee);
}

function content(chunks: readonly Chunk[]): Buffer {
  return Buffer.concat(chunks.map(({ buffer, start, end }) => buffer.subarray(start, end)));
}

/** Equal, without chai's comparison of large buffers element by element. */
function expectBytes(actual: Buffer, expected: Buffer): void {
  expect(actual.length).to.equal(expected.length);
  expect(Buffer.compare(actual, expected), 'the bytes differ').to.equal(0);
}

describe('OutputBuffer', () => {
  it('hands out nothing when nothing was appended', () => {
    const output = new OutputBuffer(new ChunkPool());
    expect(output.bytes).to.equal(0);
    expect(output.take(100)).to.deep.equal([]);
  });

  it('hands out what was appended, in order, and then nothing more', () => {
    const output = new OutputBuffer(new ChunkPool());
    append(output, Buffer.from('one '));
    output.appendOwned(Buffer.from('two '));
    append(output, Buffer.from('three'));
    expect(output.bytes).to.equal(13);
    expect(content(output.take(1000)).toString()).to.equal('one two three');
    expect(output.bytes).to.equal(0);
    expect(output.take(1000)).to.deep.equal([]);
  });

  it('copies what it appends: many small pieces share a chunk', () => {
    const output = new OutputBuffer(new ChunkPool());
    for (let i = 0; i < 100; i++) append(output, Buffer.from('0123456789'));
    const chunks = output.take(10_000);
    expect(chunks).to.have.length(1);
    expectBytes(content(chunks), Buffer.from('0123456789'.repeat(100)));
  });

  it('copies short pieces that others have, too, and shares long ones', () => {
    const output = new OutputBuffer(new ChunkPool());
    const [short, long] = [freshBytes(100), freshBytes(4 * KIB)];
    for (let i = 0; i < 300; i++) output.appendShared(short);
    output.appendShared(long);
    const chunks = output.take(MIB);
    expect(chunks.length).to.be.below(10);
    expect(chunks.at(-1)?.buffer).to.equal(long);
    expectBytes(content(chunks), Buffer.concat([...Array.from({ length: 300 }, () => short), long]));
  });

  it('hands out very many pieces in order, a few at a time', () => {
    const output = new OutputBuffer(new ChunkPool());
    const pieces = Array.from({ length: 5000 }, (_, i) => Buffer.from(`${i} `));
    for (const piece of pieces) output.appendOwned(piece);
    const taken: Buffer[] = [];
    while (output.bytes > 0) taken.push(content(output.take(1000)));
    expectBytes(Buffer.concat(taken), Buffer.concat(pieces));
  });

  it('does not hold on to what it has handed out while more waits', () => {
    v8.setFlagsFromString('--expose-gc');
    const collectGarbage = vm.runInNewContext('gc') as () => void;
    const output = new OutputBuffer(new ChunkPool());
    for (let i = 0; i < 101; i++) output.appendOwned(Buffer.alloc(256 * KIB));
    collectGarbage();
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 100; i++) output.take(256 * KIB);
    collectGarbage();
    collectGarbage();
    expect(output.bytes).to.equal(256 * KIB);
    expect((before - process.memoryUsage().arrayBuffers) / MIB).to.be.above(20);
  });

  it('does not copy what it is given to own', () => {
    const output = new OutputBuffer(new ChunkPool());
    const owned = freshBytes(300 * KIB);
    output.appendOwned(owned);
    const [first, ...none] = output.take(100 * KIB);
    const [second] = output.take(MIB);
    expect(none).to.deep.equal([]);
    expect([first?.buffer, first?.start, first?.end]).to.deep.equal([owned, 0, 100 * KIB]);
    expect([second?.buffer, second?.start, second?.end]).to.deep.equal([owned, 100 * KIB, 300 * KIB]);
    expect(second?.buffer).to.equal(owned);
  });

  it('hands out as much as is asked for, and not a whole chunk more', () => {
    const output = new OutputBuffer(new ChunkPool());
    for (let i = 0; i < 8; i++) append(output, freshBytes(100 * KIB));
    for (let left = 800 * KIB; left > 0; ) {
      const taken = content(output.take(256 * KIB)).length;
      expect(taken).to.be.within(Math.min(left, 256 * KIB), 256 * KIB + LARGEST_CHUNK - 1);
      left -= taken;
      expect(output.bytes).to.equal(left);
    }
  });

  it('starts a chunk like its source lies modulo 8, so that the copy is a fast one', () => {
    for (const length of [100, 4 * KIB, 5000, 16 * KIB, 64 * KIB, 200 * KIB]) {
      for (let offset = 0; offset < 8; offset++) {
        const output = new OutputBuffer(new ChunkPool());
        const bytes = freshBytes(length);
        append(output, bytes, 80 + offset);
        let position = offset;
        const chunks = output.take(MIB);
        for (const { start, end } of chunks) {
          expect(start % 8).to.equal(position % 8);
          position += end - start;
        }
        expectBytes(content(chunks), bytes);
      }
    }
  });

  it('takes the smallest chunk that is large enough', () => {
    const sizeFor = (length: number, offset = 0): number | undefined => {
      const output = new OutputBuffer(new ChunkPool());
      append(output, freshBytes(length), offset);
      return output.take(1)[0]?.buffer.length;
    };
    expect(sizeFor(1)).to.equal(4 * KIB);
    expect(sizeFor(4 * KIB)).to.equal(4 * KIB);
    expect(sizeFor(4 * KIB, 1)).to.equal(16 * KIB);
    expect(sizeFor(4 * KIB + 1)).to.equal(16 * KIB);
    expect(sizeFor(16 * KIB + 1)).to.equal(64 * KIB);
    expect(sizeFor(500 * KIB)).to.equal(64 * KIB);
  });

  it('uses released chunks again, in whichever connection', () => {
    const pool = new ChunkPool();
    const [first, second] = [new OutputBuffer(pool), new OutputBuffer(pool)];
    append(first, Buffer.from('first'));
    const taken = first.take(100);
    append(second, Buffer.from('second'));
    const inUse = second.take(100);
    expect(inUse[0]?.buffer).to.not.equal(taken[0]?.buffer);
    expect(content(taken).toString()).to.equal('first');

    first.release(taken);
    append(second, Buffer.from('third'), 3);
    const reused = second.take(100);
    expect(reused[0]?.buffer).to.equal(taken[0]?.buffer);
    expect(content(reused).toString()).to.equal('third');
    expect(content(inUse).toString()).to.equal('second');
  });

  it('never makes owned memory part of the pool', () => {
    const pool = new ChunkPool();
    const output = new OutputBuffer(pool);
    const owned = freshBytes(4 * KIB);
    output.appendOwned(owned);
    output.release(output.take(1000));
    output.clear();
    append(output, freshBytes(100));
    expect(output.take(1000)[0]?.buffer).to.not.equal(owned);
  });

  it('gives back on clear() what it has not handed out, and is empty then', () => {
    const output = new OutputBuffer(new ChunkPool());
    append(output, Buffer.from('gone'));
    output.appendOwned(Buffer.from('gone, too'));
    append(output, Buffer.from('gone'));
    output.clear();
    expect(output.bytes).to.equal(0);
    expect(output.take(100)).to.deep.equal([]);
    append(output, Buffer.from('new'));
    expect(content(output.take(100)).toString()).to.equal('new');
  });

  it('does not give back on clear() what is still being written', () => {
    for (const limit of [5, 100]) {
      const pool = new ChunkPool();
      const output = new OutputBuffer(pool);
      append(output, Buffer.from('being written'));
      const writing = output.take(limit);
      const written = content(writing).toString();
      append(output, Buffer.from('waiting'));
      output.clear();
      for (let i = 0; i < 3; i++) append(new OutputBuffer(pool), Buffer.from('something else'));
      expect(content(writing).toString()).to.equal(written);
      expect('being written'.startsWith(written)).to.equal(true);
    }
  });

  it('keeps at most 16 MiB of released chunks for reuse', () => {
    v8.setFlagsFromString('--expose-gc');
    const collectGarbage = vm.runInNewContext('gc') as () => void;
    const arrayBufferBytes = (): number => {
      collectGarbage();
      collectGarbage();
      return process.memoryUsage().arrayBuffers;
    };
    const before = arrayBufferBytes();
    const pool = new ChunkPool();
    for (const length of [4 * KIB, 16 * KIB, 64 * KIB]) {
      const outputs = Array.from({ length: (16 * MIB) / length }, () => new OutputBuffer(pool));
      for (const output of outputs) output.append(memory, 0, length);
      for (const output of outputs) output.clear();
    }
    expect((arrayBufferBytes() - before) / MIB).to.be.within(15, 16.5);
    const output = new OutputBuffer(pool);
    output.append(memory, 0, 1);
    expect(output.bytes).to.equal(1);
  });

  it('writes what a plain buffer would hold, and changes nothing that is being written', () => {
    const length = fc.oneof(
      fc.nat(50),
      fc.nat(3000),
      fc.constantFrom(4088, 4089, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_529, 65_535, 65_536, 65_537),
      fc.nat(200_000),
    );
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.record({ do: fc.constant('append' as const), length, offset: fc.nat(15) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('own' as const), length }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('take' as const), length }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('release' as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
    );
    /** Which of the connections that share a pool does what. */
    const steps = fc.array(fc.tuple(fc.nat(2), step), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (plan) => {
        const pool = new ChunkPool();
        const connections = Array.from({ length: 3 }, () => ({
          output: new OutputBuffer(pool),
          /** What is to be handed out. */
          model: Buffer.alloc(0),
          /** As a socket has it: one write at a time. */
          writing: undefined as { chunks: Chunk[]; bytes: Buffer } | undefined,
        }));
        for (const [index, action] of plan) {
          const connection = connections[index];
          if (connection === undefined) continue;
          const { output, writing } = connection;
          switch (action.do) {
            case 'append': {
              const bytes = freshBytes(action.length);
              append(output, bytes, action.offset);
              connection.model = Buffer.concat([connection.model, bytes]);
              break;
            }
            case 'own': {
              const bytes = freshBytes(action.length);
              output.appendOwned(bytes);
              connection.model = Buffer.concat([connection.model, bytes]);
              break;
            }
            case 'take': {
              if (writing !== undefined) break;
              const chunks = output.take(action.length);
              const bytes = content(chunks);
              expect(bytes.length).to.be.within(
                Math.min(action.length, connection.model.length),
                action.length + LARGEST_CHUNK,
              );
              expectBytes(bytes, connection.model.subarray(0, bytes.length));
              connection.model = connection.model.subarray(bytes.length);
              connection.writing = { chunks, bytes };
              break;
            }
            case 'release':
              if (writing !== undefined) output.release(writing.chunks);
              connection.writing = undefined;
              break;
            case 'clear':
              output.clear();
              connection.model = Buffer.alloc(0);
              break;
          }
          expect(output.bytes).to.equal(connection.model.length);
          for (const other of connections) {
            if (other.writing !== undefined) expectBytes(content(other.writing.chunks), other.writing.bytes);
          }
        }
        for (const { output, model } of connections) {
          expectBytes(content(output.take(Number.MAX_SAFE_INTEGER)), model);
          expect(output.bytes).to.equal(0);
        }
      }),
      { numRuns: 150 },
    );
  });
});
