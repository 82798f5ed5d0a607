import { expect } from 'chai';
import { attach, type ReactorHandle } from '../../src/index.js';
import { closed, nextConnection, rejection, texts, until } from '../fixtures/events.js';
import { HOST, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MAX_THREADS = 32;

describe('attach()', () => {
  const stage = scene();
  const own = props();

  it('gives another thread the reactor: it sends on a connection that this thread has got', async () => {
    const { connection, peer } = await stage.accepted();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    expect(await thread.do('send', connection.id, 'from a thread')).to.equal(true);
    expect(await peer.read().texts.reaches(1)).to.deep.equal(['from a thread']);
  });

  it('takes the same handle in any number of threads, one behind the other and at once', async () => {
    const { connection, peer } = await stage.accepted();
    const first = await AppThread.attached(own, stage.reactor.handle);
    const others = await Promise.all([1, 2, 3].map(() => AppThread.attached(own, stage.reactor.handle)));
    for (const thread of [first, ...others]) await thread.do('send', connection.id, `${thread.threadId}`);
    const expected = [first, ...others].map(({ threadId }) => `${threadId}`);
    expect([...(await peer.read().texts.reaches(4))].sort()).to.deep.equal(expected.sort());
  });

  it('gives the same Reactor each time in one thread, also while it is under way', async () => {
    const thread = AppThread.bare(own);
    expect(await thread.do('attachAtOnce', stage.reactor.handle, 3)).to.equal(1);
    expect(await thread.do('attach', stage.reactor.handle)).to.equal(true);
    const lanes = stage.reactor.stats().threads.filter(({ threadId }) => threadId === thread.threadId);
    expect(lanes).to.have.length(1);
  });

  it('gives the Reactor itself in the thread that has spawned it', async () => {
    expect(await attach(stage.reactor.handle)).to.equal(stage.reactor);
    expect(await attach(structuredClone(stage.reactor.handle))).to.equal(stage.reactor);
  });

  it('lets the main thread attach to a reactor that a worker has spawned', async () => {
    const thread = AppThread.bare(own);
    const reactor = await attach(await thread.do('spawn', {}));
    own.defer(() => reactor.destroy());
    const server = await reactor.listen({ host: HOST, port: 0 });
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const received = texts(connection);
    peer.read().send('to main');
    expect(await received.reaches(1)).to.deep.equal(['to main']);
    expect(await thread.do('send', connection.id, 'from the worker')).to.equal(true);
    connection.send('from main');
    expect([...(await peer.texts.reaches(2))].sort()).to.deep.equal(['from main', 'from the worker']);
  });

  it("tells the main thread 'reactor-close' when the worker that has spawned the reactor closes it", async () => {
    const thread = AppThread.bare(own);
    const reactor = await attach(await thread.do('spawn', {}));
    const server = await reactor.listen({ host: HOST, port: 0 });
    const serverClosed = new Promise<void>((resolve) => server.once('close', () => resolve()));
    const [connection, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
    const end = closed(connection);
    void peer.read().ended.then(() => peer.end());
    await thread.do('closeReactor');
    expect((await end).reason).to.equal('reactor-close');
    await serverClosed;
  });

  it('gives a new Reactor while this thread is closing the one that it has', async () => {
    const thread = AppThread.bare(own);
    const handle = await thread.do('spawn', {});
    const { port } = await thread.do('listen', {}, { echo: 're ' });
    const before = await attach(handle);
    own.defer(() => before.destroy());
    await before.connect({ host: HOST, port });
    const left = before.close();
    const reactor = await attach(handle);
    own.defer(() => reactor.destroy());
    expect(reactor).not.to.equal(before);
    const connection = await reactor.connect({ host: HOST, port });
    const received = texts(connection);
    connection.send('hello');
    expect(await received.reaches(1)).to.deep.equal(['re hello']);
    await left;
  });

  it('from many threads while the main thread is blocked lets all of them in, each once', async () => {
    const before = stage.reactor.stats();
    const threads = Array.from({ length: 8 }, () => AppThread.bare(own));
    for (const thread of threads) await thread.do('ping');
    const attached = threads.map((thread) => thread.do('attach', stage.reactor.handle));
    // Their requests come by way of this thread; long enough for them to give up and ask again, several times.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
    await Promise.all(attached);
    const { connection, peer } = await stage.accepted();
    for (const thread of threads) await thread.do('send', connection.id, 'here');
    await peer.read().texts.reaches(threads.length);
    const after = stage.reactor.stats();
    const known = after.threads.map(({ threadId }) => threadId);
    const expected = [...before.threads, ...threads].map(({ threadId }) => threadId);
    expect(known.sort()).to.deep.equal(expected.sort());
    expect(after.endedThreads).to.equal(before.endedThreads);
  });

  describe('rejects', () => {
    const wrong: Record<string, (handle: ReactorHandle) => unknown> = {
      nothing: () => undefined,
      null: () => null,
      'a number': () => 1,
      'an empty object': () => ({}),
      'what JSON leaves of a handle': (handle) => JSON.parse(JSON.stringify(handle)),
      'a registry that is no shared memory': (handle) => ({ ...handle, registry: new ArrayBuffer(4096) }),
      'a registry that is too small': (handle) => ({
        ...handle,
        reactor: 'another',
        registry: new SharedArrayBuffer(8),
      }),
      'no number of io workers': ({ reactor, registry }) => ({ reactor: `${reactor}?`, registry }),
    };
    for (const [what, made] of Object.entries(wrong)) {
      it(`${what} with ERR_REACTOR_INVALID_ARGUMENT`, async () => {
        const error = await rejection(attach(made(stage.reactor.handle) as ReactorHandle));
        expect(error.code).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
        expect(error.message).to.match(/handle/);
      });
    }

    it('the handle of a closed reactor with ERR_REACTOR_CLOSED, here and in other threads', async () => {
      for (const way of ['close', 'destroy'] as const) {
        const reactor = await own.spawn();
        const { handle } = reactor;
        if (way === 'close') await reactor.close();
        else reactor.destroy();
        expect((await rejection(attach(handle))).code, way).to.equal('ERR_REACTOR_CLOSED');
        const thread = AppThread.bare(own);
        expect((await rejection(thread.do('attach', handle))).code, way).to.equal('ERR_REACTOR_CLOSED');
      }
    });

    it('the handle of a reactor whose thread has ended with ERR_REACTOR_CLOSED', async () => {
      const spawner = AppThread.bare(own);
      const handle = await spawner.do('spawn', {});
      await spawner.kill();
      expect((await rejection(attach(handle))).code).to.equal('ERR_REACTOR_CLOSED');
    });
  });

  it('serves 32 threads, turns the next away, and has room again when one has ended', async () => {
    const { connection, peer } = await stage.accepted();
    const before = stage.reactor.stats();
    const threads: AppThread[] = [];
    while (before.threads.length + threads.length < MAX_THREADS) {
      const wanted = Math.min(4, MAX_THREADS - before.threads.length - threads.length);
      const more = Array.from({ length: wanted }, () => AppThread.attached(own, stage.reactor.handle));
      threads.push(...(await Promise.all(more)));
    }
    expect(stage.reactor.stats().threads).to.have.length(MAX_THREADS);
    const late = AppThread.bare(own);
    const error = await rejection(late.do('attach', stage.reactor.handle));
    expect(error.code).to.equal('ERR_REACTOR_TOO_MANY_THREADS');
    await threads[0]?.kill();
    await until(() => stage.reactor.stats().endedThreads === before.endedThreads + 1);
    await late.do('attach', stage.reactor.handle);
    const sending = [...threads.slice(1), late];
    for (const thread of sending) await thread.do('send', connection.id, `${thread.threadId}`);
    const expected = sending.map(({ threadId }) => `${threadId}`);
    expect([...(await peer.read().texts.reaches(sending.length))].sort()).to.deep.equal(expected.sort());
  });
});
