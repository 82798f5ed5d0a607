import { expect } from 'chai';
import { Reactor, type TcpConnection } from '../../src/index.js';
import { nextConnection, untilWithoutYielding } from '../fixtures/events.js';
import { RawPeer } from '../fixtures/raw-peer.js';

const MESSAGES = 40;
/** Longer than a turn of the lane may last. */
const HANDLER_MS = 5;
/** What has been sent has left by then. */
const WRITTEN_MS = 5000;

/** A connection for which MESSAGES wait in this thread's ring. */
async function withMessages(reactor: Reactor): Promise<{ connection: TcpConnection; peer: RawPeer }> {
  const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
  const [connection, peer] = await Promise.all([nextConnection(server), RawPeer.connect(server.address.port)]);
  peer.send(...Array.from({ length: MESSAGES }, String));
  untilWithoutYielding(() => connection.messagesReceived === MESSAGES);
  return { connection, peer };
}

function workFor(ms: number): void {
  const until = performance.now() + ms;
  untilWithoutYielding(() => performance.now() > until);
}

describe('slow handlers', () => {
  it('let other work of the thread have its turn between messages of one batch', async () => {
    await using reactor = await Reactor.spawn();
    const { connection, peer } = await withMessages(reactor);

    let handled = 0;
    let most = 0;
    let waiting = false;
    const all = new Promise<void>((resolve) => {
      connection.on('message', () => {
        workFor(HANDLER_MS);
        handled++;
        if (handled === MESSAGES) resolve();
        if (waiting) return;
        waiting = true;
        const before = handled;
        setImmediate(() => {
          most = Math.max(most, handled - before);
          waiting = false;
        });
      });
    });
    await all;
    expect(most, 'messages handled while an immediate waited').to.be.below(2);
    peer.end();
  });

  it('have their answers written while other work of the thread holds it up, however many messages wait', async () => {
    await using reactor = await Reactor.spawn();
    const { connection, peer } = await withMessages(reactor);

    let handled = 0;
    const unwritten = new Promise<number>((resolve) => {
      connection.on('message', (message) => {
        connection.send(message);
        // Several turns have ended by then, and the io worker dozes.
        workFor(HANDLER_MS / 10);
        handled++;
        if (handled !== MESSAGES / 4) return;
        setImmediate(() => {
          const latest = performance.now() + WRITTEN_MS;
          untilWithoutYielding(() => connection.bufferedAmount === 0 || performance.now() > latest);
          resolve(connection.bufferedAmount);
        });
      });
    });
    expect(await unwritten).to.equal(0);
    expect(handled).to.be.below(MESSAGES);
    peer.end();
  });
});
