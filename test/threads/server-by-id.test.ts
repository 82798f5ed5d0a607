import { expect } from 'chai';
import { rejection } from '../fixtures/events.js';
import { props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

describe('server()', () => {
  const stage = scene();
  const own = props();

  it('throws ERR_REACTOR_INVALID_ARGUMENT for an id that was never given, and later servers are none the worse', async () => {
    const { id } = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.attached(own, stage.reactor.handle);
    // The next ones are those that later servers get.
    for (const wrong of [id + 1, id + 2, id + 1000, 0, -1, 1.5, Number.NaN]) {
      const error = await rejection((async () => stage.reactor.server(wrong))());
      expect(error.code, `${wrong}`).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
      const isNumber = Number.isInteger(wrong) && wrong > 0;
      const text = isNumber
        ? `no server of this reactor has had the id ${wrong}`
        : `takes the id of a server, got ${wrong}`;
      expect(error.message).to.contain(text);
      const there = await rejection(thread.do('closeServer', wrong, 0));
      expect(there.code, `${wrong}, in a thread`).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    }
    const later = await stage.listen();
    const peer = (await stage.connectRaw(later.address.port)).read();
    later.on('message', (connection, data) => void connection.send(data));
    expect(await peer.send('hello').texts.reaches(1)).to.deep.equal(['hello']);
  });

  it('does not keep servers that nobody has in hand', async () => {
    const { id } = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.attached(own, stage.reactor.handle);
    expect(await thread.do('isServerKept', id)).to.equal(false);
    await thread.do('subscribe', id);
    expect(await thread.do('isServerKept', id)).to.equal(true);
  });

  it("throws it for the id of a client, too, be it another thread's", async () => {
    const client = stage.client();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    for (const attempt of [
      (async () => stage.reactor.server(client.id))(),
      thread.do('closeServer', client.id, 0),
      thread.do('broadcast', client.id, 'not for clients'),
    ]) {
      expect((await rejection(attempt)).code).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    }
  });
});
