import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import {
  type CloseReason,
  type ConnectionOptions,
  closeReasons,
  type ReactorError,
  type TcpClient,
  type TcpConnection,
  type TcpServer,
} from '../../src/index.js';
import { ca, identity } from '../fixtures/certificates.js';
import {
  type Closed,
  causeCode,
  closed,
  Log,
  next,
  nextConnection,
  until,
  untilWithoutYielding,
} from '../fixtures/events.js';
import { frame, HELLO, type RawPeer } from '../fixtures/raw-peer.js';
import { HOST, props, readModes, type Scene, scene } from '../fixtures/scene.js';

const MIB = 1024 * 1024;

/** Every reason that a test of this file has seen. */
const reached = new Set<CloseReason>();

/** All that is told of a connection: by itself, and by its server or client. */
class Witness {
  readonly log = new Log<string>();
  readonly end: Promise<Closed>;

  constructor(connection: TcpConnection, host: TcpServer | TcpClient) {
    this.end = closed(connection);
    connection.on('message', () => this.log.add('message'));
    connection.on('drain', () => this.log.add('drain'));
    connection.on('end', () => this.log.add('end'));
    connection.on('close', (reason) => this.log.add(`close ${reason}`));
    host.on('disconnect', (of, reason) => {
      if (of === connection) this.log.add(`disconnect ${reason}`);
    });
  }

  /** Checks that the end was told of once by each, and that nothing came behind it. */
  async closesWith(reason: CloseReason, stage: Scene): Promise<Closed> {
    const end = await this.end;
    expect(end.reason).to.equal(reason);
    reached.add(end.reason);
    await stage.settle();
    const told = this.log.entries.filter((entry) => /^(close|disconnect) /.test(entry));
    expect(told).to.have.members([`close ${reason}`, `disconnect ${reason}`]);
    expect(this.log.entries.slice(-2), 'the last events').to.have.members(told);
    return end;
  }
}

/** Checks unsentBytes against what a peer that has read to the end has got. */
function expectUnsent(unsentBytes: number, received: number, total: number): void {
  expect(received + unsentBytes, `${received} received, ${unsentBytes} unsent`).to.equal(total);
}

interface Side {
  readonly connection: TcpConnection;
  readonly peer: RawPeer;
  readonly witness: Witness;
}

for (const { name, options } of readModes) {
  describe(`the reason of a close, ${name}`, () => {
    const stage = scene(options);

    // Both roles that this side can have.
    const sides: Record<string, (options?: ConnectionOptions) => Promise<Side>> = {
      'an accepted connection': async (settings) => {
        const { server, connection, peer } = await stage.accepted(settings);
        return { connection, peer, witness: new Witness(connection, server) };
      },
      'a client connection': async (settings) => {
        const { client, connection, peer } = await stage.connected(settings);
        return { connection, peer, witness: new Witness(connection, client) };
      },
    };

    for (const [what, open] of Object.entries(sides)) {
      describe(`of ${what}`, () => {
        it("is 'local-shutdown' when this side ended first and the peer followed", async () => {
          const { connection, peer, witness } = await open();
          connection.send('last');
          connection.shutdown();
          expect(connection.state).to.equal('closing');
          await peer.read().ended;
          peer.end();
          const { detail } = await witness.closesWith('local-shutdown', stage);
          expect(detail).to.deep.equal({ unsentBytes: 0, unreadMessages: 0 });
          expect(connection.state).to.equal('closed');
          expect(peer.texts.entries).to.deep.equal(['last']);
        });

        it("is 'local-shutdown' when the peer does not follow within shutdownTimeoutMs", async () => {
          const { connection, peer, witness } = await open({ shutdownTimeoutMs: 50 });
          connection.shutdown();
          await peer.read().ended;
          await witness.closesWith('local-shutdown', stage);
        });

        it("is 'local-destroy' after destroy()", async () => {
          const { connection, peer, witness } = await open();
          connection.destroy();
          connection.destroy();
          const { detail } = await witness.closesWith('local-destroy', stage);
          expect(detail.error).to.equal(undefined);
          await peer.read().gone;
        });

        it('comes with unreadMessages after destroy(): those that had arrived and that nobody took', async () => {
          const { connection, peer, witness } = await open();
          connection.on('message', (data) => {
            if (data.toString() === '2') connection.destroy();
          });
          peer.send('1', '2', '3', '4', '5');
          untilWithoutYielding(() => connection.messagesReceived === 5);
          const { detail } = await witness.closesWith('local-destroy', stage);
          expect(detail.unreadMessages).to.equal(3);
          expect(witness.log.entries.filter((entry) => entry === 'message')).to.have.length(2);
        });

        it('leaves the counts of the connection as they were', async () => {
          const { connection, peer, witness } = await open();
          peer.read().send('12', '345');
          await until(() => connection.messagesReceived === 2);
          connection.send('6789');
          await peer.texts.reaches(1);
          const before = Date.now();
          peer.end();
          await witness.closesWith('peer-end', stage);
          expect(connection.bytesReceived).to.equal(8 + 9);
          expect(connection.messagesReceived).to.equal(2);
          expect(connection.bytesSent).to.equal(22 + 10);
          expect(connection.lastReceivedAt).to.be.within(before - 20_000, Date.now());
          expect(connection.bufferedAmount).to.equal(0);
        });

        it("is 'peer-end' when the peer ended first", async () => {
          const { peer, witness } = await open();
          peer.read().send('bye').end();
          const { detail } = await witness.closesWith('peer-end', stage);
          expect(detail).to.deep.equal({ unsentBytes: 0, unreadMessages: 0 });
          expect(witness.log.entries.slice(0, 2)).to.deep.equal(['message', 'end']);
          await peer.ended;
        });

        it("is 'peer-end' when the peer ended before it sent anything", async () => {
          const { peer, witness } = await open();
          peer.read().end();
          await witness.closesWith('peer-end', stage);
        });

        it("is 'peer-reset' when the peer reset the connection, with the system's error", async () => {
          const { peer, witness } = await open();
          peer.reset();
          const { detail } = await witness.closesWith('peer-reset', stage);
          const error = detail.error as ReactorError;
          expect(error.name).to.equal('ReactorError');
          expect(error.code).to.equal('ERR_REACTOR_CONNECTION_LOST');
          expect(causeCode(error)).to.equal('ECONNRESET');
          expect(witness.log.entries).not.to.include('end');
        });

        it("is 'peer-reset' at every byte of a frame", async () => {
          const bytes = frame('a body');
          for (let count = 0; count <= bytes.length; count++) {
            const { connection, peer, witness } = await open();
            if (count > 0) peer.write(bytes.subarray(0, count));
            await until(() => connection.bytesReceived === count);
            peer.reset();
            const { reason, detail } = await witness.end;
            expect(reason, `after ${count} bytes`).to.equal('peer-reset');
            expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_CONNECTION_LOST');
            const messages = witness.log.entries.filter((entry) => entry === 'message');
            expect(messages, `after ${count} bytes`).to.have.length(count === bytes.length ? 1 : 0);
          }
        });

        it("is 'peer-reset' while this side is sending", async () => {
          const { connection, peer, witness } = await open({ highWaterMark: 32 * MIB });
          connection.send(Buffer.alloc(16 * MIB - 2));
          await stage.settle();
          peer.reset();
          const { detail } = await witness.closesWith('peer-reset', stage);
          expect(detail.unsentBytes).to.be.within(1, 16 * MIB + 4);
        });

        const garbage: Record<string, Buffer> = {
          'a length of 0': Buffer.from([0, 0, 0, 0, 0, 0]),
          'a length of 1': Buffer.from([1, 0, 0, 0, 0]),
          'an unknown kind': frame('?', 9),
          'another unknown kind': frame('?', 63),
          'flags that were not negotiated': frame('?', 0, 1),
          'a hello that is too short': frame(Buffer.alloc(15), 3),
          'a hello of version 0': frame(Buffer.alloc(16), 3),
          'a second hello': Buffer.concat([HELLO, HELLO]),
          'a ping that is too long': frame(Buffer.alloc(257), 1),
        };
        for (const [which, bytes] of Object.entries(garbage)) {
          it(`is 'protocol-error' for ${which}, behind the messages that came before it`, async () => {
            const { peer, witness } = await open();
            peer.write(Buffer.concat([frame('good'), bytes, frame('never seen')]));
            const { detail } = await witness.closesWith('protocol-error', stage);
            expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_PROTOCOL');
            expect(witness.log.entries.filter((entry) => entry === 'message')).to.have.length(1);
            await peer.read().gone;
          });
        }

        it("is 'protocol-error' for a FIN at every byte inside a frame, and 'peer-end' at its edges", async () => {
          const bytes = frame('a body');
          for (let count = 0; count <= bytes.length; count++) {
            const { peer, witness } = await open();
            if (count > 0) peer.write(bytes.subarray(0, count));
            peer.read().end();
            const { reason, detail } = await witness.end;
            const whole = count === 0 || count === bytes.length;
            expect(reason, `after ${count} bytes`).to.equal(whole ? 'peer-end' : 'protocol-error');
            const code = (detail.error as ReactorError | undefined)?.code;
            expect(code, `after ${count} bytes`).to.equal(whole ? undefined : 'ERR_REACTOR_PROTOCOL');
            await peer.ended;
          }
        });

        it("is 'protocol-error' for a FIN inside a message of many reads", async () => {
          const { peer, witness } = await open();
          peer
            .write(frame(Buffer.alloc(3 * MIB)).subarray(0, 2 * MIB))
            .read()
            .end();
          const { detail } = await witness.closesWith('protocol-error', stage);
          expect(detail.error?.message).to.match(/bytes of a frame are missing/);
          expect(witness.log.entries).not.to.include('message');
        });

        it("is 'first-frame-timeout' when the peer has sent no whole frame in time", async () => {
          const { peer, witness } = await open({ limits: { firstFrameTimeoutMs: 30 } });
          peer.write(frame('a body').subarray(0, 8));
          const { detail } = await witness.closesWith('first-frame-timeout', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
          await peer.read().gone;
        });

        it("is 'idle-timeout' when nothing has passed for idleTimeoutMs", async () => {
          const { peer, witness } = await open({ limits: { idleTimeoutMs: 150 } });
          peer.send('first');
          const { detail } = await witness.closesWith('idle-timeout', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
          expect(witness.log.entries[0]).to.equal('message');
          await peer.read().gone;
        });

        it("is 'heartbeat-timeout' when nothing came for heartbeat.timeoutMs", async () => {
          const { peer, witness } = await open({ heartbeat: { intervalMs: 20, timeoutMs: 60 } });
          const { detail } = await witness.closesWith('heartbeat-timeout', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_HEARTBEAT_TIMEOUT');
          await peer.read().gone;
        });

        it("is 'app-stalled' when this thread takes nothing for heartbeat.onStall.afterMs", async () => {
          const onStall = { afterMs: 40, action: 'close' as const };
          const { connection, peer, witness } = await open({ heartbeat: { timeoutMs: 60_000, onStall } });
          untilWithoutYielding(() => connection.state === 'closed');
          const { detail } = await witness.closesWith('app-stalled', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_APP_STALLED');
          await peer.read().gone;
        });

        it("is 'limit' when the peer sends more than it may in a second", async () => {
          const { peer, witness } = await open({ limits: { maxReceiveBytesPerSecond: 4096, overRate: 'close' } });
          peer.send(Buffer.alloc(10_000));
          const { detail } = await witness.closesWith('limit', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_LIMIT');
          await peer.read().gone;
        });

        it("is 'frame-too-large' when the peer announces more than maxFrameBytes, before the frame has come", async () => {
          const { connection, peer, witness } = await open({ limits: { maxFrameBytes: 1000 } });
          peer.send(Buffer.alloc(998));
          await until(() => connection.messagesReceived === 1);
          // Four bytes are enough to know.
          peer.write(Buffer.from([0xe9, 3, 0, 0]));
          const { detail } = await witness.closesWith('frame-too-large', stage);
          expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_FRAME_TOO_LARGE');
          expect(detail.error?.message).to.include('1001').and.to.include('1000');
          expect(witness.log.entries.filter((entry) => entry === 'message')).to.have.length(1);
          await peer.read().gone;
        });

        it("is 'frame-too-large' when the peer speaks another protocol, and the error shows how that begins", async () => {
          const { peer, witness } = await open();
          peer.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
          const { detail } = await witness.closesWith('frame-too-large', stage);
          expect(detail.error?.message).to.include('542393671 bytes ("GET " as text)');
        });

        const bombs: Record<string, Buffer> = {
          'announces 4 GiB': Buffer.concat([Buffer.from([255, 255, 255, 255]), Buffer.alloc(1000)]),
          'announces 1,000 bytes for each of its own': Buffer.concat([
            Buffer.from([64, 66, 15, 0]),
            Buffer.alloc(1000),
          ]),
          'is broken': Buffer.from([20, 0, 0, 0, 0x1a, 97, 9, 0, 0x50, 97, 97, 97, 97, 97]),
        };
        for (const [which, block] of Object.entries(bombs)) {
          it(`is 'decompression-failed' for a compressed frame that ${which}, behind the messages before it`, async () => {
            const { peer, witness } = await open({ compression: true });
            peer.write(Buffer.concat([frame('good'), frame(block, 0, 1), frame('never seen')]));
            const { detail } = await witness.closesWith('decompression-failed', stage);
            expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_DECOMPRESSION');
            expect(witness.log.entries.filter((entry) => entry === 'message')).to.have.length(1);
            await peer.read().gone;
          });
        }

        it("is 'backpressure' when more waits than overflow allows, and tells how much had not been sent", async () => {
          const { connection, peer, witness } = await open({ highWaterMark: MIB });
          let accepted = -1;
          // The one that makes it too much is not accepted.
          for (; connection.state === 'open'; accepted++) connection.send(Buffer.alloc(MIB));
          expect(connection.send('x')).to.equal(false);
          const { detail } = await witness.closesWith('backpressure', stage);
          expect(accepted).to.be.at.least(15);
          expect(detail.unsentBytes).to.be.within(1, accepted * (MIB + 6));
          await peer.count().gone;
        });

        it('reports in unsentBytes what the peer will never get, when destroy() comes and the peer has not read', async () => {
          for (const codec of ['frame', 'raw'] as const) {
            const { connection, peer, witness } = await open({ codec, highWaterMark: 32 * MIB });
            const overhead = codec === 'frame' ? 6 : 0;
            const total = (codec === 'frame' ? 22 : 0) + 12 * (MIB + overhead);
            for (let i = 0; i < 12; i++) connection.send(Buffer.alloc(MIB));
            await stage.settle();
            await stage.settle();
            connection.destroy();
            const { detail } = await witness.closesWith('local-destroy', stage);
            await peer.count().gone;
            expect(detail.unsentBytes).to.be.greaterThan(MIB);
            expectUnsent(detail.unsentBytes, peer.received, total);
          }
        });

        it('reports in unsentBytes also what had not left this thread', async () => {
          const { connection, peer, witness } = await open({ highWaterMark: 32 * MIB });
          await connection.flush();
          // In one turn: most of it is still in this thread's queue when destroy() is called.
          for (let i = 0; i < 30; i++) connection.send(Buffer.alloc(MIB));
          connection.destroy();
          const { detail } = await witness.closesWith('local-destroy', stage);
          await peer.count().gone;
          expectUnsent(detail.unsentBytes, peer.received, 22 + 30 * (MIB + 6));
          expect(connection.bufferedAmount).to.equal(0);
          expect(stage.reactor.stats().commandQueueBytes).to.equal(0);
        });
      });
    }
  });
}

describe('the reason of a close', () => {
  const stage = scene();
  const own = props();

  it('is told on both sides of one connection', async () => {
    const ends: [(connection: TcpConnection) => void, CloseReason][] = [
      [(connection) => connection.shutdown(), 'local-shutdown'],
      [(connection) => connection.destroy(), 'local-destroy'],
    ];
    for (const [end, reason] of ends) {
      for (const first of ['near', 'far'] as const) {
        const pair = await stage.pair();
        const witnesses = {
          near: new Witness(pair.near, pair.client),
          far: new Witness(pair.far, pair.server),
        };
        // Both sides have read the other's hello: nothing is left that would turn the end into a reset.
        await until(() => pair.near.bytesReceived > 0 && pair.far.bytesReceived > 0);
        end(pair[first]);
        await witnesses[first].closesWith(reason, stage);
        await witnesses[first === 'near' ? 'far' : 'near'].closesWith('peer-end', stage);
      }
    }
  });

  it("is 'server-close' when the server is closed", async () => {
    const { server, connection, peer } = await stage.accepted();
    const witness = new Witness(connection, server);
    void peer.read().ended.then(() => peer.end());
    await server.close();
    const { detail } = await witness.closesWith('server-close', stage);
    expect(detail).to.deep.equal({ unsentBytes: 0, unreadMessages: 0 });
  });

  it("is 'local-shutdown' when the client is closed", async () => {
    const { client, connection, peer } = await stage.connected();
    const witness = new Witness(connection, client);
    void peer.read().ended.then(() => peer.end());
    await client.close();
    await witness.closesWith('local-shutdown', stage);
  });

  for (const way of ['close', 'destroy'] as const) {
    it(`is 'reactor-close' when the reactor ends with ${way}()`, async () => {
      const reactor = await own.spawn();
      const server = await reactor.listen({ host: HOST, port: 0 });
      const raw = await own.listenRaw();
      const client = reactor.client();
      const [accepted, peer] = await Promise.all([nextConnection(server), own.connectRaw(server.address.port)]);
      const made = await client.connect({ host: HOST, port: raw.port });
      const witnesses = [new Witness(accepted, server), new Witness(made, client)];
      for (const each of [peer, await raw.first()]) void each.read().ended.then(() => each.end());
      if (way === 'close') await reactor.close();
      else reactor.destroy();
      for (const witness of witnesses) await witness.closesWith('reactor-close', stage);
    });
  }

  it("is 'io-worker-crash' when the thread that held the socket has died", async () => {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn({ respawn: false });
    const [ioWorker] = await started;
    const failed = next(reactor, 'error');
    const server = await reactor.listen({ host: HOST, port: 0 });
    const client = reactor.client();
    const [far, near] = await Promise.all([
      nextConnection(server),
      client.connect({ host: HOST, port: server.address.port }),
    ]);
    const witnesses = [new Witness(far, server), new Witness(near, client)];
    await ioWorker.terminate();
    await failed;
    for (const witness of witnesses) await witness.closesWith('io-worker-crash', stage);
  });

  it("is 'heartbeat-timeout' when a peer of codec 'simple-reactor' is silent for two intervals", async () => {
    const silent = await stage.listenRaw();
    const client = stage.client({ codec: { type: 'simple-reactor', heartbeatMs: 20 } });
    const witness = new Witness(await client.connect({ host: HOST, port: silent.port }), client);
    const detail = await witness.closesWith('heartbeat-timeout', stage);
    expect((detail.detail.error as ReactorError).code).to.equal('ERR_REACTOR_HEARTBEAT_TIMEOUT');
  });

  it('stays the first one: what comes later changes nothing', async () => {
    const { server, connection, peer } = await stage.accepted();
    const witness = new Witness(connection, server);
    connection.shutdown();
    await peer.read().ended;
    const closing = server.close({ drainMs: 60_000 });
    peer.end();
    await closing;
    await witness.closesWith('local-shutdown', stage);
  });

  it("counts in unsentBytes frames of a connection that a server's drainMs has cut", async () => {
    const { server, connection, peer } = await stage.accepted({ highWaterMark: 32 * MIB });
    const witness = new Witness(connection, server);
    for (let i = 0; i < 12; i++) connection.send(Buffer.alloc(MIB));
    await server.close({ drainMs: 50 });
    const { detail } = await witness.closesWith('server-close', stage);
    await peer.count().gone;
    expectUnsent(detail.unsentBytes, peer.received, 22 + 12 * (MIB + 6));
  });

  it("is 'tls-error' when the server wants a certificate and the client has none", async () => {
    const server = await stage.listen({ tls: { ...identity('server'), requestCert: true, ca } });
    const client = stage.client({ codec: 'raw', tls: { ca } });
    const connection = await client.connect({ host: HOST, port: server.address.port });
    const { detail } = await new Witness(connection, client).closesWith('tls-error', stage);
    expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_TLS');
    expect(causeCode(detail.error)).to.equal('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
  });

  it("is 'orphaned' when the thread that got the events has left and no other one comes in time", async () => {
    const server = await stage.listen({ dispatch: 'balance', orphanTimeoutMs: 20 });
    await server.subscribe();
    const [connection, peer] = await Promise.all([nextConnection(server), stage.connectRaw(server.address.port)]);
    const end = closed(connection);
    await server.unsubscribe();
    expect(connection.state).to.equal('open');
    expect((await end).reason).to.equal('orphaned');
    reached.add('orphaned');
    await peer.read().gone;
  });

  it("is 'service-failed' when a service throws while it has the connection in hand", async () => {
    const services = [`data:text/javascript,export default { name: 'faulty', onMessage() { throw new Error('no') } }`];
    const { server, connection, peer } = await stage.accepted({ services });
    const witness = new Witness(connection, server);
    peer.read().send('x');
    const { detail } = await witness.closesWith('service-failed', stage);
    expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_SERVICE_FAILED');
    await peer.gone;
  });

  it('has been every one of closeReasons in the tests above', () => {
    // That of an attempt, not of a connection: reconnect.test.ts.
    expect([...reached, 'connect-failed'].sort()).to.deep.equal([...closeReasons].sort());
  });
});
