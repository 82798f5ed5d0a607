import { expect } from 'chai';
import { nextConnection, until } from '../fixtures/events.js';
import { frame, type RawPeer } from '../fixtures/raw-peer.js';
import { readModes, scene } from '../fixtures/scene.js';

const MANY = 300;

for (const { name, options } of readModes) {
  describe(`many that connect at once, ${name}`, () => {
    const stage = scene(options);

    it('are all served', async () => {
      const server = await stage.listen();
      server.on('message', (connection, data) => connection.send(data));
      const served = Array.from({ length: MANY }, async (_, i) => {
        const peer = (await stage.connectRaw(server.address.port)).read();
        peer.socket.write(frame(`I am ${i}`));
        await peer.texts.reaches(1);
        return peer.texts.entries[0];
      });
      expect(await Promise.all(served)).to.deep.equal(served.map((_, i) => `I am ${i}`));
    });

    it('are served whoever of them has gone meanwhile', async () => {
      const server = await stage.listen();
      server.on('message', (connection, data) => connection.send(data));
      const served = Array.from({ length: MANY }, async (_, i) => {
        const peer = (await stage.connectRaw(server.address.port)).read();
        if (i % 2 === 0) {
          peer.reset();
          return;
        }
        peer.socket.write(frame(`I am ${i}`));
        await peer.texts.reaches(1);
        peer.socket.destroy();
      });
      await Promise.all(served);
      await until(() => stage.reactor.stats().openConnections === 0);
    });

    it('all hear of it when the server closes before it has come to them', async () => {
      const server = await stage.listen({ limits: { maxConnectionsPerAddress: MANY } });
      const first = nextConnection(server);
      const connecting = Array.from({ length: MANY }, () => stage.connectRaw(server.address.port));
      await first;
      const over = server.close({ drainMs: 0 });
      const outcomes = await Promise.allSettled(connecting);
      const peers = outcomes.filter(
        (outcome): outcome is PromiseFulfilledResult<RawPeer> => outcome.status === 'fulfilled',
      );
      expect(peers).to.not.be.empty;
      await Promise.all(peers.map(({ value }) => value.read().gone));
      await over;
    });
  });
}
