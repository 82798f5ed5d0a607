import { expect } from 'chai';
import type { Chunk } from '../../src/io-worker/chunk-pool.js';
import { ChunkPool } from '../../src/io-worker/chunk-pool.js';
import { ConnectionOutput } from '../../src/io-worker/connection-output.js';
import type { SocketStream } from '../../src/io-worker/socket-stream.js';

describe('ConnectionOutput', () => {
  /** A write of the application's, a pong, and the application's again, of which the kernel takes so much before the end. */
  function settledAt(taken: number): { readonly bytes: number; readonly own: number } {
    let pendingBytes = 0;
    const socket = {
      get pendingBytes() {
        return pendingBytes;
      },
      write(chunks: readonly Chunk[]) {
        pendingBytes = chunks.reduce((sum, { start, end }) => sum + end - start, 0) - taken;
        return false;
      },
    };
    let sent = { bytes: 0, own: 0 };
    const output = new ConnectionOutput(socket as unknown as SocketStream, new ChunkPool(), {
      onOutput: () => undefined,
      onSent: (bytes, own) => {
        sent = { bytes, own };
      },
      onFlushed: () => undefined,
    });
    output.appendOwned(Buffer.alloc(100));
    output.appendOwn(Buffer.alloc(10));
    output.appendOwned(Buffer.alloc(100));
    output.flush();
    output.settle();
    expect(output.unwritten).to.equal(200 - (sent.bytes - sent.own));
    return sent;
  }

  it('knows of a write that was cut whose bytes the kernel has', () => {
    expect(settledAt(0)).to.deep.equal({ bytes: 0, own: 0 });
    expect(settledAt(60)).to.deep.equal({ bytes: 60, own: 0 });
    expect(settledAt(100)).to.deep.equal({ bytes: 100, own: 0 });
    expect(settledAt(104)).to.deep.equal({ bytes: 104, own: 4 });
    expect(settledAt(150)).to.deep.equal({ bytes: 150, own: 10 });
    expect(settledAt(210)).to.deep.equal({ bytes: 210, own: 10 });
  });
});
