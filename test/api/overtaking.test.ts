import { expect } from 'chai';
import { Reactor } from '../../src/index.js';
import { untilWithoutYielding } from '../fixtures/events.js';
import { PeerProcess } from '../fixtures/peer-process.js';

const COUNT = 50;

/** The answer to a call on the control plane may be here before the events that are in the ring. */
describe('a close whose answer overtakes events', () => {
  for (const what of ['server', 'reactor'] as const) {
    it(`of the ${what}, lets out every connection, message and close that is in the ring`, async () => {
      const reactor = await Reactor.spawn();
      const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
      const counts = { connections: 0, messages: 0, disconnects: 0 };
      server.on('connection', () => counts.connections++);
      server.on('message', () => counts.messages++);
      server.on('disconnect', () => counts.disconnects++);
      await using _peers = new PeerProcess('rude-process', ['peers', String(server.address.port), String(COUNT)]);
      // The io worker is through with all of them before this thread hears of the first.
      untilWithoutYielding(() => reactor.stats().closed === COUNT);
      expect(counts.connections).to.equal(0);
      await (what === 'server' ? server.close() : reactor.close());
      expect(counts).to.deep.equal({ connections: COUNT, messages: COUNT, disconnects: COUNT });
      await reactor.close();
    });
  }

  it('of a client, settles every attempt to connect', async () => {
    await using reactor = await Reactor.spawn();
    await using rude = new PeerProcess('rude-process', ['server']);
    const port = await rude.next<number>();
    const client = reactor.client();
    const attempts = Array.from({ length: COUNT }, () => client.connect({ host: '127.0.0.1', port }));
    const settled = Promise.allSettled(attempts);
    // The calls leave in this turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    untilWithoutYielding(() => reactor.stats().closed === COUNT);
    await client.close();
    for (const { status } of await settled) expect(status).to.be.oneOf(['fulfilled', 'rejected']);
    expect(client.connectionCount).to.equal(0);
  });
});
