import { once } from 'node:events';
import { expect } from 'chai';
import { type ListenOptions, Reactor, type TcpConnection } from '../../src/index.js';
import { PeerProcess } from '../fixtures/peer-process.js';

const MIB = 1024 * 1024;

/** Sends `bytes` to a peer that never reads, in messages of 64 KiB, whatever send() answers. */
export async function sendToDeafPeer(bytes: number, overflow: 'close' | 'drop'): Promise<void> {
  await using reactor = await Reactor.spawn();
  const options: ListenOptions = { host: '127.0.0.1', port: 0, overflow };
  const server = await reactor.listen(options);
  await using deaf = new PeerProcess('deaf-peer', [String(server.address.port)]);
  const [connection] = (await once(server, 'connection')) as [TcpConnection];
  await deaf.next();

  const other = await reactor.connect({ host: '127.0.0.1', port: server.address.port });
  server.on('message', (from, data) => from.send(data));
  const echo = async (text: string): Promise<void> => {
    const answer = once(other, 'message');
    other.send(text);
    expect(String((await answer)[0])).to.equal(text);
  };
  await echo('before');

  const closed = once(connection, 'close');
  const message = Buffer.alloc(64 * 1024, 1);
  const before = process.memoryUsage.rss();
  let peak = before;
  let accepted = 0;
  let belowHighWater = 0;
  for (let sent = 0; sent < bytes; sent += message.length) {
    const buffered = connection.bufferedAmount;
    const open = connection.state === 'open';
    const answer = connection.send(message);
    if (answer) expect(connection.bufferedAmount).to.be.at.most(MIB);
    else if (open) expect(buffered + message.length).to.be.above(MIB - message.length);
    if (answer) belowHighWater++;
    if (connection.bufferedAmount > buffered) accepted++;
    if (sent % (16 * MIB) === 0) {
      peak = Math.max(peak, process.memoryUsage.rss());
      await echo(`after ${sent} bytes`);
    }
  }
  expect(belowHighWater).to.be.above(0);
  expect(accepted).to.be.above(0);
  expect(peak - before, 'bytes that the process has grown by').to.be.below(64 * MIB);
  if (overflow === 'close') {
    const [reason, detail] = (await closed) as [string, { unsentBytes: number }];
    expect(reason).to.equal('backpressure');
    // Between the decision and the close, the kernel may still take as much as its buffers grow to.
    expect(detail.unsentBytes).to.be.within(8 * MIB, 17 * MIB);
  } else {
    expect(connection.state).to.equal('open');
    expect(connection.droppedMessages).to.be.above(0);
    expect(connection.bufferedAmount).to.be.within(15 * MIB, 16 * MIB);
  }
  await echo('after');
}
