import { once } from 'node:events';
import { expect } from 'chai';
import { Reactor } from '../../src/index.js';
import { PeerProcess } from '../fixtures/peer-process.js';

const MIB = 1024 * 1024;

/** Blocks this thread while peers keep sending, and checks what comes of it. */
export async function blockApplication(options: { ms: number; peers: number; bytes: number }): Promise<void> {
  await using reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  const received = new Map<number, number>();
  let closed = 0;
  const allClosed = new Promise<void>((resolve) => {
    server.on('disconnect', (connection, reason) => {
      expect(reason).to.equal('peer-end');
      expect(received.has(connection.id)).to.equal(true);
      if (++closed === options.peers) resolve();
    });
  });
  server.on('message', (connection, data) => {
    const expected = received.get(connection.id) ?? 0;
    if (data.readUInt32LE(0) !== expected) throw new Error(`${data.readUInt32LE(0)} came, ${expected} was next`);
    if (data.length !== options.bytes || data[data.length - 1] !== (expected & 0xff)) throw new Error('torn message');
    received.set(connection.id, expected + 1);
  });

  const { port } = server.address;
  await using peers = new PeerProcess('flooding-peers', [port, options.peers, options.bytes].map(String));
  while (server.connectionCount < options.peers) await once(server, 'connection');
  await once(server, 'message');

  const before = process.memoryUsage.rss();
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, options.ms);
  const grown = process.memoryUsage.rss() - before;
  expect(server.connectionCount).to.equal(options.peers);

  peers.tell('stop');
  const counts = await peers.next<{ sent: number; closed: boolean }[]>();
  await allClosed;
  expect(counts.filter((peer) => peer.closed)).to.deep.equal([]);
  const sent = counts.map((peer) => peer.sent).sort((a, b) => a - b);
  expect([...received.values()].sort((a, b) => a - b)).to.deep.equal(sent);
  expect(grown, 'bytes that the process has grown by while it was blocked').to.be.below(64 * MIB);
}
