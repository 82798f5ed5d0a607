import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import { next, nextConnection, rejection, until } from '../fixtures/events.js';
import { props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

describe('pollSync()', () => {
  const stage = scene();
  const own = props();

  it('brings a thread that never yields its events, and its answers to the peer', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { echo: 're ' });
    const peer = (await stage.connectRaw(server.address.port)).read();
    await thread.log('connection').reaches(1);
    // Blocks the thread until all three have come; each is only sent when the one before has been answered.
    const polled = thread.do('poll', 3, 60_000);
    await thread.log('blocking').reaches(1);
    for (let i = 1; i <= 3; i++) {
      peer.send(`${i}`);
      await peer.texts.reaches(i);
    }
    expect(peer.texts.entries).to.deep.equal(['re 1', 're 2', 're 3']);
    expect(await thread.texts(3)).to.deep.equal(['1', '2', '3']);
    const counts = await polled;
    expect(Math.min(...counts)).to.be.greaterThan(0);
  });

  it('returns how many events there were', async () => {
    const server = await stage.listen();
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    connection.on('message', () => undefined);
    peer.send('1');
    expect(stage.reactor.pollSync(60_000)).to.equal(1);
  });

  it('hands out what has waited in a connection for a listener, or was paused, without a turn of the event loop', async () => {
    const { connection, peer } = await stage.accepted();
    const { reactor } = stage;
    const texts: string[] = [];
    connection.once('message', (data) => texts.push(String(data)));
    peer.send('1').send('2').send('3').send('4');
    await stage.settle();
    expect(texts).to.deep.equal(['1']);
    connection.once('message', (data) => texts.push(String(data)));
    expect(reactor.pollSync(0)).to.equal(1);
    expect(texts).to.deep.equal(['1', '2']);
    connection.pause();
    connection.on('message', (data) => texts.push(String(data)));
    expect(reactor.pollSync(0)).to.equal(0);
    connection.resume();
    expect(reactor.pollSync(0)).to.equal(1);
    expect(texts).to.deep.equal(['1', '2', '3', '4']);
  });

  it('returns 0 when nothing has come by its timeout, and at once without one', async () => {
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const waited = await thread.do('pollOnce', 30);
    expect(waited.events).to.equal(0);
    expect(waited.ms).to.be.at.least(30);
    expect(stage.reactor.pollSync()).to.equal(0);
    expect(stage.reactor.pollSync(0)).to.equal(0);
  });

  it('is woken by an event while it sleeps', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server);
    const slept = thread.do('pollOnce', 60_000);
    await thread.log('blocking').reaches(1);
    const peer = await stage.connectRaw(server.address.port);
    expect((await slept).events).to.be.greaterThan(0);
    peer.end();
  });

  it('lets a thread that never yields send, and see the state of its connection change', async () => {
    const { connection, peer } = await stage.accepted();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const over = thread.do('sendUntilOver', connection.id, 'from a tight loop');
    await thread.log('blocking').reaches(1);
    expect(await peer.read().texts.reaches(1)).to.deep.equal(['from a tight loop']);
    connection.destroy();
    expect(await over).to.equal(1);
  });

  it('gives the thread back to its event loop afterwards', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    const thread = await AppThread.subscribed(own, server, { echo: '' });
    await thread.do('pollOnce', 10);
    const peer = (await stage.connectRaw(server.address.port)).read().send('as usual');
    expect(await peer.texts.reaches(1)).to.deep.equal(['as usual']);
    await until(() => thread.log('message').entries.length === 1);
  });

  it("brings 'close' with io-worker-crash to a thread that only polls when the io worker dies", async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    const [ioWorker] = await started;
    const raw = await own.listenRaw();
    const thread = await AppThread.attached(own, reactor.handle);
    const id = await thread.do('connect', raw.port);
    const reason = thread.do('pollUntilClosed', id, 10);
    await thread.log('blocking').reaches(1);
    await ioWorker.terminate();
    expect(await reason).to.equal('io-worker-crash');
  });

  describe('throws ERR_REACTOR_INVALID_ARGUMENT, and does no harm, from within a handler', () => {
    const expected = [{ code: 'ERR_REACTOR_INVALID_ARGUMENT' }];

    it('of a message that comes straight from the ring', async () => {
      const server = await stage.listen({ dispatch: 'balance' });
      const thread = await AppThread.subscribed(own, server, { on: { poll: 'poll' }, echo: '' });
      const peer = (await stage.connectRaw(server.address.port)).read().send('1');
      await peer.texts.reaches(1);
      peer.send('poll', '2');
      expect(await thread.log('error').reaches(1)).to.deep.equal(expected);
      expect(await peer.texts.reaches(3)).to.deep.equal(['1', 'poll', '2']);
    });

    it('of a message that has waited for resume()', async () => {
      const server = await stage.listen({ dispatch: 'balance' });
      const thread = await AppThread.subscribed(own, server, { on: { 1: 'pause', poll: 'poll' }, echo: '' });
      const peer = (await stage.connectRaw(server.address.port)).read().send('1', 'poll', '2');
      const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
      await thread.texts(1);
      await until(() => stage.reactor.connection(id).messagesReceived === 3);
      await thread.do('flush', id);
      await thread.do('resume', id);
      expect(await thread.log('error').reaches(1)).to.deep.equal(expected);
      expect(await peer.texts.reaches(3)).to.deep.equal(['1', 'poll', '2']);
    });
  });

  it('throws ERR_REACTOR_INVALID_ARGUMENT for what is no time', async () => {
    for (const wrong of [-1, Number.NaN, '1', null, {}, 1n]) {
      const error = await rejection((async () => stage.reactor.pollSync(wrong as number))());
      expect(error.code, String(wrong)).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    }
  });
});
