import { expect } from 'chai';
import type { HeartbeatOptions, ReactorError } from '../../src/index.js';
import { closed, Log, next, nextConnection, until } from '../fixtures/events.js';
import { frame, framesOf, HELLO } from '../fixtures/raw-peer.js';
import { HOST, scene } from '../fixtures/scene.js';

const PING = 1;
const PONG = 2;
const BUSY = 4;

describe('heartbeat', () => {
  const stage = scene();
  const quick: HeartbeatOptions = { intervalMs: 20, timeoutMs: 60_000 };

  it('asks the peer when nothing comes, and has the round-trip time where every thread can read it', async () => {
    const { near, far } = await stage.pair({ server: { heartbeat: quick } });
    await until(() => far.rttMs !== undefined);
    expect(far.rttMs).to.be.within(0.001, 10_000);
    expect(near.rttMs, 'of the side that has none').to.equal(undefined);
    expect(stage.reactor.connection(far.id).rttMs).to.be.greaterThan(0);
    const end = closed(far);
    near.destroy();
    await end;
    expect(far.rttMs, 'behind the close').to.be.greaterThan(0);
  });

  it('counts pings, and how late they were', async () => {
    const before = stage.reactor.stats().pings;
    const { near } = await stage.pair({ client: { heartbeat: quick } });
    await until(() => stage.reactor.stats().pings >= before + 3);
    const { p50, p99, p999, max } = stage.reactor.stats().pingLateness;
    expect(p50).to.be.at.most(p99);
    expect(p99).to.be.at.most(p999);
    expect(p999).to.be.at.most(max);
    near.destroy();
  });

  it('tells the peer of its interval in its hello, and its ping is a clock of 8 bytes', async () => {
    const { peer } = await stage.accepted({ heartbeat: { intervalMs: 30, timeoutMs: 60_000 } });
    const frames = framesOf(peer);
    const [hello, ping] = await frames.reaches(2);
    expect(hello?.body.readUInt32LE(8)).to.equal(30);
    expect([ping?.kind, ping?.flags, ping?.body.length]).to.deep.equal([PING, 0, 8]);
  });

  it('takes a pong for an answer only if it repeats the clock of its ping', async () => {
    const { connection, peer } = await stage.accepted({ heartbeat: quick });
    const frames = framesOf(peer);
    const ping = (await frames.reaches(2))[1];
    peer.write(Buffer.concat([frame(Buffer.alloc(8, 1), PONG), frame(Buffer.alloc(0), PONG), frame('short', PONG)]));
    peer.send('behind');
    await until(() => connection.messagesReceived === 1);
    expect(connection.rttMs).to.equal(undefined);
    peer.write(frame(ping?.body as Buffer, PONG));
    await until(() => connection.rttMs !== undefined);
  });

  it("closes with 'heartbeat-timeout' when nothing came for the timeout", async () => {
    const timeoutMs = 120;
    const { connection, peer } = await stage.accepted({ heartbeat: { intervalMs: 40, timeoutMs } });
    const end = closed(connection);
    peer.write(HELLO);
    await until(() => connection.bytesReceived > 0);
    const { reason, detail } = await end;
    expect(reason).to.equal('heartbeat-timeout');
    expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_HEARTBEAT_TIMEOUT');
    expect(Date.now() - connection.lastReceivedAt).to.be.at.least(timeoutMs - 2);
  });

  it('takes any byte for life, and asks nothing meanwhile', async () => {
    const { connection, peer } = await stage.accepted({ heartbeat: { intervalMs: 400, timeoutMs: 500 } });
    const frames = framesOf(peer);
    const sent = frame('x'.repeat(120));
    const from = performance.now();
    // One byte at a time: there is no whole frame until long after the timeout.
    for (let at = 0; performance.now() - from < 700; at++) {
      peer.write(sent.subarray(at % 100, (at % 100) + 1));
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (at === 90) break;
    }
    expect(connection.state).to.equal('open');
    expect(frames.entries.filter(({ kind }) => kind === PING)).to.deep.equal([]);
  });

  it('keeps an idle connection of two that both have one open, each hearing the other', async () => {
    const heartbeat = { intervalMs: 20, timeoutMs: 100 };
    const { near, far } = await stage.pair({ both: { heartbeat } });
    const from = performance.now();
    await until(() => performance.now() - from > 300 && (near.rttMs ?? far.rttMs) !== undefined);
    expect([near.state, far.state]).to.deep.equal(['open', 'open']);
  });

  it('does not take a peer for dead to which it does not listen', async () => {
    const { connection, peer } = await stage.accepted({ heartbeat: { intervalMs: 30, timeoutMs: 60 } });
    connection.pause();
    const frames = framesOf(peer);
    await until(() => frames.entries.filter(({ kind }) => kind === PING).length >= 5);
    expect(connection.state).to.equal('open');
    const end = closed(connection);
    connection.resume();
    expect((await end).reason).to.equal('heartbeat-timeout');
  });

  it('ends with a shutdown, which has a timeout of its own', async () => {
    const { connection, peer } = await stage.accepted({
      heartbeat: { intervalMs: 20, timeoutMs: 40 },
      shutdownTimeoutMs: 300,
    });
    const end = closed(connection);
    peer.read();
    connection.shutdown();
    expect((await end).reason).to.equal('local-shutdown');
  });

  it('is answered by a side that has none', async () => {
    const { peer } = await stage.accepted();
    const frames = framesOf(peer);
    peer.write(frame('any body', PING));
    const [, pong] = await frames.reaches(2);
    expect([pong?.kind, pong?.body.toString()]).to.deep.equal([PONG, 'any body']);
  });

  it("tells the application of a 'busy' peer: connection and server", async () => {
    const { server, connection, peer } = await stage.accepted();
    const told = new Log<string>();
    connection.on('busy', (ms) => told.add(`connection ${ms}`));
    server.on('busy', (of, ms) => told.add(`server ${ms} ${of === connection}`));
    peer.write(frame(Buffer.from([0x39, 0x30, 0, 0]), BUSY));
    // A longer one comes from a later version.
    peer.write(frame(Buffer.from([0, 0, 0, 0, 1, 2]), BUSY));
    expect(await told.reaches(4)).to.deep.equal([
      'server 12345 true',
      'connection 12345',
      'server 0 true',
      'connection 0',
    ]);
  });

  it("ends a peer whose 'busy' is too short with 'protocol-error'", async () => {
    const { connection, peer } = await stage.accepted();
    const end = closed(connection);
    peer.write(frame(Buffer.from([1, 2, 3]), BUSY));
    expect((await end).reason).to.equal('protocol-error');
  });

  it('is bounded against a peer that sends pings, and busy after busy, and never reads', async () => {
    const { server, connection, peer } = await stage.accepted({ heartbeat: quick });
    let busy = 0;
    server.on('busy', () => busy++);
    const flood = Buffer.concat(
      Array.from({ length: 2000 }, (_, at) => [
        frame(Buffer.alloc(200, at), PING),
        frame(Buffer.alloc(4, at), BUSY),
      ]).flat(),
    );
    peer.write(HELLO);
    for (let round = 0; round < 10; round++) peer.write(flood);
    await until(() => busy === 20_000);
    expect(connection.state).to.equal('open');
    // Others are served as before.
    const other = await stage.connectRaw(server.address.port);
    server.on('message', (from, data) => void from.send(data));
    expect(await other.read().send('other').texts.reaches(1)).to.deep.equal(['other']);
    peer.socket.destroy();
  });

  it('is refused with other codecs, and with a timeout that is no longer than the interval', async () => {
    for (const options of [
      { codec: 'line', heartbeat: true },
      { codec: 'simple-reactor', heartbeat: {} },
      { heartbeat: { intervalMs: 100, timeoutMs: 100 } },
      { heartbeat: { onStall: { action: 'kill' } } },
      { heartbeat: { interval: 5 } },
    ]) {
      const error = await stage.reactor.listen({ host: HOST, port: 0, ...(options as object) }).then(
        () => undefined,
        (reason: ReactorError) => reason,
      );
      expect(error?.code).to.equal('ERR_REACTOR_INVALID_OPTION');
      expect(error?.message).to.contain('heartbeat');
    }
    const server = await stage.listen({ codec: 'raw', heartbeat: false });
    expect(server.address.port).to.be.greaterThan(0);
  });

  it('with TLS and a Unix domain socket is the same', async () => {
    const path = `\0simple-reactor-heartbeat-${process.pid}`;
    const server = await stage.listen({ path, heartbeat: quick });
    const client = stage.client({ heartbeat: quick });
    const [far] = await Promise.all([nextConnection(server), client.connect({ path })]);
    await until(() => far.rttMs !== undefined || stage.reactor.stats().pings > 3);
    const ended = next(far, 'close');
    await client.close({ drainMs: 0 });
    await ended;
  });
});
