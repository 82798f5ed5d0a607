import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { frame } from '../fixtures/raw-peer.js';
import { HOST, scene } from '../fixtures/scene.js';

/** A peer in a thread of its own: sends what it is told to, and says in shared memory how many bytes have come. */
const PEER = `
  const net = require('node:net');
  const { workerData } = require('node:worker_threads');
  const { host, port, bytes, received } = workerData;
  const socket = net.connect({ host, port }, () => socket.write(bytes));
  socket.on('error', () => undefined);
  socket.on('data', (data) => {
    Atomics.add(received, 0, data.length);
    Atomics.notify(received, 0);
  });
`;

const WAIT_MS = 5000;

describe('a handler that sends and does not return', () => {
  const stage = scene();

  for (const [name, before] of [
    ['with its first message', 0],
    ['behind others that it has answered in the same turn', 5],
    ['behind more of them than the clock is looked at for', 100],
  ] as const) {
    it(`does not hold up what it has sent: ${name}`, async () => {
      const received = new Int32Array(new SharedArrayBuffer(4));
      const server = await stage.listen();
      const blocked = new Promise<boolean>((resolve) => {
        let count = 0;
        server.on('message', (connection, data) => {
          connection.send(data);
          if (count++ < before) return;
          // The hello, and the answers up to this one.
          const expected = frame(Buffer.alloc(16), 3).length + (before + 1) * frame(data).length;
          const until = performance.now() + WAIT_MS;
          for (let now = performance.now(); now < until; now = performance.now()) {
            const sofar = Atomics.load(received, 0);
            if (sofar >= expected) break;
            Atomics.wait(received, 0, sofar, until - now);
          }
          resolve(Atomics.load(received, 0) >= expected);
        });
      });
      const frames = Array.from({ length: before + 1 }, () => frame('question'));
      const workerData = { host: HOST, port: server.address.port, bytes: Buffer.concat(frames), received };
      const peer = new Worker(PEER, { eval: true, workerData });
      stage.defer(() => peer.terminate());
      await once(peer, 'online');
      expect(await blocked, 'the answer came while the handler was blocked').to.equal(true);
    });
  }
});
