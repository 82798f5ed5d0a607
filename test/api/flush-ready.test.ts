import { expect } from 'chai';
import type { TcpConnection } from '../../src/index.js';
import { closed, Log, next, rejection, texts, until, untilWithoutYielding, Watched } from '../fixtures/events.js';
import type { RawPeer } from '../fixtures/raw-peer.js';
import { collectWarnings, readModes, scene } from '../fixtures/scene.js';

const MIB = 1024 * 1024;
/** More than the kernel takes of a connection whose peer does not read. */
const MUCH = 24;

/** Sends more than the kernel takes. */
function fill(connection: TcpConnection): void {
  for (let i = 0; i < MUCH; i++) connection.send(Buffer.alloc(MIB));
}

/** Sends until the kernel has taken all it takes, and something waits. */
const ROOMY = { highWaterMark: 2 * MIB };

/** Lets the peer read what there is, to the last byte. */
async function readAll(peer: RawPeer, bytes: number): Promise<void> {
  peer.count();
  await until(() => peer.received >= bytes);
}

for (const { name, options } of readModes) {
  describe(`flush(), ${name}`, () => {
    const stage = scene(options);

    it('resolves when the kernel has everything', async () => {
      const { connection, peer } = await stage.accepted();
      const received = peer.read().texts;
      connection.send('one');
      connection.send('two');
      await connection.flush();
      expect(connection.bufferedAmount).to.equal(0);
      expect(connection.bytesSent).to.equal(22 + 9 + 9);
      expect(await received.reaches(2)).to.deep.equal(['one', 'two']);
    });

    it('stays pending while the peer does not read, and resolves when it reads', async () => {
      const { connection, peer } = await stage.accepted(ROOMY);
      fill(connection);
      const flush = new Watched(connection.flush());
      await stage.settle();
      await stage.settle();
      expect(flush.state).to.equal('pending');
      expect(connection.bufferedAmount).to.be.greaterThan(MIB);

      peer.count();
      await flush.promise;
      expect(connection.bufferedAmount).to.equal(0);
      expect(connection.bytesSent).to.equal(22 + MUCH * (MIB + 6));
      await until(() => peer.received === 22 + MUCH * (MIB + 6));
    });

    it('is for what was sent before it, not for what comes later', async () => {
      const { connection, peer } = await stage.accepted(ROOMY);
      connection.send('early');
      const early = connection.flush();
      fill(connection);
      const late = new Watched(connection.flush());
      await early;
      expect(late.state).to.equal('pending');
      peer.count();
      await late.promise;
      expect(connection.bufferedAmount).to.equal(0);
    });

    it('several at once each wait for what was sent before them', async () => {
      const { connection, peer } = await stage.accepted(ROOMY);
      peer.count();
      const sent = new Log<string>();
      const flushes = Array.from({ length: 10 }, async (_, index) => {
        connection.send(Buffer.alloc(MIB));
        const atLeast = 22 + (index + 1) * (MIB + 6);
        await connection.flush();
        sent.add(connection.bytesSent >= atLeast ? 'in time' : `early: ${connection.bytesSent} of ${atLeast}`);
      });
      await Promise.all(flushes);
      expect(sent.entries).to.deep.equal(flushes.map(() => 'in time'));
      expect(connection.bufferedAmount).to.equal(0);
    });
  });
}

describe('flush()', () => {
  const stage = scene();

  it('resolves at once when there is nothing to send', async () => {
    const { near } = await stage.pair();
    await near.flush();
    await near.flush();
    expect(near.bufferedAmount).to.equal(0);
  });

  it('again and again finds bufferedAmount at 0, with whatever was sent', async () => {
    const { near, far } = await stage.pair();
    far.on('message', () => undefined);
    for (let round = 0; round < 200; round++) {
      near.send(Buffer.alloc((round * 7919) % 100_000));
      await near.flush();
      expect(near.bufferedAmount, `round ${round}`).to.equal(0);
    }
  });

  it('rejects with ERR_REACTOR_CONNECTION_CLOSED when the connection closes first, with the cause', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const flushes = [rejection(connection.flush()), rejection(connection.flush())];
    await stage.settle();
    peer.reset();
    for (const error of await Promise.all(flushes)) {
      expect(error.code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
      expect(error.message).to.include('peer-reset');
      expect((error.cause as { code?: string }).code).to.equal('ERR_REACTOR_CONNECTION_LOST');
    }
  });

  it('rejects with ERR_REACTOR_CONNECTION_CLOSED behind destroy(), and behind the end', async () => {
    const { connection } = await stage.accepted(ROOMY);
    fill(connection);
    const before = rejection(connection.flush());
    const end = closed(connection);
    connection.destroy();
    expect((await rejection(connection.flush())).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    expect((await before).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
    await end;
    expect((await rejection(connection.flush())).code).to.equal('ERR_REACTOR_CONNECTION_CLOSED');
  });

  it('resolves behind shutdown() if the kernel takes everything before the close', async () => {
    const { connection, peer } = await stage.accepted();
    peer.read();
    connection.send('last');
    connection.shutdown();
    await connection.flush();
    await peer.ended;
    expect(peer.texts.entries).to.deep.equal(['last']);
  });

  it('rejects with ERR_REACTOR_ABORTED when its signal is aborted, and only that one', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const why = new Error('enough');
    const controller = new AbortController();
    const first = new Watched(connection.flush());
    const aborted = rejection(connection.flush({ signal: controller.signal }));
    const last = new Watched(connection.flush());
    controller.abort(why);
    const error = await aborted;
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    expect(error.cause).to.equal(why);
    expect([first.state, last.state]).to.deep.equal(['pending', 'pending']);
    peer.count();
    await Promise.all([first.promise, last.promise]);
    expect(connection.state).to.equal('open');
  });

  it('rejects with ERR_REACTOR_ABORTED when its signal has been aborted before', async () => {
    const { near } = await stage.pair();
    const error = await rejection(near.flush({ signal: AbortSignal.abort() }));
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    await near.flush();
  });

  it('may wait many times with one signal: Node does not warn of a leak', async () => {
    const warnings = collectWarnings(stage);
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const { signal } = new AbortController();
    const flushes = Array.from({ length: 20 }, () => connection.flush({ signal }));
    const readies = Array.from({ length: 20 }, () => connection.ready({ signal }));
    peer.count();
    await Promise.all([...flushes, ...readies]);
    expect(warnings).to.deep.equal([]);
  });

  it('refuses a signal in place of its options', async () => {
    const { near } = await stage.pair();
    const { signal } = new AbortController();
    for (const wait of [near.flush(signal as never), near.ready(signal as never)]) {
      expect((await rejection(wait)).code).to.equal('ERR_REACTOR_INVALID_OPTION');
    }
  });

  it('leaves nothing on a signal that is never aborted, and ignores one that is aborted late', async () => {
    const { near } = await stage.pair();
    const controller = new AbortController();
    near.send('x');
    await near.flush({ signal: controller.signal });
    controller.abort();
    await near.flush();
  });

  it('is not resolved by the answer to one before it that was aborted', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    await connection.flush();
    const controller = new AbortController();
    // Its answer is under way when the next one begins.
    const aborted = rejection(connection.flush({ signal: controller.signal }));
    controller.abort();
    fill(connection);
    const flush = new Watched(connection.flush());
    await aborted;
    await stage.settle();
    await stage.settle();
    expect(connection.bufferedAmount).to.be.greaterThan(MIB);
    expect(flush.state).to.equal('pending');
    peer.count();
    await flush.promise;
    expect(connection.bufferedAmount).to.equal(0);
  });

  it('rejects a wrong option with ERR_REACTOR_INVALID_OPTION', async () => {
    const { near } = await stage.pair();
    const wrong = { signal: 'now' } as unknown as { signal: AbortSignal };
    expect((await rejection(near.flush(wrong))).code).to.equal('ERR_REACTOR_INVALID_OPTION');
    expect((await rejection(near.ready(wrong))).code).to.equal('ERR_REACTOR_INVALID_OPTION');
  });
});

describe('ready()', () => {
  const stage = scene();

  it('resolves with true at once below the low-water mark', async () => {
    const { near } = await stage.pair();
    expect(await near.ready()).to.equal(true);
    near.send('x');
    expect(await near.ready()).to.equal(true);
  });

  it('resolves with true once the peer has read enough', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const ready = new Watched(connection.ready());
    await stage.settle();
    expect(ready.state).to.equal('pending');
    peer.count();
    expect(await ready.promise).to.equal(true);
    // Half of the high-water mark.
    expect(connection.bufferedAmount).to.be.at.most(MIB);
  });

  it('resolves with true for everyone who waits', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const all = [connection.ready(), connection.ready(), connection.ready()];
    peer.count();
    expect(await Promise.all(all)).to.deep.equal([true, true, true]);
  });

  it('lets a loop send any amount without more than the high-water mark waiting', async () => {
    const { near, far } = await stage.pair({ both: { highWaterMark: 256 * 1024 } });
    let received = 0;
    far.on('message', (data) => {
      received += data.length;
    });
    let most = 0;
    for (let i = 0; i < 300; i++) {
      if (!near.send(Buffer.alloc(64 * 1024))) expect(await near.ready()).to.equal(true);
      most = Math.max(most, near.bufferedAmount);
    }
    await near.flush();
    await until(() => received === 300 * 64 * 1024);
    expect(most).to.be.at.most(256 * 1024 + 64 * 1024 + 6);
    expect(near.bufferedAmount).to.equal(0);
  });

  it("is not mistaken about a 'drain' that was on its way when more was sent", async () => {
    const highWaterMark = 64 * 1024;
    const { connection, peer } = await stage.accepted({ codec: 'raw', highWaterMark });
    const other = (await stage.accepted()).connection;
    const drained: number[] = [];
    connection.on('drain', () => drained.push(connection.bufferedAmount));
    // The kernel takes it at once.
    expect(connection.send(Buffer.alloc(highWaterMark + 1))).to.equal(false);
    untilWithoutYielding(() => connection.bufferedAmount === 0);
    // Behind the answer to that.
    other.send('next');
    untilWithoutYielding(() => other.bufferedAmount === 0);
    expect(connection.send(Buffer.alloc(MUCH * MIB))).to.equal(false);
    const ready = new Watched(connection.ready());
    await stage.settle();
    expect(ready.state).to.equal('pending');
    peer.count();
    expect(await ready.promise).to.equal(true);
    await until(() => drained.length > 0);
    expect(drained).to.have.length(1);
    expect(drained[0]).to.be.at.most(highWaterMark / 2);
  });

  it('resolves with false when the connection closes, and afterwards', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const waiting = [connection.ready(), connection.ready()];
    await stage.settle();
    peer.reset();
    expect(await Promise.all(waiting)).to.deep.equal([false, false]);
    expect(await connection.ready()).to.equal(false);
  });

  it('resolves with false behind shutdown()', async () => {
    const { connection } = await stage.accepted(ROOMY);
    connection.shutdown();
    expect(await connection.ready()).to.equal(false);
  });

  it('resolves with false when shutdown() comes while it waits: nothing can be sent any more', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const ready = connection.ready();
    connection.shutdown();
    peer.count();
    expect(await ready).to.equal(false);
  });

  it('rejects with ERR_REACTOR_ABORTED when its signal is aborted, and only that one', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    fill(connection);
    const why = new Error('enough');
    const controller = new AbortController();
    const stays = new Watched(connection.ready());
    const aborted = rejection(connection.ready({ signal: controller.signal }));
    controller.abort(why);
    const error = await aborted;
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
    expect(error.cause).to.equal(why);
    expect(stays.state).to.equal('pending');
    peer.count();
    expect(await stays.promise).to.equal(true);
  });

  it('rejects with ERR_REACTOR_ABORTED when it would wait and its signal has been aborted before', async () => {
    const { connection } = await stage.accepted(ROOMY);
    fill(connection);
    const error = await rejection(connection.ready({ signal: AbortSignal.abort() }));
    expect(error.code).to.equal('ERR_REACTOR_ABORTED');
  });
});

describe("'drain'", () => {
  const stage = scene();

  it('comes once after send() has answered false, however often it did, to the connection and to its server', async () => {
    const { server, connection, peer } = await stage.accepted(ROOMY);
    const drains = new Log<string>();
    connection.on('drain', () => drains.add(`connection ${connection.bufferedAmount <= MIB}`));
    server.on('drain', (of) => drains.add(`server ${of === connection}`));
    let refused = 0;
    for (let i = 0; i < MUCH; i++) if (!connection.send(Buffer.alloc(MIB))) refused++;
    expect(refused).to.be.greaterThan(2);
    await stage.settle();
    expect(drains.entries).to.deep.equal([]);

    peer.count();
    await connection.flush();
    await stage.settle();
    expect(drains.entries).to.deep.equal(['connection true', 'server true']);

    // And again.
    peer.socket.pause();
    for (let i = 0; i < MUCH; i++) connection.send(Buffer.alloc(MIB));
    peer.socket.resume();
    await drains.reaches(4);
    await connection.flush();
    await stage.settle();
    expect(drains.entries).to.have.length(4);
  });

  it('comes to the client of a connection', async () => {
    const { client, connection, peer } = await stage.connected(ROOMY);
    const drained = next<[TcpConnection]>(client, 'drain');
    fill(connection);
    peer.count();
    expect(await drained).to.deep.equal([connection]);
    await readAll(peer, 22 + MUCH * (MIB + 6));
  });

  it('does not come when send() has not answered false', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    const drains = new Log<string>();
    connection.on('drain', () => drains.add('drain'));
    for (let i = 0; i < 10; i++) expect(connection.send(Buffer.alloc(100_000))).to.equal(true);
    peer.count();
    await connection.flush();
    await stage.settle();
    expect(drains.entries).to.deep.equal([]);
  });

  it('comes while the connection is paused, too: reading and writing are two things', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    connection.pause();
    const drained = next(connection, 'drain');
    fill(connection);
    peer.count();
    await drained;
  });

  it('comes when the kernel has taken everything before the thread looked', async () => {
    const { near, far } = await stage.pair({ both: { highWaterMark: 1000 } });
    far.on('message', () => undefined);
    for (let round = 0; round < 100; round++) {
      const drained = next(near, 'drain');
      expect(near.send(Buffer.alloc(5000))).to.equal(false);
      await drained;
      expect(near.bufferedAmount).to.be.at.most(500);
    }
  });

  it('does not come for a connection that is not open any more', async () => {
    const { connection, peer } = await stage.accepted(ROOMY);
    const log = new Log<string>();
    connection.on('drain', () => log.add('drain'));
    fill(connection);
    connection.shutdown();
    peer.count().end();
    const { reason } = await closed(connection);
    expect(reason).to.be.oneOf(['local-shutdown', 'peer-end']);
    expect(log.entries).to.deep.equal([]);
  });
});

describe("overflow: 'drop'", () => {
  const stage = scene();

  it('drops what would make more than 16 x highWaterMark wait, counts it, and leaves the rest alone', async () => {
    const { connection, peer } = await stage.accepted({ overflow: 'drop', highWaterMark: 512 * 1024 });
    await connection.flush();
    const received = texts(connection);
    let accepted = 0;
    for (let i = 0; i < 40; i++) {
      const before = connection.droppedMessages;
      connection.send(Buffer.alloc(MIB));
      if (connection.droppedMessages === before) accepted++;
    }
    expect(accepted).to.be.within(7, 39);
    expect(connection.droppedMessages).to.equal(40 - accepted);
    expect(connection.state).to.equal('open');
    await readAll(peer, 22 + accepted * (MIB + 6));
    await connection.flush();
    expect(peer.received).to.equal(22 + accepted * (MIB + 6));
    peer.send('fine');
    expect(await received.reaches(1)).to.deep.equal(['fine']);
  });
});
