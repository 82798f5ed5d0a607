import { once } from 'node:events';
import net from 'node:net';
import { expect } from 'chai';
import { Reactor, type TcpConnection } from '../../src/index.js';
import { closed } from '../fixtures/events.js';

describe('a write that the kernel refuses at once', () => {
  it('is not counted as sent', async () => {
    await using reactor = await Reactor.spawn();
    const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
    const accepted = once(server, 'connection') as Promise<[TcpConnection]>;
    const peer = net.connect(server.address.port, '127.0.0.1').resume();
    const [connection] = await accepted;
    // The io worker has paused the socket, so that it does not notice the reset before it writes.
    connection.pause();
    await connection.flush();
    const gone = once(peer, 'close');
    peer.resetAndDestroy();
    await gone;
    const greeting = connection.bytesSent;

    const end = closed(connection);
    connection.send(Buffer.alloc(200_000));
    connection.destroy();
    const { detail } = await end;
    expect([detail.unsentBytes, connection.bytesSent]).to.deep.equal([200_006, greeting]);
  });

  it('does not resolve flush()', async () => {
    await using reactor = await Reactor.spawn();
    const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
    const accepted = once(server, 'connection') as Promise<[TcpConnection]>;
    const peer = net.connect(server.address.port, '127.0.0.1').resume();
    const [connection] = await accepted;
    connection.pause();
    await connection.flush();
    const gone = once(peer, 'close');
    peer.resetAndDestroy();
    await gone;

    const end = closed(connection);
    connection.send('hello');
    const [flushed] = await Promise.allSettled([connection.flush()]);
    expect(flushed?.status).to.equal('rejected');
    connection.resume();
    expect(await end).to.deep.include({ reason: 'peer-reset' });
    expect((await end).detail.unsentBytes).to.equal(11);
  });
});
