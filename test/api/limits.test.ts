import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type {
  ClientOptions,
  ConnectionOptions,
  ReactorError,
  ReactorStats,
  ServerLimitOptions,
  TcpConnection,
} from '../../src/index.js';
import { sharesPorts } from '../../src/main/shared-port.js';
import { ca, identity } from '../fixtures/certificates.js';
import { closed, Log, next, nextConnection, until } from '../fixtures/events.js';
import { frame, framesOf, HELLO, type RawPeer } from '../fixtures/raw-peer.js';
import { HOST, pattern, props, readModes, type Scene, scene } from '../fixtures/scene.js';

const KIB = 1024;
const MIB = 1024 * KIB;

type Open = (settings: ConnectionOptions) => Promise<{ connection: TcpConnection; peer: RawPeer }>;

/** Both roles that this side can have. */
function sidesOf(stage: Scene): Record<string, Open> {
  return {
    'an accepted connection': (settings) => stage.accepted(settings),
    'a client connection': (settings: ClientOptions) => stage.connected(settings),
  };
}

for (const { name, options } of readModes) {
  describe(`limits on accepting, ${name}`, () => {
    const stage = scene(options);

    /** Peers that connect one after the other, each when the fate of the one before is known. */
    async function arrive(port: number, count: number): Promise<RawPeer[]> {
      const peers: RawPeer[] = [];
      for (let i = 0; i < count; i++) {
        const before = stage.reactor.stats();
        peers.push((await stage.connectRaw(port)).read());
        await until(() => {
          const now = stage.reactor.stats();
          return now.accepted > before.accepted || now.overLimit > before.overLimit;
        });
      }
      return peers;
    }

    const ways: Record<string, ServerLimitOptions> = {
      'maxConnections at once': { maxConnections: 2 },
      'maxConnectionsPerAddress from one address': { maxConnectionsPerAddress: 2 },
    };
    for (const [what, limits] of Object.entries(ways)) {
      it(`lets in ${what}, turns the next away, and lets one in again when one has gone`, async () => {
        const server = await stage.listen({ limits });
        const log = new Log<TcpConnection>();
        server.on('connection', (connection) => log.add(connection));
        const before = stage.reactor.stats();
        const [first, , third] = await arrive(server.address.port, 3);
        await (third as RawPeer).gone;
        await log.reaches(2);
        const after = stage.reactor.stats();
        expect(after.accepted - before.accepted).to.equal(2);
        expect(after.overLimit - before.overLimit).to.equal(1);
        expect(after.refused - before.refused).to.equal(1);
        (first as RawPeer).end();
        await closed(log.entries[0] as TcpConnection);
        const [fourth] = await arrive(server.address.port, 1);
        await log.reaches(3);
        expect(stage.reactor.stats().overLimit - before.overLimit).to.equal(1);
        (log.entries[2] as TcpConnection).send('welcome');
        await (fourth as RawPeer).texts.reaches(1);
      });
    }

    if (options.reuseReadBuffer === false) return;

    it('lets in maxAcceptsPerSecond, turns the next away, and counts anew in the next second', async () => {
      const server = await stage.listen({ limits: { maxAcceptsPerSecond: 3 } });
      const { port } = server.address;
      const before = stage.reactor.stats();
      await arrive(port, 7);
      const after = stage.reactor.stats();
      // They came in one second, or in two.
      expect(after.accepted - before.accepted).to.be.within(3, 6);
      expect(after.overLimit - before.overLimit).to.equal(7 - (after.accepted - before.accepted));
      // Who comes again and again gets in at last.
      for (let accepted = after.accepted; accepted === after.accepted; ) {
        await arrive(port, 1);
        accepted = stage.reactor.stats().accepted;
      }
    });

    it('turns handshakes away as well, and lets one in when another was given up', async () => {
      const server = await stage.listen({ tls: identity('server'), limits: { maxConnections: 1 } });
      server.on('tlsClientError', () => undefined);
      const { port } = server.address;
      const silent = (await stage.connectRaw(port)).read();
      const before = stage.reactor.stats().overLimit;
      await (await stage.connectRaw(port)).read().gone;
      expect(stage.reactor.stats().overLimit - before).to.equal(1);
      const failed = next(server, 'tlsClientError');
      silent.socket.destroy();
      await failed;
      const client = stage.client({ tls: { ca } });
      const [connection] = await Promise.all([nextConnection(server), client.connect({ host: 'localhost', port })]);
      const end = closed(connection);
      await client.close();
      await end;
      await stage.settle();
      const again = stage.client({ tls: { ca } });
      await Promise.all([nextConnection(server), again.connect({ host: 'localhost', port })]);
    });
  });

  describe(`limits of what is read, ${name}`, () => {
    const stage = scene(options);

    for (const [what, open] of Object.entries(sidesOf(stage))) {
      it(`reads ${what} no faster than maxReceiveBytesPerSecond, and loses nothing`, async () => {
        const { connection, peer } = await open({ limits: { maxReceiveBytesPerSecond: 200 * KIB } });
        const data = pattern(300 * KIB);
        const got = new Promise<Buffer>((resolve) => connection.once('message', resolve));
        const start = performance.now();
        peer.write(frame(data));
        expect((await got).equals(data)).to.equal(true);
        // The first second's worth comes at once, the rest, but for the last read, takes its time.
        expect(performance.now() - start).to.be.at.least(((300 - 200 - 64) / 200) * 1000 - 5);
      });

      it(`closes ${what} with 'limit' when more comes and overRate is 'close'`, async () => {
        const limits = { maxReceiveBytesPerSecond: 50 * KIB, overRate: 'close' } as const;
        const { connection, peer } = await open({ limits });
        connection.resume();
        peer.write(frame(Buffer.alloc(40 * KIB)));
        await until(() => connection.messagesReceived === 1);
        expect(connection.state).to.equal('open');
        const end = closed(connection);
        peer.write(frame(Buffer.alloc(200 * KIB)));
        const { reason, detail } = await end;
        expect(reason).to.equal('limit');
        expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
        expect(detail.error?.message).to.include('maxReceiveBytesPerSecond');
      });
    }
  });
}

describe('limits of a connection', () => {
  const stage = scene();

  it('are content with a first message that is long and comes in one read', async () => {
    const codec = { type: 'length-field', bytes: 2 } as const;
    const limits = { firstFrameTimeoutMs: 100, idleTimeoutMs: 300 };
    const { connection, peer } = await stage.accepted({ codec, limits });
    const received = next(connection, 'message');
    const head = Buffer.alloc(2);
    head.writeUInt16BE(65_534);
    peer.write(Buffer.concat([head, Buffer.alloc(65_534)]));
    await received;
    expect((await closed(connection)).reason).to.equal('idle-timeout');
  });

  for (const [what, open] of Object.entries(sidesOf(stage))) {
    describe(`of ${what}`, () => {
      it('closes it if the first frame is not whole in time, however much of it there is', async () => {
        const bytes = frame(Buffer.alloc(100 * KIB));
        const parts = [0, 3, 6, 50, 80 * KIB, bytes.length - 1].map(async (part) => {
          const { connection, peer } = await open({ limits: { firstFrameTimeoutMs: 100 } });
          if (part > 0) peer.write(bytes.subarray(0, part));
          const { reason, detail } = await closed(connection);
          expect(reason, `${part} bytes`).to.equal('first-frame-timeout');
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
          expect(detail.error?.message).to.include('firstFrameTimeoutMs');
          await peer.read().gone;
        });
        await Promise.all(parts);
      });

      const firsts: Record<string, Buffer> = {
        'a hello': HELLO,
        'a ping': frame('', 1),
        'a short message': frame('x'),
        'a long message': frame(Buffer.alloc(100 * KIB)),
        'a frame that nobody is interested in': frame(Buffer.alloc(70 * KIB), 200),
        'a goodbye': frame('x', 5),
      };
      it(`is content with any whole frame: ${Object.keys(firsts).join(', ')}`, async () => {
        const limits = { firstFrameTimeoutMs: 150, idleTimeoutMs: 400 };
        const reasons = Object.entries(firsts).map(async ([which, bytes]) => {
          const { connection, peer } = await open({ limits });
          connection.resume();
          peer.read().write(bytes);
          // Later than the first one would have come.
          expect((await closed(connection)).reason, which).to.equal('idle-timeout');
        });
        await Promise.all(reasons);
      });

      it('closes it when nothing but heartbeats passes', async () => {
        const { connection, peer } = await open({ limits: { idleTimeoutMs: 50 } });
        const pings = setInterval(() => peer.write(frame('', 1)), 10);
        const pongs = framesOf(peer);
        const { reason, detail } = await closed(connection);
        clearInterval(pings);
        expect(reason).to.equal('idle-timeout');
        expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
        expect(detail.error?.message).to.include('idleTimeoutMs');
        expect(pongs.entries.some(({ kind }) => kind === 2)).to.equal(true);
      });

      const traffic: Record<string, (connection: TcpConnection, peer: RawPeer) => void> = {
        'messages come': (_connection, peer) => void peer.send('x'),
        'pieces of a long message come': (_connection, peer) => void peer.write(Buffer.alloc(100)),
        'messages leave': (connection) => void connection.send('x'),
      };
      it(`keeps it as long as ${Object.keys(traffic).join(', or ')}`, async () => {
        const kept = Object.entries(traffic).map(async ([which, move]) => {
          const { connection, peer } = await open({ limits: { idleTimeoutMs: 150 } });
          connection.resume();
          peer.read();
          if (which.startsWith('pieces')) peer.write(frame(Buffer.alloc(200 * KIB)).subarray(0, 100 * KIB));
          const start = performance.now();
          let longestPause = 0;
          for (let before = start; performance.now() - start < 350 && connection.state === 'open'; ) {
            move(connection, peer);
            await new Promise((resolve) => setTimeout(resolve, 5));
            longestPause = Math.max(longestPause, performance.now() - before);
            before = performance.now();
          }
          // A thread that stood still for so long has sent nothing.
          if (longestPause < 75) expect(connection.state, which).to.equal('open');
          expect((await closed(connection)).reason, which).to.equal('idle-timeout');
        });
        await Promise.all(kept);
      });

      it('does not take it for idle, or for late, while it is not read', async () => {
        const { connection, peer } = await open({ limits: { firstFrameTimeoutMs: 150, idleTimeoutMs: 300 } });
        connection.pause();
        peer.read();
        await new Promise((resolve) => setTimeout(resolve, 350));
        expect(connection.state).to.equal('open');
        connection.resume();
        expect((await closed(connection)).reason).to.equal('first-frame-timeout');
      });

      it('writes no more at once than maxSendBytesPerSecond, however it has been sent', async () => {
        const { connection, peer } = await open({ limits: { maxSendBytesPerSecond: 8 * KIB } });
        peer.count();
        for (let i = 0; i < 60; i++) connection.send(pattern(KIB));
        await until(() => peer.received > 0);
        const start = performance.now();
        await until(() => performance.now() - start > 100);
        expect(peer.received).to.be.at.most(8 * KIB + KIB);
        connection.destroy();
      });

      it('writes no faster than maxSendBytesPerSecond, and loses nothing', async () => {
        const { connection, peer } = await open({ limits: { maxSendBytesPerSecond: 200 * KIB } });
        const data = pattern(300 * KIB);
        const frames = framesOf(peer);
        const start = performance.now();
        connection.send(data);
        const [, message] = await frames.reaches(2);
        expect(message?.body.equals(data)).to.equal(true);
        expect(performance.now() - start).to.be.at.least(((300 - 200 - 64) / 200) * 1000 - 5);
        await connection.flush();
        expect(connection.bufferedAmount).to.equal(0);
      });

      it('sees the end of a peer that has sent more than it may, also when it is shut down meanwhile', async () => {
        const limits = { maxReceiveBytesPerSecond: KIB };
        const { connection, peer } = await open({ limits, shutdownTimeoutMs: 1300 });
        const end = closed(connection);
        let hasEnded = false;
        connection.once('end', () => {
          hasEnded = true;
        });
        connection.resume();
        peer.read().write(frame(Buffer.alloc(3 * KIB)));
        peer.end();
        await until(() => connection.bytesReceived >= KIB);
        connection.shutdown();
        expect((await end).reason).to.be.oneOf(['local-shutdown', 'peer-end']);
        expect(hasEnded).to.equal(true);
        expect(connection.messagesReceived).to.equal(1);
      });

      it('sends what waits for its time also when it is shut down', async () => {
        const { connection, peer } = await open({ limits: { maxSendBytesPerSecond: 200 * KIB } });
        peer.count();
        connection.send(Buffer.alloc(240 * KIB));
        connection.shutdown();
        await peer.ended;
        expect(peer.received).to.equal(22 + 240 * KIB + 6);
        const end = closed(connection);
        peer.end();
        expect((await end).detail.unsentBytes).to.equal(0);
      });

      it('keeps to the rate also when it is destroyed, and tells what was not sent', async () => {
        const { connection, peer } = await open({ limits: { maxSendBytesPerSecond: 1024 } });
        peer.count();
        const end = closed(connection);
        for (let i = 0; i < 50; i++) connection.send(Buffer.alloc(2 * KIB));
        connection.destroy();
        const { unsentBytes } = (await end).detail;
        await peer.gone;
        expect(peer.received).to.be.at.most(3 * KIB);
        expect(peer.received + unsentBytes).to.be.within(50 * (2 * KIB + 6), 22 + 50 * (2 * KIB + 6));
      });

      it("closes it with 'limit' when more is sent and overRate is 'close', and tells what was not sent", async () => {
        const { connection, peer } = await open({
          limits: { maxSendBytesPerSecond: 50 * KIB, overRate: 'close' },
          highWaterMark: 32 * MIB,
        });
        const frames = framesOf(peer);
        connection.send('few');
        await frames.reaches(2);
        const end = closed(connection);
        connection.send(Buffer.alloc(15 * MIB));
        const { reason, detail } = await end;
        expect(reason).to.equal('limit');
        expect(detail.error?.message).to.include('maxSendBytesPerSecond');
        expect(detail.unsentBytes).to.be.greaterThan(0);
      });
    });
  }

  it('cuts all of many peers that let their first frame drop in byte by byte, while an honest one is served', async () => {
    const server = await stage.listen({ limits: { firstFrameTimeoutMs: 250 } });
    server.on('message', (connection, data) => void connection.send(data));
    const { port } = server.address;
    const cut = new Log<string>();
    server.on('disconnect', (_connection, reason) => cut.add(reason));
    const honest = await stage.connectRaw(port);
    honest.read().send('first');
    const slow = await Promise.all(Array.from({ length: 200 }, () => stage.connectRaw(port)));
    const bytes = frame(Buffer.alloc(10_000));
    let at = 0;
    const drops = setInterval(() => {
      for (const { socket } of slow) if (socket.writable) socket.write(bytes.subarray(at, at + 1));
      at++;
    }, 10);
    let echoes = 1;
    for (; cut.entries.length < 200; echoes++) {
      await honest.texts.reaches(echoes);
      honest.send('again');
    }
    await honest.texts.reaches(echoes);
    clearInterval(drops);
    expect(new Set(cut.entries)).to.deep.equal(new Set(['first-frame-timeout']));
    expect(cut.entries).to.have.length(200);
    expect(server.connectionCount).to.equal(1);
  });

  it('counts the handshake to the time for the first frame', async () => {
    const server = await stage.listen({ tls: identity('server'), limits: { firstFrameTimeoutMs: 60 } });
    const failed = next<[ReactorError]>(server, 'tlsClientError');
    const silent = (await stage.connectRaw(server.address.port)).read();
    const [error] = await failed;
    expect(error.code).to.equal('ERR_REACTOR_TLS');
    await silent.gone;
  });

  it('closes a connection with TLS whose peer says nothing behind the handshake', async () => {
    const server = await stage.listen({ codec: 'raw', tls: identity('server'), limits: { firstFrameTimeoutMs: 400 } });
    const client = stage.client({ codec: 'raw', tls: { ca } });
    const [connection] = await Promise.all([
      nextConnection(server),
      client.connect({ host: 'localhost', port: server.address.port }),
    ]);
    expect((await closed(connection)).reason).to.equal('first-frame-timeout');
  });
});

describe('limits of a server on several io workers that share the port', () => {
  const own = props();

  before(function () {
    if (!sharesPorts) this.skip();
  });

  it('hold for all of them together', async () => {
    const reactor = await own.spawn({ ioWorkers: 3 });
    const server = await reactor.listen({ host: HOST, port: 0, limits: { maxConnections: 10 } });
    const { port } = server.address;
    const peers = await Promise.all(Array.from({ length: 60 }, () => own.connectRaw(port)));
    for (const peer of peers) peer.read();
    const stats = (): ReactorStats => reactor.stats();
    await until(() => stats().accepted + stats().overLimit === 60);
    // Of several that want the last place at the same moment, perhaps none gets it.
    expect(stats().openConnections).to.be.within(8, 10);
    expect(stats().overLimit).to.equal(60 - stats().openConnections);
    await until(() => server.connectionCount === stats().openConnections);
    const [first] = [...server.connections()];
    const end = closed(first as TcpConnection);
    first?.destroy();
    await end;
    const before = stats().accepted;
    for (; stats().accepted === before; ) {
      const { accepted, overLimit } = stats();
      await own.connectRaw(port);
      await until(() => stats().accepted + stats().overLimit > accepted + overLimit);
    }
    expect(stats().openConnections).to.be.within(8, 10);
  });
});

describe('limits of a server whose io worker dies', () => {
  const own = props();

  it('hold for its successor, with all places free again', async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    const [ioWorker] = await started;
    const server = await reactor.listen({ host: HOST, port: 0, limits: { maxConnections: 1 } });
    const { port } = server.address;
    await Promise.all([nextConnection(server), own.connectRaw(port)]);
    const respawned = next(reactor, 'respawn');
    await ioWorker.terminate();
    await respawned;
    await Promise.all([nextConnection(server), own.connectRaw(port)]);
    await (await own.connectRaw(port)).read().gone;
    expect(reactor.stats().overLimit).to.equal(1);
  });
});
