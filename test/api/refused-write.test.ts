import { once } from 'node:events';
import net from 'node:net';
import { expect } from 'chai';
import { Reactor, type TcpConnection } from '../../src/index.js';
import { closed } from '../fixtures/events.js';

/** A connection whose peer has reset it while the io worker had paused the socket: it finds out when it writes. */
async function resetInSecret(reactor: Reactor): Promise<TcpConnection> {
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  const accepted = once(server, 'connection') as Promise<[TcpConnection]>;
  const peer = net.connect(server.address.port, '127.0.0.1').resume();
  const [connection] = await accepted;
  connection.pause();
  await connection.flush();
  const gone = once(peer, 'close');
  peer.resetAndDestroy();
  await gone;
  return connection;
}

describe('a write that the kernel refuses at once', () => {
  it('is not counted as sent', async () => {
    await using reactor = await Reactor.spawn();
    const connection = await resetInSecret(reactor);
    const greeting = connection.bytesSent;
    const end = closed(connection);
    connection.send(Buffer.alloc(200_000));
    connection.destroy();
    const { detail } = await end;
    expect([detail.unsentBytes, connection.bytesSent]).to.deep.equal([200_006, greeting]);
  });

  it('does not resolve flush()', async () => {
    await using reactor = await Reactor.spawn();
    const connection = await resetInSecret(reactor);
    const end = closed(connection);
    connection.send('hello');
    const [flushed] = await Promise.allSettled([connection.flush()]);
    expect(flushed?.status).to.equal('rejected');
    connection.resume();
    const { reason, detail } = await end;
    expect([reason, detail.unsentBytes]).to.deep.equal(['peer-reset', 11]);
  });
});
