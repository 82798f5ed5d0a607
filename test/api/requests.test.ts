import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import type { ReactorError, Reply, TcpConnection } from '../../src/index.js';
import { closed, Log, next, nextConnection, rejection, until, Watched } from '../fixtures/events.js';
import { frame, framesOf } from '../fixtures/raw-peer.js';
import { HOST, pattern, readModes, scene } from '../fixtures/scene.js';

const KIB = 1024;
const MIB = 1024 * 1024;
const REQUEST = 6;
const RESPONSE = 7;
const FAILED = 8;

interface Asked {
  readonly text: string;
  readonly reply: Reply;
}

/** Requests that a side has got and not answered. */
function asked(connection: TcpConnection): Log<Asked> {
  const log = new Log<Asked>();
  connection.on('request', (data, reply) => log.add({ text: data.toString(), reply }));
  return log;
}

/** An echo, so that it can be seen whose answer came. */
function answerAll(connection: TcpConnection): void {
  connection.on('request', (data, reply) => void reply(Buffer.concat([Buffer.from('re:'), data])));
}

function withId(id: number, text: Uint8Array | string): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32LE(id);
  return Buffer.concat([head, Buffer.from(text)]);
}

function codeOf(promise: Promise<unknown>): Promise<string | undefined> {
  return rejection(promise).then(({ code }) => code);
}

for (const { name, options } of readModes) {
  describe(`request(), ${name}`, () => {
    const stage = scene(options);

    it('resolves with the answer, whoever asks whom', async () => {
      const { near, far } = await stage.pair();
      answerAll(near);
      answerAll(far);
      for (const data of ['a', '', 'caf\u00e9', Buffer.from('bytes'), Uint8Array.of(1, 2, 3)]) {
        const expected = Buffer.concat([Buffer.from('re:'), Buffer.from(data as string)]);
        expect(await near.request(data)).to.deep.equal(expected);
        expect(await far.request(data)).to.deep.equal(expected);
      }
    });

    it('takes answers of bytes, of text and of nothing', async () => {
      const { near, far } = await stage.pair();
      const answers: (string | Uint8Array)[] = ['text', Uint8Array.of(0, 255), '', Buffer.alloc(0)];
      far.on('request', (data, reply) => expect(reply(answers[Number(data)] as string)).to.equal(true));
      for (const [i, answer] of answers.entries()) {
        expect(await near.request(`${i}`)).to.deep.equal(Buffer.from(answer as string));
      }
    });

    it('is told to the connection, and to its server or client with the connection in front', async () => {
      const { server, client, near, far } = await stage.pair();
      const log = new Log<string>();
      for (const [host, connection, who] of [
        [server, far, 'server'],
        [client, near, 'client'],
      ] as const) {
        host.on('request', (of, data, reply) => {
          expect(of).to.equal(connection);
          log.add(`${who} ${data}`);
          if (!reply.isAnswered) reply(who);
        });
      }
      expect(String(await near.request('1'))).to.equal('server');
      expect(String(await far.request('2'))).to.equal('client');
      far.on('request', (data, reply) => log.add(`connection ${data} ${reply.isAnswered}`));
      await near.request('3');
      expect(log.entries).to.deep.equal(['server 1', 'client 2', 'server 3', 'connection 3 true']);
    });

    it('may be answered at any time and in any order', async () => {
      const { near, far } = await stage.pair();
      const log = asked(far);
      const answers = Array.from({ length: 50 }, (_, i) => near.request(`${i}`));
      const all = await log.reaches(50);
      expect(all.map(({ text }) => text)).to.deep.equal(Array.from({ length: 50 }, (_, i) => `${i}`));
      const order = [...all].sort((a, b) => ((Number(a.text) * 37) % 50) - ((Number(b.text) * 37) % 50));
      for (const { text, reply } of order) reply(`answer ${text}`);
      expect((await Promise.all(answers)).map(String)).to.deep.equal(
        Array.from({ length: 50 }, (_, i) => `answer ${i}`),
      );
    });

    it('comes in order with messages', async () => {
      const { near, far } = await stage.pair();
      const log: string[] = [];
      far.on('message', (data) => log.push(`message ${data}`));
      far.on('request', (data, reply) => {
        log.push(`request ${data}`);
        reply('');
      });
      near.send('1');
      const first = near.request('2');
      near.send('3');
      near.send(Buffer.alloc(200_000, '4'));
      await Promise.all([first, near.request(Buffer.alloc(200_000, '5')), near.request('6')]);
      expect(log.map((entry) => entry.slice(0, 9))).to.deep.equal([
        'message 1',
        'request 2',
        'message 3',
        'message 4',
        'request 5',
        'request 6',
      ]);
    });

    it('carries requests and answers of any length that fits', async () => {
      const { near, far } = await stage.pair({ both: { highWaterMark: 32 * MIB } });
      far.on('request', (data, reply) => void reply(data));
      for (const length of [64 * KIB - 11, 64 * KIB - 10, 64 * KIB - 9, 64 * KIB, 200_000, MIB, 16 * MIB - 6]) {
        const answer = await near.request(pattern(length, length));
        expect(answer.equals(pattern(length, length)), `${length}`).to.equal(true);
      }
      const many = await Promise.all(Array.from({ length: 12 }, (_, i) => near.request(pattern(MIB, i))));
      for (const [i, answer] of many.entries()) expect(answer.equals(pattern(MIB, i)), `${i}`).to.equal(true);
    });

    it('mixes with messages of any length, both ways at once', async () => {
      const { near, far } = await stage.pair({ both: { highWaterMark: 32 * MIB } });
      const lengths = [0, 10, 300_000, 5, 70_000, 1, MIB];
      const sides = [near, far];
      const messages = sides.map(() => new Log<number>());
      for (const [i, side] of sides.entries()) {
        side.on('message', (data) => messages[i]?.add(data.length));
        side.on('request', (data, reply) => void reply(data));
      }
      const answers: Promise<boolean>[] = [];
      for (let i = 0; i < 70; i++) {
        const length = lengths[i % lengths.length] as number;
        for (const side of sides) {
          side.send(pattern(length, i));
          answers.push(side.request(pattern(length, i + 1)).then((answer) => answer.equals(pattern(length, i + 1))));
        }
      }
      expect((await Promise.all(answers)).every(Boolean)).to.equal(true);
      const expected = Array.from({ length: 70 }, (_, i) => lengths[i % lengths.length]);
      for (const log of messages) expect(await log.reaches(70)).to.deep.equal(expected);
    });

    describe('that is not answered', () => {
      it("rejects with the peer's text when it says that it has failed", async () => {
        const { near, far } = await stage.pair();
        far.on('request', (data, reply) => expect(reply.fail(`no ${data}`)).to.equal(true));
        const error = await rejection(near.request('way'));
        expect(error.code).to.equal('ERR_REACTOR_REQUEST_FAILED');
        expect(error.message).to.match(/no way$/);
        expect((await rejection(near.request('x'.repeat(200_000)))).message).to.match(/no x+$/);
      });

      it('rejects at once when the peer has no handler', async () => {
        const { near, far } = await stage.pair();
        const error = await rejection(near.request('anybody?'));
        expect(error.code).to.equal('ERR_REACTOR_REQUEST_FAILED');
        expect(error.message).to.match(/no 'request' handler/);
        // Whatever it does with messages.
        far.on('message', () => undefined);
        expect(await codeOf(near.request('anybody?'))).to.equal('ERR_REACTOR_REQUEST_FAILED');
      });

      it('rejects when the handler throws, and the error goes where it always goes', async () => {
        const { near, far } = await stage.pair();
        far.on('request', (data, reply) => {
          if (data.toString() === 'answered') reply('first');
          throw new Error('thrown by a handler');
        });
        const mochas = process.listeners('uncaughtException');
        process.removeAllListeners('uncaughtException');
        const thrown = new Log<string>();
        const note = (error: Error): void => thrown.add(error.message);
        process.on('uncaughtException', note);
        try {
          expect(await codeOf(near.request('x'))).to.equal('ERR_REACTOR_REQUEST_FAILED');
          expect(String(await near.request('answered'))).to.equal('first');
          await thrown.reaches(2);
        } finally {
          process.off('uncaughtException', note);
          for (const listener of mochas) process.on('uncaughtException', listener);
        }
        expect(thrown.entries).to.deep.equal(['thrown by a handler', 'thrown by a handler']);
      });

      it('rejects after timeoutMs; what comes later is no answer to anything', async () => {
        const { near, far } = await stage.pair();
        const log = asked(far);
        const error = await rejection(near.request('slow', { timeoutMs: 20 }));
        expect(error.code).to.equal('ERR_REACTOR_REQUEST_TIMEOUT');
        expect(error.message).to.include('20 ms');
        const second = near.request('second');
        const [late, other] = await log.reaches(2);
        late?.reply('late');
        other?.reply('in time');
        expect(String(await second)).to.equal('in time');
      });

      it('rejects on its signal, before and after, and leaves no listener on it', async () => {
        const { near, far } = await stage.pair();
        const log = asked(far);
        const abort = new AbortController();
        const cause = new Error('enough');
        const waiting = ['1', '2', '3'].map((text) => near.request(text, { signal: abort.signal }));
        const [first] = await log.reaches(3);
        first?.reply('in time');
        expect(String(await waiting[0])).to.equal('in time');
        expect(getEventListeners(abort.signal, 'abort').length).to.equal(2);
        abort.abort(cause);
        for (const promise of waiting.slice(1)) {
          const error = await rejection(promise);
          expect([error.code, error.cause]).to.deep.equal(['ERR_REACTOR_ABORTED', cause]);
        }
        expect(getEventListeners(abort.signal, 'abort').length).to.equal(0);
        expect(await codeOf(near.request('4', { signal: abort.signal }))).to.equal('ERR_REACTOR_ABORTED');
        await stage.settle();
        expect(log.entries.length, 'aborted before it was sent').to.equal(3);
        for (const { reply } of log.entries.slice(1)) reply('too late');
        answerAll(far);
        expect(String(await near.request('5'))).to.equal('re:5');
      });

      it('rejects at once when the connection closes, for whatever reason', async () => {
        const ends: [(near: TcpConnection, far: TcpConnection) => void, string][] = [
          [(near) => near.destroy(), 'local-destroy'],
          [(_near, far) => far.destroy(), 'peer-'],
        ];
        for (const [end, reason] of ends) {
          const { near, far } = await stage.pair();
          const log = asked(far);
          const over = closed(near);
          const waiting = [near.request('1'), near.request('2', { timeoutMs: 86_400_000 })];
          await log.reaches(2);
          end(near, far);
          for (const promise of waiting) {
            const error = await rejection(promise);
            expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
          }
          await over;
          const error = await rejection(near.request('3'));
          expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
          expect(error.message).to.include(reason);
          // A peer that is gone looks like one that has ended and waits for its answers: they are tried.
          const isOver = far.state === 'closed';
          for (const { reply } of log.entries) {
            const accepted = reply('into the void');
            if (isOver) expect(accepted).to.equal(false);
            expect(reply.isAnswered).to.equal(true);
          }
          await until(() => far.state === 'closed');
        }
      });

      it('rejects when the peer resets, with the error of the system behind it', async () => {
        const { connection, peer } = await stage.accepted();
        const waiting = connection.request('x');
        await framesOf(peer).reaches(2);
        peer.reset();
        const error = await rejection(waiting);
        expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        expect((error.cause as ReactorError).code).to.equal('ERR_REACTOR_CONNECTION_LOST');
      });

      it('rejects as soon as the peer ends, though the connection stays open', async () => {
        const { connection, peer } = await stage.accepted({ allowHalfOpen: true });
        const waiting = connection.request('x');
        await framesOf(peer).reaches(2);
        peer.end();
        expect(await codeOf(waiting)).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        expect(connection.state).to.equal('open');
        expect(await codeOf(connection.request('y'))).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        const end = closed(connection);
        connection.destroy();
        await end;
      });

      it('rejects after shutdown(), but what was asked before it is answered', async () => {
        const { near, far } = await stage.pair();
        const log = asked(far);
        const waiting = near.request('x');
        near.shutdown();
        expect(await codeOf(near.request('y'))).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        const [{ reply }] = (await log.reaches(1)) as [Asked];
        await stage.settle();
        expect(reply('z')).to.equal(true);
        expect(String(await waiting)).to.equal('z');
      });
    });

    describe('that cannot be made', () => {
      it('rejects beyond limits.maxRequests, and goes on when one has settled', async () => {
        const { near, far } = await stage.pair({ client: { limits: { maxRequests: 3 } } });
        const log = asked(far);
        const waiting = [1, 2, 3].map((i) => near.request(`${i}`));
        const error = await rejection(near.request('4'));
        expect(error.code).to.equal('ERR_REACTOR_TOO_MANY_REQUESTS');
        expect(error.message).to.match(/3 .*limits\.maxRequests/);
        const all = await log.reaches(3);
        all[1]?.reply('');
        await waiting[1];
        const next = near.request('5');
        await log.reaches(4);
        for (const { reply } of log.entries) if (!reply.isAnswered) reply('');
        await Promise.all([...waiting, next]);
        expect(log.entries.map(({ text }) => text)).to.deep.equal(['1', '2', '3', '5']);
      });

      it('allows 1,024 at once by default', async () => {
        const { near, far } = await stage.pair();
        const log = asked(far);
        const waiting = Array.from({ length: 1024 }, () => near.request(''));
        expect(await codeOf(near.request(''))).to.equal('ERR_REACTOR_TOO_MANY_REQUESTS');
        for (const { reply } of await log.reaches(1024)) reply('');
        await Promise.all(waiting);
      });

      it("rejects with codec 'raw'", async () => {
        const { near } = await stage.pair({ both: { codec: 'raw' } });
        const error = await rejection(near.request('x'));
        expect([error.code, error.message]).to.deep.equal([
          'ERR_REACTOR_UNSUPPORTED',
          "request(): only codec 'frame' carries requests",
        ]);
        expect(near.bufferedAmount).to.equal(0);
      });

      it('rejects what is no message, or too long, or has wrong options, and nothing is sent', async () => {
        const { near, far } = await stage.pair({ both: { limits: { maxFrameBytes: 1000 } } });
        far.on('request', (data, reply) => void reply(data));
        expect((await near.request(Buffer.alloc(994))).length).to.equal(994);
        const sent = near.bytesSent;
        const error = await rejection(near.request(Buffer.alloc(995)));
        expect([error.code, error.message]).to.deep.equal([
          'ERR_REACTOR_MESSAGE_TOO_LARGE',
          'request(): a message of 995 bytes; this connection takes 994 at most',
        ]);
        expect(await codeOf(near.request(5 as unknown as string))).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
        for (const wrong of [{ timeoutMs: 0 }, { timeout: 5 }, { signal: 5 }, null]) {
          const promise = near.request('x', wrong as unknown as { timeoutMs: number });
          expect(await codeOf(promise)).to.equal('ERR_REACTOR_INVALID_OPTION');
        }
        await near.flush();
        expect(near.bytesSent).to.equal(sent);
      });

      it("rejects with ERR_REACTOR_OVERFLOW where overflow is 'drop', and works again when there is room", async () => {
        const { connection, peer } = await stage.accepted({ overflow: 'drop', highWaterMark: MIB });
        let sent = 0;
        let dropped = 0;
        // Until the kernel takes no more of what waits: it would make room.
        for (let before = -1; connection.bufferedAmount !== before; ) {
          before = connection.bufferedAmount;
          for (dropped++; connection.droppedMessages < dropped; sent++) connection.send(Buffer.alloc(MIB));
          await stage.settle();
        }
        sent -= dropped;
        const error = await rejection(connection.request(Buffer.alloc(MIB)));
        expect(error.code).to.equal('ERR_REACTOR_OVERFLOW');
        expect(connection.droppedMessages).to.equal(dropped + 1);
        const frames = framesOf(peer);
        // And the hello.
        await frames.reaches(sent + 1);
        const answer = connection.request('x');
        const asking = (await frames.reaches(sent + 2)).at(-1);
        peer.write(frame(withId(asking?.body.readUInt32LE() as number, 'y'), RESPONSE));
        expect(String(await answer)).to.equal('y');
      });

      it("closes with 'backpressure' where overflow is 'close'", async () => {
        const { connection, peer } = await stage.accepted({ highWaterMark: MIB });
        const end = closed(connection);
        const asking: Promise<string | undefined>[] = [];
        while (connection.state === 'open') asking.push(codeOf(connection.request(Buffer.alloc(MIB))));
        expect(new Set(await Promise.all(asking)).size).to.equal(2);
        expect(
          (await asking.at(-1)) === 'ERR_REACTOR_OVERFLOW' || (await asking.at(-1)) === 'ERR_REACTOR_CONNECTION_CLOSED',
        ).to.equal(true);
        expect(await asking[0]).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        expect((await end).reason).to.equal('backpressure');
        await peer.count().gone;
      });
    });

    describe('answered', () => {
      it('twice throws, and says so; the first answer counts', async () => {
        const { near, far } = await stage.pair();
        const log = asked(far);
        const waiting = [near.request('1'), near.request('2'), near.request('3').catch(String)];
        const [one, two, three] = (await log.reaches(3)) as [Asked, Asked, Asked];
        expect(one.reply.isAnswered).to.equal(false);
        one.reply('first');
        two.reply('first');
        three.reply.fail('first');
        for (const { reply } of [one, two, three]) {
          expect(reply.isAnswered).to.equal(true);
          for (const again of [() => reply('second'), () => reply.fail('second')]) {
            expect(again).to.throw('answered already').with.property('code', 'ERR_REACTOR_ALREADY_ANSWERED');
          }
        }
        expect((await Promise.all(waiting)).map(String).join(' ')).to.match(/^first first .*first$/);
      });

      it('with what cannot be sent can still be answered', async () => {
        const { near, far } = await stage.pair({ both: { limits: { maxFrameBytes: 1000 } } });
        const log = asked(far);
        const waiting = near.request('x');
        const [{ reply }] = (await log.reaches(1)) as [Asked];
        expect(() => reply(5 as unknown as string))
          .to.throw()
          .with.property('code', 'ERR_REACTOR_INVALID_ARGUMENT');
        expect(() => reply(Buffer.alloc(995)))
          .to.throw()
          .with.property('code', 'ERR_REACTOR_MESSAGE_TOO_LARGE');
        expect(() => reply.fail('x'.repeat(995)))
          .to.throw()
          .with.property('code', 'ERR_REACTOR_MESSAGE_TOO_LARGE');
        expect(reply.isAnswered).to.equal(false);
        expect(reply(Buffer.alloc(994))).to.equal(true);
        expect((await waiting).length).to.equal(994);
      });

      it('above the high-water mark returns false, and is answered', async () => {
        const { near, far } = await stage.pair({ server: { highWaterMark: 1000 } });
        const log = asked(far);
        const waiting = near.request('x');
        const [{ reply }] = (await log.reaches(1)) as [Asked];
        const drained = next(far, 'drain');
        expect(reply(Buffer.alloc(5000))).to.equal(false);
        expect(reply.isAnswered).to.equal(true);
        expect((await waiting).length).to.equal(5000);
        await drained;
      });
    });

    describe('on a connection whose messages nobody takes', () => {
      it('waits while it is paused, with the messages, and comes when it is resumed', async () => {
        const { near, far } = await stage.pair();
        const log: string[] = [];
        far.on('message', (data) => log.push(`message ${data}`));
        far.on('request', (data, reply) => {
          log.push(`request ${data}`);
          reply('');
        });
        far.pause();
        near.send('1');
        const waiting = new Watched(near.request('2'));
        near.send('3');
        await stage.settle();
        expect([log, waiting.state]).to.deep.equal([[], 'pending']);
        far.resume();
        await waiting.promise;
        await until(() => log.length === 3);
        expect(log).to.have.members(['message 1', 'request 2', 'message 3']);
      });

      it('waits for its answer as long as this side is paused', async () => {
        const { near, far } = await stage.pair();
        answerAll(far);
        near.pause();
        await stage.settle();
        const waiting = new Watched(near.request('x'));
        await stage.settle();
        near.resume();
        expect(String(await waiting.promise)).to.equal('re:x');
      });

      it('comes though a message waits for a listener, which is dropped and counted', async () => {
        const { near, far } = await stage.pair();
        answerAll(far);
        near.send('nobody listens');
        expect(String(await near.request('x'))).to.equal('re:x');
        // Otherwise the io worker would have to keep everything behind it.
        const end = closed(far);
        near.shutdown();
        expect((await end).detail.unreadMessages).to.equal(1);
      });

      it('comes beside an iteration, also while that is at work', async () => {
        const { near, far } = await stage.pair();
        answerAll(far);
        for (let i = 0; i < 5; i++) near.send(`${i}`);
        const got: string[] = [];
        for await (const data of far) {
          got.push(data.toString());
          expect(String(await near.request(`in ${data}`))).to.equal(`re:in ${data}`);
          if (got.length === 5) near.shutdown();
        }
        expect(got).to.deep.equal(['0', '1', '2', '3', '4']);
      });

      it('can be kept until later when messages are borrowed', async () => {
        const { near, far } = await stage.pair({ both: { messages: 'borrow' } });
        far.pause();
        const requests = ['one', 'two', 'x'.repeat(100_000)];
        const waiting = requests.map((data) => near.request(data));
        await stage.settle();
        far.on('request', (data, reply) => void reply(data));
        far.resume();
        const answers = await Promise.all(waiting);
        // Answers are the application's to keep.
        for (let i = 0; i < 20; i++) await near.request(Buffer.alloc(60_000, '?'));
        expect(answers.map(String)).to.deep.equal(requests);
      });
    });

    describe('in front of an end', () => {
      it('is answered before server.close() ends the connection, however long that takes', async () => {
        const { server, near, far } = await stage.pair();
        const log = asked(far);
        const waiting = [near.request('1'), near.request('2')];
        await log.reaches(2);
        const end = closed(far);
        const closing = server.close({ drainMs: 20_000 });
        await stage.settle();
        log.entries[0]?.reply('a');
        expect(String(await waiting[0])).to.equal('a');
        expect(far.state).to.equal('open');
        log.entries[1]?.reply('b');
        expect(String(await waiting[1])).to.equal('b');
        expect((await end).reason).to.equal('server-close');
        await closing;
      });

      it('is answered before this side follows the end of the peer', async () => {
        const { connection, peer } = await stage.accepted();
        const log = asked(connection);
        const frames = framesOf(peer);
        const end = closed(connection);
        peer.write(Buffer.concat([frame(withId(7, '1'), REQUEST), frame(withId(8, '2'), REQUEST)])).end();
        await log.reaches(2);
        await stage.settle();
        expect(connection.state).to.equal('open');
        log.entries[1]?.reply('b');
        await frames.reaches(2);
        expect(connection.state).to.equal('open');
        log.entries[0]?.reply.fail('a');
        await peer.ended;
        expect(
          frames.entries.slice(1).map(({ kind, body }) => [kind, body.readUInt32LE(), body.toString('utf8', 4)]),
        ).to.deep.equal([
          [RESPONSE, 8, 'b'],
          [FAILED, 7, 'a'],
        ]);
        expect((await end).reason).to.equal('peer-end');
      });

      it('is cut with server.close() when drainMs is over', async () => {
        const { server, near, far } = await stage.pair();
        const log = asked(far);
        const waiting = codeOf(near.request('1'));
        await log.reaches(1);
        await server.close({ drainMs: 30 });
        expect(await waiting).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
        expect(log.entries[0]?.reply('late')).to.equal(false);
      });
    });

    describe('and a peer that is a plain socket', () => {
      it('has its id in front, which answers repeat', async () => {
        const { connection, peer } = await stage.accepted();
        const frames = framesOf(peer);
        const waiting = [connection.request('one'), connection.request('two').catch(String)];
        const [one, two] = (await frames.reaches(3)).slice(1);
        expect([one?.kind, one?.flags, one?.body.toString('utf8', 4)]).to.deep.equal([REQUEST, 0, 'one']);
        const ids = [one?.body.readUInt32LE() as number, two?.body.readUInt32LE() as number] as const;
        expect(ids[0]).not.to.equal(ids[1]);
        peer.write(Buffer.concat([frame(withId(ids[1], 'sorry'), FAILED), frame(withId(ids[0], 'yes'), RESPONSE)]));
        const [answer, failure] = await Promise.all(waiting);
        expect([String(answer), failure]).to.satisfy(([a, f]: string[]) => a === 'yes' && /sorry$/.test(f as string));
      });

      it('does not mind answers to nothing: unknown ids, other threads, and twice', async () => {
        const { connection, peer } = await stage.accepted();
        const messages = new Log<string>();
        connection.on('message', (data) => messages.add(data.toString()));
        const frames = framesOf(peer);
        const waiting = connection.request('one');
        const id = (await frames.reaches(2))[1]?.body.readUInt32LE() as number;
        const strangers = [id + 1, id - 1, 0, 2 ** 32 - 1, id ^ (1 << 27), id ^ (1 << 31)]
          .map((of) => of >>> 0)
          .filter((of) => of !== id);
        const nothings = strangers.flatMap((of) => [
          frame(withId(of, 'wrong'), RESPONSE),
          frame(withId(of, 'wrong'), FAILED),
          frame(withId(of, Buffer.alloc(100_000)), RESPONSE),
        ]);
        const right = frame(withId(id, 'right'), RESPONSE);
        peer.write(
          Buffer.concat([
            ...nothings,
            frame(withId(id, 'a message')),
            right,
            right,
            frame(withId(id, 'no'), FAILED),
            frame('z'),
          ]),
        );
        expect(String(await waiting)).to.equal('right');
        expect((await messages.reaches(2))[1]).to.equal('z');
        expect(connection.state).to.equal('open');
        expect(connection.messagesReceived).to.equal(2);
      });

      it('can have many answers cut into pieces that end anywhere', async () => {
        const { connection, peer } = await stage.accepted();
        const frames = framesOf(peer);
        const lengths = [3, 70_000, 0, 10, 300_000, 65_526, 65_527, 1];
        const waiting = lengths.map((_, i) => connection.request(`${i}`));
        const ids = (await frames.reaches(1 + lengths.length)).slice(1).map(({ body }) => body.readUInt32LE());
        const bytes = Buffer.concat(
          lengths.map((length, i) => frame(withId(ids[i] as number, pattern(length, i)), RESPONSE)),
        );
        for (let at = 0; at < bytes.length; at += 9973) {
          peer.write(bytes.subarray(at, at + 9973));
          if (at % 3 === 0) await stage.settle();
        }
        for (const [i, answer] of (await Promise.all(waiting)).entries()) {
          expect(answer.equals(pattern(lengths[i] as number, i)), `${i}`).to.equal(true);
        }
      });

      it('closes the connection for requests and answers without an id', async () => {
        for (const kind of [REQUEST, RESPONSE, FAILED]) {
          const { connection, peer } = await stage.accepted();
          const end = closed(connection);
          peer.write(frame('abc', kind));
          expect((await end).reason).to.equal('protocol-error');
          await peer.read().gone;
        }
      });

      it('may use the same id twice: each is answered', async () => {
        const { connection, peer } = await stage.accepted();
        answerAll(connection);
        const frames = framesOf(peer);
        peer.write(Buffer.concat([frame(withId(5, 'a'), REQUEST), frame(withId(5, 'b'), REQUEST)]));
        const answers = (await frames.reaches(3)).slice(1);
        expect(answers.map(({ body }) => body.toString('utf8', 4))).to.deep.equal(['re:a', 're:b']);
      });
    });

    it('settles each of 10,000 over 100 connections once, a third timing out, a third aborted', async function () {
      this.timeout(60_000);
      const server = await stage.listen();
      server.on('request', (_connection, data, reply) => {
        // Every third is answered late, or not at all.
        const number = Number(data);
        if (number % 3 === 0) setImmediate(() => reply(data));
        else if (number % 6 === 1) setTimeout(() => reply(data), 150);
      });
      const client = stage.client();
      const connections = await Promise.all(
        Array.from({ length: 100 }, () => client.connect({ host: HOST, port: server.address.port })),
      );
      const abort = new AbortController();
      const counts: Record<string, number> = {};
      const settled = new Log<number>();
      for (let i = 0; i < 10_000; i++) {
        const options = i % 3 === 1 ? { timeoutMs: 100 } : i % 3 === 2 ? { signal: abort.signal } : {};
        const note = (outcome: string): void => {
          counts[outcome] = (counts[outcome] ?? 0) + 1;
          settled.add(i);
        };
        (connections[i % 100] as TcpConnection).request(`${i}`, options).then(
          (answer) => note(Number(answer) === i ? 'answered' : 'wrong'),
          (error: ReactorError) => note(error.code),
        );
      }
      setTimeout(() => abort.abort(), 50);
      await settled.reaches(10_000);
      await stage.settle();
      expect(new Set(settled.entries).size).to.equal(10_000);
      expect(settled.entries.length).to.equal(10_000);
      const {
        answered = 0,
        ERR_REACTOR_REQUEST_TIMEOUT: timedOut = 0,
        ERR_REACTOR_ABORTED: aborted,
        ...others
      } = counts;
      expect(others).to.deep.equal({});
      expect(aborted).to.equal(3333);
      expect(answered).to.be.at.least(3334);
      expect(answered + timedOut).to.equal(6667);
      expect(getEventListeners(abort.signal, 'abort').length).to.equal(0);
    });
  });
}

describe('request()', () => {
  const stage = scene();

  it('is answered on a client connection that the server asks at once', async () => {
    const server = await stage.listen();
    const answer = nextConnection(server).then((far) => far.request('who are you?'));
    const client = stage.client();
    client.on('request', (_connection, _data, reply) => void reply('a client'));
    await client.connect({ host: HOST, port: server.address.port });
    expect(String(await answer)).to.equal('a client');
  });
});
