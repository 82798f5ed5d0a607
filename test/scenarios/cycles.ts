import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { Reactor } from '../../src/index.js';

const MIB = 1024 * 1024;
const AT_ONCE = 50;

function openDescriptors(): number {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/**
 * Opens and closes connections, both ways round: plain peers to a server, and clients of the library.
 * @param warmUp cycles before the process's memory is looked at: V8 lets its heaps grow for a while before they are full
 */
export async function connectAndClose(cycles: number, warmUp: number): Promise<void> {
  // More cycles than slots: they must be used again.
  await using reactor = await Reactor.spawn({ maxConnections: 4 * AT_ONCE });
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  server.on('message', (connection, data) => connection.send(data));
  const { port } = server.address;

  const plain = async (): Promise<void> => {
    const socket = net.connect(port, '127.0.0.1');
    socket.resume();
    await once(socket, 'connect');
    socket.end();
    await once(socket, 'close');
  };
  const own = async (): Promise<void> => {
    const connection = await reactor.connect({ host: '127.0.0.1', port });
    const answer = once(connection, 'message');
    connection.send('hello');
    await answer;
    const closed = once(connection, 'close');
    connection.shutdown();
    await closed;
  };
  const run = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => (index % 2 === 0 ? plain() : own())));
    }
    while (reactor.stats().connections > 0) await nextTurn();
  };

  await run(warmUp);
  collectGarbage();
  const heap = process.memoryUsage().heapUsed;
  const before = process.memoryUsage.rss();
  const descriptors = openDescriptors();
  await run(cycles);
  expect(openDescriptors()).to.be.at.most(descriptors + 2);
  expect(server.connectionCount).to.equal(0);
  expect(reactor.stats().refused).to.equal(0);
  collectGarbage();
  expect(process.memoryUsage().heapUsed - heap, 'bytes that are reachable').to.be.below(2 * MIB);
  // Both threads, native memory included. A leak of 2 KiB a cycle would show.
  if (warmUp > cycles) expect(process.memoryUsage.rss() - before, 'bytes of the process').to.be.below(20 * MIB);
}
