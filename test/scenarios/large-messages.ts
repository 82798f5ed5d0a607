import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { expect } from 'chai';
import { type ConnectionOptions, Reactor } from '../../src/index.js';

const MIB = 1024 * 1024;

/** Noise that is the same each time, and that LZ4 can make something of. */
function noise(bytes: number, seed: number): Buffer {
  const block = Buffer.alloc(Math.min(bytes, 64 * 1024));
  let state = seed | 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
    block[i] = (state >>> 16) & 0x3f;
  }
  return Buffer.alloc(bytes, block);
}

const sum = (data: Uint8Array): string => createHash('sha1').update(data).digest('hex');

/**
 * Messages of all sizes up to `maxBytes` go to a server and come back, each beside a small one that must not be mixed up with it. A
 * peer that announces the largest one and sends little costs nothing.
 */
export async function echoLargeMessages(maxBytes: number, options: ConnectionOptions): Promise<void> {
  await using reactor = await Reactor.spawn();
  // Twice the longest message may wait.
  const settings = { ...options, limits: { maxFrameBytes: maxBytes + 1024 }, highWaterMark: 32 * MIB };
  const server = await reactor.listen({ ...settings, host: '127.0.0.1', port: 0 });
  server.on('message', (connection, data) => connection.send(data));
  const connection = await reactor.connect({ ...settings, host: '127.0.0.1', port: server.address.port });
  const messages = connection[Symbol.asyncIterator]();
  for (let bytes = 1024; bytes <= maxBytes; bytes *= 4) {
    for (const seed of [bytes, bytes + 2]) {
      const data = noise(bytes, seed);
      connection.send(data);
      connection.send('small');
      for (const expected of [data, Buffer.from('small')]) {
        const { value, done } = await messages.next();
        expect(done, 'the connection is open').to.equal(false);
        expect(sum(value as Buffer), `${bytes} bytes`).to.equal(sum(expected));
      }
    }
  }
  connection.shutdown();
  await once(connection, 'close');
}
