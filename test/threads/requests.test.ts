import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { ConnectionOptions, ListenOptions, TcpConnection, TcpServer } from '../../src/index.js';
import { closed, Log, next, nextConnection, rejection, until, Watched } from '../fixtures/events.js';
import { frame, framesOf, type RawPeer } from '../fixtures/raw-peer.js';
import { HOST, pattern, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';
import { type Manner, summary } from '../fixtures/thread-reports.js';

const MIB = 1024 * 1024;
const REQUEST = 6;
const RESPONSE = 7;

function withId(id: number, text: Uint8Array | string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(id);
  return Buffer.concat([head, Buffer.from(text)]);
}

describe('request() and threads', () => {
  const stage = scene();
  const own = props();

  function attached(): Promise<AppThread> {
    return AppThread.attached(own, stage.reactor.handle);
  }

  /** A server whose connections a thread gets, and a plain peer. */
  async function served(
    manner: Manner,
    options: Partial<ListenOptions> = {},
  ): Promise<{ server: TcpServer; first: AppThread; peer: RawPeer; id: number }> {
    const server = await stage.listen({ dispatch: 'balance', ...options });
    const first = await AppThread.subscribed(own, server, manner);
    const peer = await stage.connectRaw(server.address.port);
    const [{ id } = { id: 0 }] = await first.log('connection').reaches(1);
    return { server, first, peer, id };
  }

  describe('of a thread that does not get the events of the connection', () => {
    for (const messages of ['copy', 'borrow'] as const) {
      it(`is answered to that thread, and to nobody else (messages: '${messages}')`, async () => {
        const { near, far } = await stage.pair({ both: { messages } });
        far.on('request', (data, reply) => void reply(`re:${data}`));
        const thread = await attached();
        expect(await thread.do('request', near.id, 'a')).to.equal('re:a');
        expect(await thread.do('request', near.id, '')).to.equal('re:');
        const heard: string[] = [];
        near.on('message', (data) => heard.push(data.toString()));
        expect(await thread.do('request', near.id, 'b')).to.equal('re:b');
        far.send('to the owner');
        await next(near, 'message');
        expect(heard).to.deep.equal(['to the owner']);
        // Answers are none.
        await until(() => near.messagesReceived > 0);
        expect(near.messagesReceived).to.equal(1);
      });
    }

    it('rejects as it does in the thread that gets them', async () => {
      const { near, far } = await stage.pair({ client: { limits: { maxRequests: 2 } } });
      const thread = await attached();
      const codeOf = (...args: [number, string, number?]): Promise<string | undefined> =>
        rejection(thread.do('request', ...args)).then(({ code }) => code);
      expect(await codeOf(near.id, 'nobody')).to.equal('ERR_REACTOR_REQUEST_FAILED');
      far.on('request', () => undefined);
      expect(await codeOf(near.id, 'slow', 10)).to.equal('ERR_REACTOR_REQUEST_TIMEOUT');
      await thread.do('ask', near.id, ['1', '2', '3']);
      const [first] = await thread.log('answer').reaches(1);
      expect(first).to.deep.equal({ asked: '3', code: 'ERR_REACTOR_TOO_MANY_REQUESTS' });
      // What one thread has under way is not another's.
      const mine = rejection(near.request('mine'));
      near.destroy();
      for (const { code } of (await thread.log('answer').reaches(3)).slice(1)) {
        expect(code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
      }
      expect((await mine).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
      expect(await codeOf(near.id, 'late')).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    });

    it('keeps the thread alive until it is answered', async () => {
      const { near, far } = await stage.pair();
      const asked = next<[Buffer, (text: string) => void]>(far, 'request');
      const thread = await attached();
      void thread.do('lastRequest', near.id, 'x');
      const [, reply] = await asked;
      await stage.settle();
      reply('y');
      expect(await thread.log('answer').reaches(1)).to.deep.equal([{ asked: 'x', text: 'y' }]);
      expect(await thread.exited).to.equal(0);
    });

    it('is answered while the thread that gets the events is paused for messages only', async () => {
      const { near, far } = await stage.pair();
      far.on('request', (data, reply) => void reply(data));
      // It takes no messages, which wait: the socket is still read.
      far.send('waits');
      const thread = await attached();
      expect(await thread.do('request', near.id, 'x')).to.equal('x');
      near.resume();
      near.on('message', () => undefined);
    });
  });

  it('gives each answer to who has asked, with many threads on one connection at once', async () => {
    const { near, far } = await stage.pair({ both: { limits: { maxRequests: 5000 } } });
    const waiting: [string, (text: string) => unknown][] = [];
    far.on('request', (data, reply) => {
      waiting.push([data.toString(), reply]);
      // In an order of its own.
      if (waiting.length < 50) return;
      waiting.sort(([a], [b]) => (a.slice(-1) < b.slice(-1) ? -1 : 1));
      for (const [text, answer] of waiting.splice(0)) answer(`re:${text}`);
    });
    const threads = await Promise.all([1, 2, 3, 4].map(attached));
    const texts = (who: number): string[] => Array.from({ length: 250 }, (_, i) => `${who}/${i}`);
    const mine = texts(9).map((text) => near.request(text).then(String));
    await Promise.all(threads.map((thread, who) => thread.do('ask', near.id, texts(who))));
    for (const [who, thread] of threads.entries()) {
      const answers = await thread.log('answer').reaches(250);
      expect(new Set(answers.map(({ asked }) => asked))).to.deep.equal(new Set(texts(who)));
      for (const { asked, text } of answers) expect(text).to.equal(`re:${asked}`);
      expect(answers.length).to.equal(250);
    }
    expect(await Promise.all(mine)).to.deep.equal(texts(9).map((text) => `re:${text}`));
  });

  it('carries requests and answers of 1 MiB of several threads at once, and messages between them', async () => {
    const { near, far } = await stage.pair({ both: { highWaterMark: 32 * MIB } });
    far.on('request', (data, reply) => {
      far.send(pattern(100_000));
      reply(data);
    });
    const messages = new Log<number>();
    near.on('message', (data) => messages.add(data.length));
    const threads = await Promise.all([1, 2, 3].map(attached));
    await Promise.all(
      threads.map((thread, who) =>
        thread.do(
          'ask',
          near.id,
          [0, 1, 2, 3].map((i) => pattern(MIB + i, who * 10 + i)),
        ),
      ),
    );
    for (const thread of threads) {
      for (const { asked, text, code } of await thread.log('answer').reaches(4)) {
        expect([text, code]).to.deep.equal([asked, undefined]);
      }
    }
    expect(await messages.reaches(12)).to.deep.equal(Array.from({ length: 12 }, () => 100_000));
  });

  it('does not hold up other connections when its thread takes no answers, and gets them all later', async () => {
    const busy = await stage.pair({ both: { highWaterMark: 32 * MIB } });
    const other = await stage.pair();
    for (const { far } of [busy, other]) far.on('request', (data, reply) => void reply(data));
    const thread = await attached();
    const large = Array.from({ length: 8 }, (_, i) => pattern(MIB, i));
    await thread.do('ask', busy.near.id, large);
    void thread.do('block');
    await thread.log('blocking').reaches(1);
    for (let i = 0; i < 50; i++) expect(String(await other.near.request(`${i}`))).to.equal(`${i}`);
    thread.open();
    const answers = await thread.log('answer').reaches(8);
    expect(answers.map(({ text }) => text)).to.deep.equal(large.map(summary));
  });

  describe('when a thread dies', () => {
    it('that has requests under way, the connection goes on, and a new thread gets only its own answers', async () => {
      const { connection, peer } = await stage.accepted();
      const frames = framesOf(peer);
      const dead = await attached();
      await dead.do('ask', connection.id, ['1', '2', '3']);
      const ids = (await frames.reaches(4)).slice(1).map(({ body }) => body.readUInt32LE());
      // The beginning of a long answer, too.
      const long = frame(withId(ids[2] as number, Buffer.alloc(300_000)), RESPONSE);
      peer.write(long.subarray(0, 100_000));
      await until(() => connection.bytesReceived >= 100_000);
      const { endedThreads } = stage.reactor.stats();
      await dead.kill();
      await until(() => stage.reactor.stats().endedThreads > endedThreads);
      // It gets the lane of the dead one.
      const alive = await attached();
      await alive.do('ask', connection.id, ['4']);
      const asked = (await frames.reaches(5))[4]?.body as Buffer;
      const mine = connection.request('5');
      const last = (await frames.reaches(6))[5]?.body.readUInt32LE() as number;
      peer.write(
        Buffer.concat([
          long.subarray(100_000),
          frame(withId(ids[0] as number, 'wrong'), RESPONSE),
          frame('a message'),
          frame(withId(asked.readUInt32LE(), 'right'), RESPONSE),
          frame(withId(ids[1] as number, 'wrong'), RESPONSE),
          frame(withId(last, 'right, too'), RESPONSE),
        ]),
      );
      expect(String(await mine)).to.equal('right, too');
      expect(await alive.log('answer').reaches(1)).to.deep.equal([{ asked: '4', text: 'right' }]);
      const [message] = await next<[Buffer]>(connection, 'message');
      expect(message.toString()).to.equal('a message');
    });

    it('in the middle of taking large answers, the others get theirs', async () => {
      const { near, far } = await stage.pair({ both: { highWaterMark: 32 * MIB } });
      far.on('request', (data, reply) => void reply(data));
      const dying = await attached();
      await dying.do(
        'ask',
        near.id,
        Array.from({ length: 8 }, (_, i) => pattern(MIB, i)),
      );
      void dying.do('block');
      await dying.log('blocking').reaches(1);
      const mine = near.request('mine');
      await dying.kill();
      expect(String(await mine)).to.equal('mine');
    });

    it('that gets the events, those who ask on its connections get their answers all the same', async () => {
      const { first, server, peer, id } = await served({});
      const second = await AppThread.subscribed(own, server);
      const frames = framesOf(peer);
      const asking = await attached();
      await asking.do('ask', id, ['1', '2']);
      const ids = (await frames.reaches(3)).slice(1).map(({ body }) => body.readUInt32LE());
      await first.kill();
      await second.log('connection').reaches(1);
      for (const each of ids) peer.write(frame(withId(each, 'yes'), RESPONSE));
      expect((await asking.log('answer').reaches(2)).map(({ text }) => text)).to.deep.equal(['yes', 'yes']);
    });

    it('while requests wait in it, the next one answers them, and knows which messages may come again', async () => {
      const { first, server, peer, id } = await served({ answers: 'first ', on: { m2: 'spin' } });
      const second = await AppThread.subscribed(own, server, { answers: 'second ' });
      const frames = framesOf(peer);
      peer.write(
        Buffer.concat([
          frame('m1'),
          frame(withId(1, 'r1'), REQUEST),
          frame('m2'),
          frame(withId(2, 'r2'), REQUEST),
          frame('m3'),
        ]),
      );
      expect(await first.texts(2)).to.deep.equal(['m1', 'm2']);
      await until(() => stage.reactor.connection(id).messagesReceived === 5);
      await first.kill();
      const messages = await second.log('message').reaches(2);
      expect(messages.map(({ text }) => text)).to.deep.equal(['m2', 'm3']);
      expect(messages[0]?.redelivered).to.equal(true);
      expect((await second.log('request').reaches(1)).map(({ text }) => text)).to.deep.equal(['r2']);
      const answers = (await frames.reaches(3)).slice(1);
      expect(answers.map(({ body }) => body.toString('utf8', 4))).to.deep.equal(['first r1', 'second r2']);
    });
  });

  describe('when a connection is handed over', () => {
    for (const messages of ['copy', 'borrow'] as const) {
      it(`goes along with what waits, once and in order (messages: '${messages}')`, async () => {
        const { first, server, peer, id } = await served({ answers: 'first ', on: { m1: 'pause' } }, { messages });
        const second = await AppThread.subscribed(own, server, { answers: 'second ' });
        const frames = framesOf(peer);
        peer.write(
          Buffer.concat([
            frame('m1'),
            frame(withId(1, 'r1'), REQUEST),
            frame(withId(2, Buffer.alloc(100_000, 'x')), REQUEST),
            frame('m2'),
          ]),
        );
        await first.texts(1);
        await until(() => stage.reactor.connection(id).messagesReceived >= 2);
        await first.do('unsubscribe', server.id);
        await second.texts(1);
        const answers = (await frames.reaches(3)).slice(1);
        expect(answers.map(({ body }) => [body.readUInt32LE(), body.toString('utf8', 4, 12)])).to.deep.equal([
          [1, 'second r'],
          [2, 'second 1'],
        ]);
        expect(second.log('message').entries.map(({ text, redelivered }) => [text, redelivered])).to.deep.equal([
          ['m2', false],
        ]);
        expect(first.log('request').entries).to.deep.equal([]);
      });
    }

    it('does not come again if it has overtaken messages that an iteration had still to take', async () => {
      const server = await stage.listen({ dispatch: 'balance' });
      await server.subscribe();
      let release = (): void => undefined;
      const gate = new Promise<void>((resolve) => {
        release = resolve;
      });
      const taken: string[] = [];
      server.on('request', (_connection, data, reply) => void reply(`first ${data}`));
      server.on('connection', async (connection) => {
        for await (const data of connection) {
          taken.push(data.toString());
          await gate;
        }
      });
      const peer = await stage.connectRaw(server.address.port);
      const frames = framesOf(peer);
      const long = Buffer.alloc(100_000, 'x');
      peer.write(
        Buffer.concat([
          frame('m1'),
          frame(withId(1, 'r1'), REQUEST),
          frame('m2'),
          frame(withId(2, 'r2'), REQUEST),
          frame(withId(3, long), REQUEST),
          frame('m3'),
        ]),
      );
      await frames.reaches(4);
      const second = await AppThread.subscribed(own, server, { answers: 'second ' });
      const left = server.unsubscribe();
      // Behind the call, and then behind what it has put into the ring.
      await stage.settle();
      release();
      await left;
      await second.texts(2);
      peer.write(frame(withId(4, 'r4'), REQUEST));
      const answers = (await frames.reaches(5)).slice(1);
      expect(answers.map(({ body }) => body.toString('utf8', 4, 13))).to.deep.equal([
        'first r1',
        'first r2',
        'first xxx',
        'second r4',
      ]);
      expect(taken).to.deep.equal(['m1']);
      expect(second.log('message').entries.map(({ text }) => text)).to.deep.equal(['m2', 'm3']);
      expect(second.log('request').entries.length).to.equal(1);
      // What it counts as done must be what the io worker means: it can die, and nothing is lost.
      const third = await AppThread.subscribed(own, server);
      peer.write(frame('m4'));
      await second.texts(3);
      await second.do('unsubscribe', server.id);
      peer.write(frame('m5'));
      expect((await third.texts(1)).at(-1)).to.equal('m5');
    });

    it('can still be answered by the thread that had it before', async () => {
      const { first, server, peer } = await served({ keepsRequests: true });
      const second = await AppThread.subscribed(own, server, { answers: 'second ' });
      const frames = framesOf(peer);
      peer.write(frame(withId(1, 'r1'), REQUEST));
      await first.log('request').reaches(1);
      await first.do('unsubscribe', server.id);
      await second.log('connection').reaches(1);
      peer.write(frame(withId(2, 'r2'), REQUEST));
      await frames.reaches(2);
      expect(await first.do('answerKept', 'first ')).to.equal(1);
      const answers = (await frames.reaches(3)).slice(1);
      expect(answers.map(({ body }) => body.toString('utf8', 4))).to.deep.equal(['second r2', 'first r1']);
    });

    it('is still answered to the thread that has asked', async () => {
      const { first, server, peer, id } = await served({});
      const second = await AppThread.subscribed(own, server);
      const frames = framesOf(peer);
      await first.do('ask', id, ['x', 'y']);
      const ids = (await frames.reaches(3)).slice(1).map(({ body }) => body.readUInt32LE());
      await first.do('unsubscribe', server.id);
      await second.log('connection').reaches(1);
      peer.write(frame(withId(ids[0] as number, 'yes'), RESPONSE));
      expect(await first.log('answer').reaches(1)).to.deep.equal([{ asked: 'x', text: 'yes' }]);
      peer.end();
      await peer.ended;
      expect((await first.log('answer').reaches(2))[1]?.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    });
  });

  describe("with dispatch 'all'", () => {
    it('is told to all threads, and the first answer counts', async () => {
      const { first, server, peer } = await served({ keepsRequests: true }, { dispatch: 'all' });
      const second = await AppThread.subscribed(own, server, { keepsRequests: true });
      await second.log('connection').reaches(1);
      const frames = framesOf(peer);
      peer.write(frame(withId(1, 'r'), REQUEST));
      await Promise.all([first.log('request').reaches(1), second.log('request').reaches(1)]);
      await second.do('answerKept', 'second ');
      expect((await frames.reaches(2))[1]?.body.toString('utf8', 4)).to.equal('second r');
      // The peer does not mind.
      await first.do('answerKept', 'first ');
      expect((await frames.reaches(3))[2]?.body.toString('utf8', 4)).to.equal('first r');
    });

    it('is not refused by a thread that has no handler', async () => {
      const { server, peer } = await served({}, { dispatch: 'all' });
      const second = await AppThread.subscribed(own, server, { answers: 'second ' });
      await second.log('connection').reaches(1);
      const frames = framesOf(peer);
      for (let i = 0; i < 20; i++) peer.write(frame(withId(i, 'r'), REQUEST));
      const answers = (await frames.reaches(21)).slice(1);
      for (const { kind, body } of answers)
        expect([kind, body.toString('utf8', 4)]).to.deep.equal([RESPONSE, 'second r']);
    });

    it('is answered by the peer to the thread that asks', async () => {
      const { first, server, peer, id } = await served({}, { dispatch: 'all' });
      const second = await AppThread.subscribed(own, server);
      await second.log('connection').reaches(1);
      const frames = framesOf(peer);
      await first.do('ask', id, ['1']);
      await second.do('ask', id, ['2']);
      for (const { body } of (await frames.reaches(3)).slice(1))
        peer.write(frame(withId(body.readUInt32LE(), body.subarray(4)), RESPONSE));
      expect(await first.log('answer').reaches(1)).to.deep.equal([{ asked: '1', text: '1' }]);
      expect(await second.log('answer').reaches(1)).to.deep.equal([{ asked: '2', text: '2' }]);
    });
  });

  it('rejects when the io worker dies', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false });
    const [ioWorker] = await started;
    const failed = next(reactor, 'error');
    const server = await reactor.listen({ host: HOST, port: 0 });
    const far = nextConnection(server);
    const near = await reactor.connect({ host: HOST, port: server.address.port });
    const asked = new Log<Buffer>();
    (await far).on('request', (data) => asked.add(data));
    const thread = await AppThread.attached(own, reactor.handle);
    const waiting = new Watched(rejection(near.request('x')));
    await thread.do('ask', near.id, ['y']);
    await asked.reaches(2);
    await ioWorker.terminate();
    await failed;
    expect((await waiting.promise).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect((await thread.log('answer').reaches(1))[0]?.code).to.match(
      /ERR_REACTOR_(CONNECTION_CLOSED|IO_WORKER_CRASH)/,
    );
  });

  it('works with connections of several io workers', async () => {
    const reactor = await own.spawn({ ioWorkers: 2 });
    const server = await reactor.listen({ host: HOST, port: 0 });
    server.on('request', (_connection, data, reply) => void reply(`re:${data}`));
    const options: ConnectionOptions = {};
    const connections: TcpConnection[] = [];
    for (let i = 0; i < 6; i++)
      connections.push(await reactor.connect({ host: HOST, port: server.address.port, ...options }));
    const thread = await AppThread.attached(own, reactor.handle);
    const answers = await Promise.all(
      connections.flatMap((connection, i) => [
        thread.do('request', connection.id, `t${i}`),
        connection.request(`m${i}`).then(String),
      ]),
    );
    expect(answers).to.deep.equal([0, 1, 2, 3, 4, 5].flatMap((i) => [`re:t${i}`, `re:m${i}`]));
    const ends = connections.map(closed);
    await reactor.close();
    await Promise.all(ends);
  });
});
