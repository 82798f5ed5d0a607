import { once } from 'node:events';
import { expect } from 'chai';
import type { MessageInfo, TcpConnection } from '../../src/index.js';
import { Child } from '../fixtures/child.js';
import { closed, Log, next, rejection, story, texts, until, untilWithoutYielding } from '../fixtures/events.js';
import { frame } from '../fixtures/raw-peer.js';
import { HOST, pattern, readModes, scene } from '../fixtures/scene.js';

const MIB = 1024 * 1024;

const numbers = (count: number): string[] => Array.from({ length: count }, (_, index) => String(index));

for (const { name, options } of readModes) {
  describe(`receiving, ${name}`, () => {
    const stage = scene(options);

    it("tells 'message' to the listeners of the server and of the connection, with who and what", async () => {
      const { server, connection, peer } = await stage.accepted();
      const log = new Log<string>();
      server.on('message', (from, data, info: MessageInfo) => {
        log.add(`server ${from.id === connection.id} ${data.toString()} ${info.redelivered}`);
      });
      connection.on('message', (data, info) => log.add(`connection ${data.toString()} ${info.redelivered}`));
      peer.send('a', 'b');
      expect(await log.reaches(4)).to.deep.equal([
        'server true a false',
        'connection a false',
        'server true b false',
        'connection b false',
      ]);
    });

    it('gives the same to the listeners of a client', async () => {
      const { client, connection, peer } = await stage.connected();
      const log = new Log<string>();
      client.on('message', (from, data) => log.add(`client ${from === connection} ${data.toString()}`));
      connection.on('message', (data) => log.add(`connection ${data.toString()}`));
      peer.send('a');
      expect(await log.reaches(2)).to.deep.equal(['client true a', 'connection a']);
    });

    it('puts together what comes in single bytes, and takes apart what comes in one piece', async () => {
      const { connection, peer } = await stage.accepted();
      const received = texts(connection);
      const bytes = Buffer.concat([frame('in'), frame(''), frame('single bytes')]);
      for (const [index, byte] of bytes.entries()) {
        peer.write(Buffer.from([byte]));
        await until(() => connection.bytesReceived === index + 1);
      }
      peer.send(...numbers(500));
      expect(await received.reaches(503)).to.deep.equal(['in', '', 'single bytes', ...numbers(500)]);
    });

    it("passes the bytes on as they come with codec 'raw'", async () => {
      const { connection, peer } = await stage.accepted({ codec: 'raw' });
      const received: Buffer[] = [];
      connection.on('message', (data) => received.push(data));
      const end = closed(connection);
      const bytes = pattern(3 * MIB, 4);
      peer.write(bytes).end();
      expect((await end).reason).to.equal('peer-end');
      expect(Buffer.concat(received).equals(bytes)).to.equal(true);
    });

    it('loses nothing while nobody listens, however much comes, and stops reading the socket', async () => {
      const { connection, peer } = await stage.accepted();
      const message = pattern(10_000, 1);
      const { readPauses } = stage.reactor.stats();
      peer.send(...Array.from({ length: 2000 }, () => message));
      await until(() => stage.reactor.stats().readPauses > readPauses);
      await stage.settle();
      await stage.settle();
      expect(connection.bytesReceived, 'bytes read by the io worker').to.be.lessThan(3 * MIB);
      expect(peer.socket.writableLength, 'bytes that wait at the peer').to.be.greaterThan(0);

      const received = new Log<boolean>();
      connection.on('message', (data) => received.add(data.equals(message)));
      await received.reaches(2000);
      expect(received.entries.every((same) => same)).to.equal(true);
    });

    it('pause() is strict: after it has returned no message comes until resume()', async () => {
      const { connection, peer } = await stage.accepted();
      const log = new Log<string>();
      connection.on('message', (data) => {
        log.add(data.toString());
        // In the middle of a batch.
        if (log.entries.length % 3 === 0) connection.pause();
      });
      const sent = numbers(10);
      peer.send(...sent);
      untilWithoutYielding(() => connection.messagesReceived === sent.length);
      for (let count = 3; count <= 9; count += 3) {
        await log.reaches(count);
        expect(connection.isPaused()).to.equal(true);
        await stage.settle();
        expect(log.entries).to.deep.equal(sent.slice(0, count));
        connection.resume();
        expect(connection.isPaused()).to.equal(false);
        expect(log.entries, 'resume() does not call handlers itself').to.have.length(count);
      }
      expect(await log.reaches(10)).to.deep.equal(sent);
    });

    it('stops reading the socket of a paused connection, and goes on where it was', async () => {
      const { connection, peer } = await stage.accepted();
      const received = texts(connection);
      connection.pause();
      await stage.settle();
      const sent = Array.from({ length: 500 }, (_, index) => String(index).padEnd(20_000, '.'));
      peer.send(...sent);
      await stage.settle();
      await stage.settle();
      expect(received.entries).to.have.length(0);
      expect(connection.bytesReceived).to.be.lessThan(MIB);
      connection.resume();
      expect(await received.reaches(500)).to.deep.equal(sent);
    });

    it("keeps 'end' and 'close' behind the messages of a paused connection", async () => {
      const { connection, peer } = await stage.accepted();
      const log = story(connection);
      peer.send('1', '2').end();
      connection.pause();
      await stage.settle();
      expect(log.entries).to.deep.equal([]);
      connection.resume();
      peer.read();
      expect(await log.reaches(4)).to.deep.equal(['message:1', 'message:2', 'end', 'close:peer-end']);
    });
  });
}

describe('receiving', () => {
  const stage = scene();

  it("in mode 'copy' gives messages that stay what they are", async () => {
    const { connection, peer } = await stage.accepted({ messages: 'copy' });
    const kept: Buffer[] = [];
    const all = new Promise<void>((resolve) => {
      connection.on('message', (data) => {
        if (kept.push(data) === 500) resolve();
      });
    });
    // Several times what the ring holds.
    for (let index = 0; index < 500; index++) peer.send(pattern(10_000 + index, index));
    await all;
    expect(kept.findIndex((data, index) => !data.equals(pattern(10_000 + index, index)))).to.equal(-1);
    const data = kept[0] as Buffer;
    data.fill(0);
    expect(kept[1]?.equals(pattern(10_001, 1)), 'writing into one does not change another').to.equal(true);
  });

  describe("in mode 'borrow'", () => {
    it('gives messages that are right while the handler runs, of every size', async () => {
      const { connection, peer } = await stage.accepted({ messages: 'borrow' });
      const sizes = [0, 1, 7, 8, 100, 65_529, 65_530, 65_531, 300_000, 3 * MIB, 5, 70_000, 64];
      const log = new Log<string>();
      connection.on('message', (data) => {
        const index = log.entries.length;
        log.add(data.equals(pattern(sizes[index] as number, index)) ? 'right' : `wrong: ${data.length} bytes`);
      });
      for (const [index, size] of sizes.entries()) peer.send(pattern(size, index));
      expect(await log.reaches(sizes.length)).to.deep.equal(sizes.map(() => 'right'));
    });

    it("gives right messages also with codec 'raw'", async () => {
      const { connection, peer } = await stage.accepted({ messages: 'borrow', codec: 'raw' });
      const bytes = pattern(2 * MIB, 6);
      let at = 0;
      let wrong = 0;
      connection.on('message', (data) => {
        if (!data.equals(bytes.subarray(at, at + data.length))) wrong++;
        at += data.length;
      });
      const end = closed(connection);
      peer.write(bytes).end();
      await end;
      expect([at, wrong]).to.deep.equal([bytes.length, 0]);
    });

    it('gives views of the ring itself: no copy has been made', async () => {
      const { connection, peer } = await stage.accepted({ messages: 'borrow' });
      peer.send('x');
      const [data] = await next<[Buffer]>(connection, 'message');
      expect(data.buffer).to.be.instanceOf(SharedArrayBuffer);
    });

    it('copies messages that have to wait: paused, without a listener, or iterated', async () => {
      const { connection, peer } = await stage.accepted({ messages: 'borrow' });
      const expected = Array.from({ length: 300 }, (_, index) => pattern(20_000, index));
      const kept: Buffer[] = [];
      const take = (data: Buffer): void => {
        kept.push(data);
      };
      // Without a listener.
      peer.send(...expected.slice(0, 10));
      await until(() => connection.messagesReceived === 10);
      await stage.settle();
      connection.once('message', take);
      await stage.settle();
      expect(kept).to.have.length(1);
      // Paused.
      connection.pause();
      connection.on('message', take);
      await stage.settle();
      expect(kept).to.have.length(1);
      connection.resume();
      await until(() => kept.length === 10);
      connection.off('message', take);
      // Iterated. What was kept before is several times overwritten in the ring.
      peer.send(...expected.slice(10));
      for await (const data of connection) {
        if (kept.push(data) === 300) break;
      }
      expect(kept.findIndex((data, index) => !data.equals(expected[index] as Buffer))).to.equal(-1);
    });
  });

  describe('by once()', () => {
    it('loses nothing between one listener and the next', async () => {
      const { connection, peer } = await stage.accepted();
      const sent = numbers(200);
      peer.send(...sent);
      const seen: string[] = [];
      for (let index = 0; index < sent.length; index++) {
        const [data] = (await once(connection, 'message')) as [Buffer];
        seen.push(data.toString());
      }
      expect(seen).to.deep.equal(sent);
    });

    it('loses nothing when a handler adds the next listener itself', async () => {
      const { connection, peer } = await stage.accepted();
      const log = new Log<string>();
      const take = (data: Buffer): void => {
        log.add(data.toString());
        connection.once('message', take);
      };
      connection.once('message', take);
      peer.send(...numbers(100));
      expect(await log.reaches(100)).to.deep.equal(numbers(100));
    });

    it('loses nothing when all listeners are removed and others added, in whichever way', async () => {
      const { server, connection, peer } = await stage.accepted();
      const log = new Log<string>();
      const ways = ['on', 'addListener', 'prependListener', 'once', 'prependOnceListener'] as const;
      for (const [index, way] of ways.entries()) {
        const message = `${way} ${index}`;
        connection.removeAllListeners();
        server.removeAllListeners();
        peer.send(message);
        await until(() => connection.messagesReceived === 2 * index + 1);
        connection[way]('message', (data) => log.add(`connection ${data.toString()}`));
        expect((await log.reaches(2 * index + 1)).at(-1)).to.equal(`connection ${message}`);
        connection.removeAllListeners();
        peer.send(message);
        await until(() => connection.messagesReceived === 2 * index + 2);
        server[way]('message', (_, data) => log.add(`server ${data.toString()}`));
        expect((await log.reaches(2 * index + 2)).at(-1)).to.equal(`server ${message}`);
      }
    });

    it('loses nothing when listeners take turns, on the connection and on the server', async () => {
      const { server, connection, peer } = await stage.accepted();
      const sent = numbers(50);
      peer.send(...sent);
      await until(() => connection.messagesReceived === 50);
      const seen: string[] = [];
      for (let index = 0; index < sent.length; index++) {
        const args = (await (index % 2 === 0 ? once(server, 'message') : once(connection, 'message'))) as unknown[];
        seen.push(String(args.find((arg) => Buffer.isBuffer(arg))));
      }
      expect(seen).to.deep.equal(sent);
    });
  });

  it("gives what has waited to a 'message' listener that the server gets later", async () => {
    const { server, peer } = await stage.accepted();
    peer.send('1', '2');
    await stage.settle();
    const log = new Log<string>();
    server.on('message', (_connection, data) => log.add(data.toString()));
    expect(await log.reaches(2)).to.deep.equal(['1', '2']);
  });

  it("does not hold 'end' and 'close' up for messages that nobody listens for; an iteration still gets them", async () => {
    const { connection, peer } = await stage.accepted();
    const end = closed(connection);
    peer.send('1', '2').end();
    const { reason, detail } = await end;
    expect(reason).to.equal('peer-end');
    expect(detail.unreadMessages).to.equal(2);
    // 'close' is the last event: a listener comes too late.
    const late = texts(connection);
    await stage.settle();
    expect(late.entries).to.deep.equal([]);
    const seen: string[] = [];
    for await (const data of connection) seen.push(data.toString());
    expect(seen).to.deep.equal(['1', '2']);
  });

  it('drops messages that nobody listens for after resume()', async () => {
    const { connection, peer } = await stage.accepted();
    peer.send('1', '2');
    await until(() => connection.messagesReceived === 2);
    connection.resume();
    await stage.settle();
    const log = texts(connection);
    peer.send('3');
    expect(await log.reaches(1)).to.deep.equal(['3']);
  });

  it('brings nothing more behind destroy(), not even what is in the same batch', async () => {
    const { connection, peer } = await stage.accepted();
    const log = story(connection);
    connection.on('message', () => connection.destroy());
    peer.send('1', '2', '3');
    await log.reaches(2);
    await stage.settle();
    expect(log.entries).to.deep.equal(['message:1', 'close:local-destroy']);
  });

  it("destroy() brings 'close' also to a connection that is paused and that the peer has closed", async () => {
    const { connection, peer } = await stage.accepted();
    const log = story(connection);
    // A paused socket is not read: the reset is noticed by writing.
    connection.pause();
    peer.reset();
    await until(() => {
      connection.send('anything');
      return connection.state === 'closed';
    });
    await stage.settle();
    connection.destroy();
    await stage.settle();
    expect(log.entries).to.deep.equal(['close:peer-reset']);
  });

  it("destroy() brings 'close' also if the peer has closed just now and nobody has been told", async () => {
    const { connection, peer } = await stage.accepted();
    const log = story(connection);
    connection.pause();
    peer.reset();
    untilWithoutYielding(() => {
      connection.send('anything');
      return connection.state === 'closed';
    });
    connection.destroy();
    await stage.settle();
    expect(log.entries).to.deep.equal(['close:peer-reset']);
  });

  describe("the peer's end", () => {
    it('lets an answer out that is sent from within the handler of a request that came with the FIN', async () => {
      const server = await stage.listen();
      server.on('message', (connection, data) => void connection.send(`answer to ${data.toString()}`));
      for (let round = 0; round < 20; round++) {
        const peer = await stage.connectRaw(server.address.port);
        peer.read().send('request').end();
        await peer.ended;
        expect(peer.texts.entries, `round ${round}`).to.deep.equal(['answer to request']);
        await peer.closed;
      }
    });

    it('lets a long answer out whole', async () => {
      const server = await stage.listen({ highWaterMark: 32 * MIB });
      server.on('message', (connection) => {
        for (let index = 0; index < 8; index++) connection.send(pattern(MIB, index));
      });
      const peer = await stage.connectRaw(server.address.port);
      peer.count().send('request').end();
      await peer.ended;
      expect(peer.received).to.equal(22 + 8 * (MIB + 6));
    });

    it('lets an answer out that an iterating consumer sends, although the FIN came while it was thinking', async () => {
      const { connection, peer } = await stage.accepted();
      const sent: boolean[] = [];
      peer.read().send('request');
      const iteration = (async () => {
        for await (const data of connection) {
          peer.end();
          await stage.settle();
          await stage.settle();
          sent.push(connection.send(`answer to ${data.toString()}`));
        }
      })();
      await peer.ended;
      await iteration;
      expect(peer.texts.entries).to.deep.equal(['answer to request']);
      expect(sent).to.deep.equal([true]);
    });

    it("with allowHalfOpen: false ends this side, too; send() in the handler of 'end' returns false", async () => {
      const { connection, peer } = await stage.accepted();
      const log = new Log<string>();
      connection.on('end', () => log.add(`end ${connection.send('too late')}`));
      connection.on('close', (reason) => log.add(`close ${reason}`));
      peer.read().end();
      await peer.ended;
      expect(await log.reaches(2)).to.deep.equal(['end false', 'close peer-end']);
      expect(peer.texts.entries).to.deep.equal([]);
    });

    it('with allowHalfOpen: true leaves this side open until shutdown()', async () => {
      const { connection, peer } = await stage.accepted({ allowHalfOpen: true });
      const log = story(connection);
      peer.read().send('request').end();
      await log.reaches(2);
      expect(log.entries).to.deep.equal(['message:request', 'end']);
      await stage.settle();
      expect(connection.state).to.equal('open');
      expect(connection.send('answer')).to.equal(true);
      expect(await peer.texts.reaches(1)).to.deep.equal(['answer']);
      connection.shutdown();
      await peer.ended;
      expect(await log.reaches(3)).to.deep.equal(['message:request', 'end', 'close:peer-end']);
    });

    it('with allowHalfOpen: true on a client works the same way', async () => {
      const { connection, peer } = await stage.connected({ allowHalfOpen: true });
      const log = story(connection);
      peer.read().end();
      await log.reaches(1);
      expect(connection.send('still')).to.equal(true);
      expect(await peer.texts.reaches(1)).to.deep.equal(['still']);
      connection.shutdown();
      await peer.ended;
      expect(await log.reaches(2)).to.deep.equal(['end', 'close:peer-end']);
    });

    it('is reached behind shutdown() also by a paused connection, which reads on within bounds', async () => {
      const { connection, peer } = await stage.accepted();
      const received = new Log<boolean>();
      const expected = Array.from({ length: 400 }, (_, index) => pattern(50_000, index));
      connection.on('message', (data) => received.add(data.equals(expected[received.entries.length] as Buffer)));
      const end = closed(connection);
      connection.pause();
      connection.shutdown();
      await peer.read().ended;
      const { readPauses } = stage.reactor.stats();
      peer.send(...expected).end();
      await until(() => stage.reactor.stats().readPauses > readPauses);
      await stage.settle();
      expect(received.entries).to.deep.equal([]);
      expect(connection.bytesReceived).to.be.lessThan(5 * MIB);
      connection.resume();
      expect(await end).to.deep.equal({ reason: 'local-shutdown', detail: { unsentBytes: 0, unreadMessages: 0 } });
      expect(received.entries).to.deep.equal(expected.map(() => true));
    });

    it("is not told when this side has ended first and the peer has not; it comes before 'close'", async () => {
      const { connection, peer } = await stage.accepted();
      const log = story(connection);
      connection.shutdown();
      await peer.read().ended;
      await stage.settle();
      expect(log.entries).to.deep.equal([]);
      // It may still be sent to.
      peer.send('last words').end();
      expect(await log.reaches(3)).to.deep.equal(['message:last words', 'end', 'close:local-shutdown']);
    });
  });

  describe('with for await', () => {
    it('gives the messages in order and ends with the connection', async () => {
      const { connection, peer } = await stage.accepted();
      const sent = numbers(1000);
      peer
        .read()
        .send(...sent)
        .end();
      const seen: string[] = [];
      for await (const data of connection) seen.push(data.toString());
      expect(seen).to.deep.equal(sent);
      await peer.ended;
    });

    it("takes messages away from 'message' listeners while it runs", async () => {
      const { server, connection, peer } = await stage.accepted();
      const others = texts(connection);
      server.on('message', (_connection, data) => others.add(data.toString()));
      const seen: string[] = [];
      const iteration = (async () => {
        for await (const data of connection) {
          seen.push(data.toString());
          if (seen.length === 2) break;
        }
      })();
      peer.send('1', '2', '3');
      await iteration;
      expect(seen).to.deep.equal(['1', '2']);
      expect(await others.reaches(2)).to.deep.equal(['3', '3']);
    });

    it('leaves the connection open on break, and the next loop goes on behind it', async () => {
      const { connection, peer } = await stage.accepted();
      peer.send(...numbers(30));
      const seen: string[] = [];
      for (let loop = 0; loop < 3; loop++) {
        let count = 0;
        for await (const data of connection) {
          seen.push(data.toString());
          if (++count === 10) break;
        }
        expect(connection.state).to.equal('open');
      }
      expect(seen).to.deep.equal(numbers(30));
    });

    it('ends quietly when this side shuts down, destroys, or closes the server', async () => {
      const ends: ((connection: TcpConnection) => unknown)[] = [
        (connection) => connection.shutdown(),
        (connection) => connection.destroy(),
      ];
      for (const end of ends) {
        const { connection, peer } = await stage.accepted();
        peer.read().send('1');
        void peer.ended.then(() => peer.end());
        const seen: string[] = [];
        for await (const data of connection) {
          seen.push(data.toString());
          end(connection);
        }
        expect(seen).to.deep.equal(['1']);
      }
      const { server, connection, peer } = await stage.accepted();
      peer.read().send('1');
      void peer.ended.then(() => peer.end());
      let closing: Promise<unknown> | undefined;
      for await (const data of connection) {
        expect(data.toString()).to.equal('1');
        closing = server.close();
      }
      await closing;
    });

    it('throws ERR_REACTOR_CONNECTION_CLOSED with the cause if the connection breaks, behind the messages', async () => {
      const { connection, peer } = await stage.accepted();
      peer.send('1', '2');
      await until(() => connection.messagesReceived === 2);
      peer.reset();
      const seen: string[] = [];
      const error = await rejection(
        (async () => {
          for await (const data of connection) seen.push(data.toString());
        })(),
      );
      expect(seen).to.deep.equal(['1', '2']);
      expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
      expect(error.message).to.include('peer-reset');
      expect((error.cause as { code?: string }).code).to.equal('ERR_REACTOR_CONNECTION_LOST');
    });

    it('throws the same when the loop begins after the connection has broken', async () => {
      const { connection, peer } = await stage.accepted();
      peer.send('1');
      await until(() => connection.messagesReceived === 1);
      const end = closed(connection);
      peer.reset();
      await end;
      const seen: string[] = [];
      const error = await rejection(
        (async () => {
          for await (const data of connection) seen.push(data.toString());
        })(),
      );
      expect(seen).to.deep.equal(['1']);
      expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    });

    it('ends at once when the loop begins after the connection has ended, behind the messages', async () => {
      const { connection, peer } = await stage.accepted();
      const end = closed(connection);
      peer.send('1', '2').end();
      await end;
      const seen: string[] = [];
      for await (const data of connection) seen.push(data.toString());
      expect(seen).to.deep.equal(['1', '2']);
    });

    it('may wait for the close of its own connection in the loop', async () => {
      const { connection, peer } = await stage.accepted();
      void peer.read().ended.then(() => peer.end());
      peer.send('last request');
      const reasons: string[] = [];
      for await (const data of connection) {
        connection.send(`answer to ${data.toString()}`);
        connection.shutdown();
        const { reason } = await closed(connection);
        reasons.push(reason);
      }
      expect(reasons).to.deep.equal(['local-shutdown']);
      expect(peer.texts.entries).to.deep.equal(['answer to last request']);
    });

    it('respects pause() and resume()', async () => {
      const { connection, peer } = await stage.accepted();
      const seen = new Log<string>();
      connection.pause();
      const iteration = (async () => {
        for await (const data of connection) {
          seen.add(data.toString());
          if (seen.entries.length === 1) connection.pause();
        }
      })();
      peer.read().send('1', '2');
      await stage.settle();
      expect(seen.entries).to.deep.equal([]);
      connection.resume();
      await seen.reaches(1);
      await stage.settle();
      expect(seen.entries).to.deep.equal(['1']);
      connection.resume();
      await seen.reaches(2);
      peer.end();
      await iteration;
    });

    it('pushes back on a peer that sends 20 MiB to a slow consumer: bounded memory, nothing lost', async () => {
      const { connection, peer } = await stage.accepted();
      const count = 400;
      const size = 52_429;
      const { readPauses } = stage.reactor.stats();
      for (let index = 0; index < count; index++) peer.send(pattern(size, index));
      peer.end();
      let index = 0;
      let most = 0;
      let wrong = 0;
      for await (const data of connection) {
        if (!data.equals(pattern(size, index))) wrong++;
        index++;
        if (index === 1) await until(() => stage.reactor.stats().readPauses > readPauses);
        if (index % 20 === 1) await stage.settle();
        most = Math.max(most, connection.bytesReceived - index * (size + 6));
      }
      expect([index, wrong]).to.deep.equal([count, 0]);
      // 256 KiB in the queue, an event ring of 1 MiB, and what is read until the io worker hears of it.
      expect(most).to.be.within(1, 5 * MIB);
    });

    it('pushes back with messages that are longer than the queue and the ring', async () => {
      const { connection, peer } = await stage.accepted();
      for (let index = 0; index < 10; index++) peer.send(pattern(2 * MIB, index));
      peer.end();
      let index = 0;
      let most = 0;
      for await (const data of connection) {
        expect(data.equals(pattern(2 * MIB, index))).to.equal(true);
        index++;
        await stage.settle();
        most = Math.max(most, connection.bytesReceived - index * (2 * MIB + 6));
      }
      expect(index).to.equal(10);
      expect(most).to.be.lessThan(6 * MIB);
    });
  });

  it('goes to each of many connections of one server in its own order', async () => {
    const server = await stage.listen();
    const seen = new Map<number, string[]>();
    const log = new Log<number>();
    server.on('message', (connection, data) => {
      const mine = seen.get(connection.id) ?? [];
      mine.push(data.toString());
      seen.set(connection.id, mine);
      log.add(1);
    });
    const client = stage.client();
    const connections = await Promise.all(
      Array.from({ length: 20 }, () => client.connect({ host: HOST, port: server.address.port })),
    );
    for (const text of numbers(100)) for (const connection of connections) connection.send(text);
    await log.reaches(2000);
    expect([...seen.values()]).to.deep.equal(connections.map(() => numbers(100)));
  });
});

describe('two loops over one connection', () => {
  it('get each message once, between them, and leave the thread to others', async () => {
    // In a process of its own, which can be killed if it does nothing else any more.
    const child = new Child('two-loops');
    try {
      await child.lines.reaches(1);
      expect(child.lines.entries).to.deep.equal(['1 2 3 4']);
    } finally {
      await child.kill();
    }
  });
});

describe('a handler that throws', () => {
  const children: Child[] = [];

  afterEach(async () => {
    for (const child of children.splice(0)) await child.kill();
  });

  async function run(...args: string[]): Promise<string[]> {
    const child = new Child('throwing-handler', ...args);
    children.push(child);
    const { lines, code, stderr } = await child.end();
    expect(stderr).to.equal('');
    expect(code, lines.join('\n')).to.equal(0);
    return lines;
  }

  const batch = [
    'message good 1',
    'message bad 2',
    'uncaught bad 2',
    'message good 3',
    'message bad 4',
    'uncaught bad 4',
    'message bad 5',
    'uncaught bad 5',
    'message good 6',
    'end',
  ];

  it('surfaces as an uncaughtException, and the next messages still arrive, once each and in order', async () => {
    const lines = await run('message');
    expect(lines.slice(0, batch.length)).to.deep.equal(batch);
    expect(lines.slice(batch.length)).to.have.members(['peer sees the end', 'close peer-end', 'over']);
  });

  it('hides no error of another handler of the same event', async () => {
    expect((await run('both')).filter((line) => line.startsWith('uncaught'))).to.have.members([
      'uncaught message of the server',
      'uncaught message of the connection',
      'uncaught end of the server',
      'uncaught end of the connection',
    ]);
  });

  it('does the same when the messages have waited in a paused connection', async () => {
    const lines = await run('paused-message');
    expect(lines.slice(0, batch.length)).to.deep.equal(batch);
  });

  it("does not hold back 'end' and 'close' that wait behind its message", async () => {
    const lines = await run('last-message');
    expect(lines.slice(0, 4)).to.deep.equal(['message good 1', 'message bad 2', 'uncaught bad 2', 'end']);
    expect(lines[4]).to.match(/^close /);
  });

  it('may be one of the server', async () => {
    const lines = await run('server-message');
    expect(lines.slice(0, 3)).to.deep.equal(['server bad 1', 'uncaught bad 1', 'server good 2']);
    expect(lines.at(-1)).to.equal('over');
  });

  it("of 'connection' does not keep the connection from being served", async () => {
    const lines = await run('connection');
    expect(lines.slice(0, 4)).to.deep.equal([
      'uncaught in connection handler',
      'message good 1',
      'message good 2',
      'end',
    ]);
  });

  it("of a client's 'connection' does not keep connect() from resolving", async () => {
    const lines = await run('client-connection');
    expect(lines).to.deep.equal(['uncaught in connection handler', 'message good 1', 'end', 'close peer-end', 'over']);
  });

  it("of 'end' does not hold back 'close'", async () => {
    const lines = await run('end');
    expect(lines.slice(0, 3)).to.deep.equal(['message good 1', 'end', 'uncaught in end handler']);
    expect(lines[3]).to.match(/^close /);
  });

  for (const [way, reason] of [
    ['server', 'server-close'],
    ['destroy', 'reactor-close'],
    ['crash', 'io-worker-crash'],
  ] as const) {
    it(`of 'close' does not keep other connections from hearing of their end by ${way}, nor anybody else`, async () => {
      const lines = await run('close', way);
      const count = (text: string): number => lines.filter((line) => line === text).length;
      expect(count(`close ${reason}`), lines.join('\n')).to.equal(3);
      expect(count(`disconnect ${reason}`)).to.equal(3);
      expect(count('uncaught in close handler') + count('thrown in close handler')).to.equal(3);
      expect(count('error ERR_REACTOR_IO_WORKER_CRASH')).to.equal(way === 'crash' ? 1 : 0);
      expect(lines).to.include('done').and.to.include('over');
    });
  }

  it("of an iteration is its caller's, and the next loop goes on behind it", async () => {
    const lines = await run('iteration');
    expect(lines.slice(0, 4)).to.deep.equal(['message 1', 'message bad 2', 'caught bad 2', 'message 3']);
  });
});
