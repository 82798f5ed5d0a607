import net from 'node:net';
import tls from 'node:tls';
import { expect } from 'chai';
import type {
  CloseReason,
  ConnectionOptions,
  ReactorError,
  TcpConnection,
  TcpServer,
  TlsClientOptions,
  TlsPeer,
  TlsServerOptions,
} from '../../src/index.js';
import { ca, type Identity, identity, otherCa } from '../fixtures/certificates.js';
import { causeCode, closed, Log, next, nextConnection, rejection, until } from '../fixtures/events.js';
import { Relay } from '../fixtures/relay.js';
import { HOST, type Pair, pattern, readModes, type Scene, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

/** Both sides of a connection with TLS. */
async function pair(
  stage: Scene,
  options: { both?: ConnectionOptions; server?: Partial<TlsServerOptions>; client?: TlsClientOptions } = {},
): Promise<Pair> {
  const server = await stage.listen({ ...options.both, tls: { ...identity('server'), ...options.server } });
  const client = stage.client({ ...options.both, tls: { ca, ...options.client } });
  const [far, near] = await Promise.all([
    nextConnection(server),
    client.connect({ host: HOST, port: server.address.port }),
  ]);
  return { server, client, near, far };
}

interface Failure {
  readonly code: string | undefined;
  readonly cause: string | undefined;
  readonly peer: TlsPeer;
}

/** What a server tells of handshakes that have failed. */
function failures(server: TcpServer): Log<Failure> {
  const log = new Log<Failure>();
  server.on('tlsClientError', (error, peer) =>
    log.add({ code: (error as ReactorError).code, cause: causeCode(error), peer }),
  );
  return log;
}

/** A peer that node:tls has made. Its errors are for the tests that look for them. */
async function connectTls(stage: Scene, port: number, options: tls.ConnectionOptions = {}): Promise<tls.TLSSocket> {
  const socket = tls.connect({ host: HOST, port, ca, allowHalfOpen: true, ...options } as tls.ConnectionOptions);
  stage.defer(() => socket.destroy());
  socket.on('error', () => undefined);
  await next(socket, 'secureConnect');
  return socket;
}

for (const { name, options } of readModes) {
  describe(`TLS, ${name}`, () => {
    const stage = scene(options);

    for (const codec of ['frame', 'raw'] as const) {
      it(`carries messages of all lengths in both directions (codec ${codec})`, async () => {
        const { near, far } = await pair(stage, { both: { codec, highWaterMark: 32 * MIB } });
        far.on('message', (data) => far.send(data));
        const parts = [1, 5, 1000, 16_384, 16_385, 65_536, 200_000, 5 * MIB].map((length) => pattern(length, length));
        const sent = Buffer.concat(parts);
        const chunks: Buffer[] = [];
        let received = 0;
        near.on('message', (data) => {
          chunks.push(data);
          received += data.length;
        });
        for (const part of parts) near.send(part);
        await until(() => received === sent.length);
        expect(Buffer.concat(chunks).equals(sent)).to.equal(true);
        if (codec === 'frame')
          expect(chunks.map(({ length }) => length)).to.deep.equal(parts.map((part) => part.length));
        expect(near.bufferedAmount).to.equal(0);
      });
    }

    it('sends what was sent before shutdown(), megabytes of it, and then the end', async () => {
      const { near, far } = await pair(stage, { both: { codec: 'raw', highWaterMark: 32 * MIB } });
      far.pause();
      const data = pattern(16 * MIB);
      near.send(data);
      const ends = [closed(near), closed(far)] as const;
      near.shutdown();
      await stage.settle();
      let received = 0;
      far.on('message', (chunk) => {
        expect(chunk.equals(data.subarray(received, received + chunk.length))).to.equal(true);
        received += chunk.length;
      });
      far.resume();
      const [nearEnd, farEnd] = await Promise.all(ends);
      expect(received).to.equal(data.length);
      expect([nearEnd.reason, farEnd.reason]).to.deep.equal(['local-shutdown', 'peer-end']);
      expect([nearEnd.detail.unsentBytes, farEnd.detail.unsentBytes]).to.deep.equal([0, 0]);
    });

    for (const asks of ['near', 'far'] as const) {
      it(`can be half-open: the answer comes behind the end of the question (${asks} asks)`, async () => {
        const both = await pair(stage, { both: { allowHalfOpen: true } });
        const [asking, answering] = asks === 'near' ? [both.near, both.far] : [both.far, both.near];
        const ended = next(answering, 'end');
        const answered = next<[Buffer]>(asking, 'message');
        const ends = [closed(asking), closed(answering)] as const;
        asking.shutdown();
        await ended;
        answering.send('answer');
        answering.shutdown();
        expect((await answered)[0].toString()).to.equal('answer');
        const [{ reason: first }, { reason: second }] = await Promise.all(ends);
        expect([first, second]).to.deep.equal(['local-shutdown', 'peer-end']);
      });
    }

    it('says how much was not sent, never less than that', async () => {
      const server = await stage.listen({ codec: 'raw', highWaterMark: 32 * MIB, tls: identity('server') });
      const [connection, peer] = await Promise.all([nextConnection(server), connectTls(stage, server.address.port)]);
      const total = 24 * MIB;
      connection.send(Buffer.alloc(total));
      await stage.settle();
      await stage.settle();
      connection.destroy();
      const { detail } = await closed(connection);
      let received = 0;
      peer.on('data', (bytes: Buffer) => {
        received += bytes.length;
      });
      await next(peer, 'end');
      expect(received).to.be.lessThan(total);
      expect(received + detail.unsentBytes).to.be.within(total, total + MIB);
    });

    it('is not read when the application does not take more, and goes on when it does', async () => {
      const { near, far } = await pair(stage, { both: { codec: 'raw', highWaterMark: MIB } });
      far.pause();
      let sent = 0;
      while (near.bufferedAmount < 12 * MIB) {
        near.send(Buffer.alloc(MIB));
        sent += MIB;
        await stage.settle();
      }
      let received = 0;
      far.on('message', (data) => {
        received += data.length;
      });
      far.resume();
      expect(await near.ready()).to.equal(true);
      await near.flush();
      await until(() => received === sent);
    });
  });
}

describe('TLS', () => {
  const stage = scene();

  it('tells by info() what was agreed on, on both sides', async () => {
    const { near, far } = await pair(stage, {
      server: { requestCert: true, ca, ALPNProtocols: ['b', 'a'] },
      client: { ...identity('client'), ALPNProtocols: ['a', 'b'], servername: 'localhost' },
    });
    expect([near.encrypted, far.encrypted]).to.deep.equal([true, true]);
    for (const [connection, commonName] of [
      [near, 'localhost'],
      [far, 'the client'],
    ] as const) {
      const { tls: info, remotePort } = await connection.info();
      expect(remotePort).to.equal(connection.remotePort);
      const { peerCertificate, ...agreed } = info ?? {};
      expect(agreed).to.deep.equal({
        protocol: 'TLSv1.3',
        cipher: 'TLS_AES_256_GCM_SHA384',
        alpnProtocol: 'b',
        servername: 'localhost',
        authorized: true,
      });
      expect(peerCertificate?.subject).to.deep.equal({ O: 'simple-reactor tests', CN: commonName });
      expect(peerCertificate?.issuer).to.deep.equal({ O: 'simple-reactor tests', CN: 'test CA' });
      expect(new Date(peerCertificate?.validTo ?? '').getUTCFullYear()).to.equal(2120);
      expect(peerCertificate?.fingerprint256).to.match(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
      expect(peerCertificate?.serialNumber).to.match(/^[0-9A-F]+$/);
    }
  });

  it('has no certificate to tell of if none was requested', async () => {
    const { far, near } = await pair(stage);
    expect((await far.info()).tls).to.have.all.keys('protocol', 'cipher', 'authorized');
    expect((await far.info()).tls?.authorized).to.equal(false);
    expect((await near.info()).tls?.authorized).to.equal(true);
    near.destroy();
    await closed(far);
    expect(await rejection(far.info())).to.have.property('code', 'ERR_REACTOR_CONNECTION_CLOSED');
  });

  it('is not there without the option', async () => {
    const { near } = await stage.pair();
    expect(near.encrypted).to.equal(false);
    expect(await near.info()).not.to.have.property('tls');
  });

  it('can be limited to a version', async () => {
    const { near } = await pair(stage, { server: { maxVersion: 'TLSv1.2' } });
    expect((await near.info()).tls?.protocol).to.equal('TLSv1.2');
    const server = await stage.listen({ tls: { ...identity('server'), minVersion: 'TLSv1.3' } });
    const failed = failures(server);
    const client = stage.client({ tls: { ca, maxVersion: 'TLSv1.2' } });
    const error = await rejection(client.connect({ host: HOST, port: server.address.port }));
    expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_TLS', 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION']);
    const [failure] = await failed.reaches(1);
    expect(failure?.cause).to.equal('ERR_SSL_UNSUPPORTED_PROTOCOL');
  });

  describe('chooses the certificate by the name that is asked for', () => {
    async function named(servername: string | undefined): Promise<string> {
      const server = await stage.listen({
        tls: {
          ...identity('server'),
          sni: { '*.example.org': identity('wildcard'), 'elsewhere.example': identity('wrong-host') },
        },
      });
      const client = stage.client({
        tls: { ca, rejectUnauthorized: false, ...(servername !== undefined && { servername }) },
      });
      const connection = await client.connect({ host: HOST, port: server.address.port });
      const { tls: info } = await connection.info();
      return `${info?.peerCertificate?.subject['CN']} ${info?.authorizationError}`;
    }
    const cases: readonly (readonly [string | undefined, string])[] = [
      ['a.example.org', '*.example.org undefined'],
      ['A.Example.ORG', '*.example.org undefined'],
      ['elsewhere.example', 'elsewhere.example undefined'],
      // The star stands for one label.
      ['a.b.example.org', 'localhost ERR_TLS_CERT_ALTNAME_INVALID'],
      ['example.org', 'localhost ERR_TLS_CERT_ALTNAME_INVALID'],
      ['other.example', 'localhost ERR_TLS_CERT_ALTNAME_INVALID'],
      [undefined, 'localhost undefined'],
    ];
    for (const [name, expected] of cases) {
      it(`for ${name ?? 'no name at all'}`, async () => expect(await named(name)).to.equal(expected));
    }
  });

  it('asks for the host if that is a name', async () => {
    const server = await stage.listen({ host: 'localhost', tls: identity('server') });
    const connection = await stage.client({ tls: { ca } }).connect({ port: server.address.port });
    expect((await connection.info()).tls?.servername).to.equal('localhost');
  });

  it('refuses a client without a common protocol', async () => {
    const server = await stage.listen({ tls: { ...identity('server'), ALPNProtocols: ['a'] } });
    const failed = failures(server);
    const client = stage.client({ tls: { ca, ALPNProtocols: ['b'] } });
    const error = await rejection(client.connect({ host: HOST, port: server.address.port }));
    expect([error.code, causeCode(error)]).to.deep.equal([
      'ERR_REACTOR_TLS',
      'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
    ]);
    expect((await failed.reaches(1))[0]?.cause).to.equal('ERR_SSL_NO_APPLICATION_PROTOCOL');
  });

  describe('refuses a server', () => {
    const cases: readonly (readonly [string, Identity, TlsClientOptions, string])[] = [
      ['whose certificate has expired', 'expired', { ca }, 'CERT_HAS_EXPIRED'],
      ['whose certificate is for another host', 'wrong-host', { ca }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['whose certificate is for another name', 'server', { ca, servername: 'a.b' }, 'ERR_TLS_CERT_ALTNAME_INVALID'],
      ['of an authority that it does not trust', 'server', { ca: otherCa }, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ["of an authority that Node's do not know", 'server', {}, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ];
    for (const [what, who, options, code] of cases) {
      it(what, async () => {
        const server = await stage.listen({ tls: identity(who) });
        const client = stage.client({ tls: options });
        const error = await rejection(client.connect({ host: HOST, port: server.address.port }));
        expect([error.name, error.code, causeCode(error)]).to.deep.equal(['ReactorError', 'ERR_REACTOR_TLS', code]);
        expect(error.message).to.include(`${HOST}:${server.address.port}`);
        // With rejectUnauthorized: false it may have a look at it.
        const lenient = stage.client({ tls: { ...options, rejectUnauthorized: false } });
        const connection = await lenient.connect({ host: HOST, port: server.address.port });
        const { tls: info } = await connection.info();
        expect([info?.authorized, info?.authorizationError]).to.deep.equal([false, code]);
      });
    }

    it('that does not speak TLS', async () => {
      const raw = await stage.listenRaw((peer) => void peer.write(Buffer.from('220 hello\r\n')));
      const error = await rejection(stage.client({ tls: true }).connect({ host: HOST, port: raw.port }));
      expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_TLS', 'ERR_SSL_WRONG_VERSION_NUMBER']);
    });

    it('that hangs up in the middle of the handshake', async () => {
      for (const how of ['end', 'reset'] as const) {
        const raw = await stage.listenRaw((peer) => {
          peer.socket.once('data', () => peer[how]());
        });
        const error = await rejection(stage.client({ tls: true }).connect({ host: HOST, port: raw.port }));
        expect([error.code, causeCode(error)], how).to.deep.equal(['ERR_REACTOR_TLS', 'ECONNRESET']);
      }
    });

    it('that says nothing for handshakeTimeoutMs, or for timeoutMs if that is shorter', async () => {
      const raw = await stage.listenRaw();
      const patient = stage.client({ tls: { handshakeTimeoutMs: 30 } });
      const error = await rejection(patient.connect({ host: HOST, port: raw.port }));
      expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_TLS', 'ERR_TLS_HANDSHAKE_TIMEOUT']);
      const hasty = await rejection(stage.client({ tls: true }).connect({ host: HOST, port: raw.port, timeoutMs: 30 }));
      expect(hasty.code).to.equal('ERR_REACTOR_CONNECT_TIMEOUT');
      for (const peer of await raw.peers.reaches(2)) await peer.read().gone;
    });

    it('and can be told to give up meanwhile', async () => {
      const raw = await stage.listenRaw();
      const abort = new AbortController();
      const connecting = stage.client({ tls: true }).connect({ host: HOST, port: raw.port, signal: abort.signal });
      const peer = await raw.first();
      await next(peer.socket, 'data');
      abort.abort();
      expect((await rejection(connecting)).code).to.equal('ERR_REACTOR_ABORTED');
      await peer.gone;
    });
  });

  describe('refuses a client', () => {
    const mutual: TlsServerOptions = { ...identity('server'), requestCert: true, ca };

    it("without a certificate, which hears of it by reason 'tls-error'", async () => {
      const server = await stage.listen({ tls: mutual });
      const failed = failures(server);
      const { refused } = stage.reactor.stats();
      // With codec 'raw' the client says nothing by itself that might cross the refusal.
      const client = stage.client({ codec: 'raw', tls: { ca } });
      const connection = await client.connect({ host: HOST, port: server.address.port });
      const { reason, detail } = await closed(connection);
      expect(reason).to.equal('tls-error');
      expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_TLS');
      expect(causeCode(detail.error)).to.equal('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
      expect(await failed.reaches(1)).to.deep.equal([
        {
          code: 'ERR_REACTOR_TLS',
          cause: 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE',
          peer: { remoteAddress: HOST, remotePort: connection.localPort },
        },
      ]);
      expect(stage.reactor.stats().refused).to.equal(refused + 1);
      expect(server.connectionCount).to.equal(0);
    });

    const cases: readonly (readonly [string, Identity, string])[] = [
      ['of an authority that it does not trust', 'stranger', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
      ['whose certificate has expired', 'expired-client', 'CERT_HAS_EXPIRED'],
    ];
    for (const [what, who, code] of cases) {
      it(`${what}, which hears of an end`, async () => {
        const server = await stage.listen({ tls: mutual });
        const failed = failures(server);
        const client = stage.client({ codec: 'raw', tls: { ca, ...identity(who) } });
        const connection = await client.connect({ host: HOST, port: server.address.port });
        expect((await closed(connection)).reason).to.equal('peer-end');
        const peer = { remoteAddress: HOST, remotePort: connection.localPort };
        expect(await failed.reaches(1)).to.deep.equal([{ code: 'ERR_REACTOR_TLS', cause: code, peer }]);
      });

      it(`${what} not with rejectUnauthorized: false`, async () => {
        const { far } = await pair(stage, { server: { ...mutual, rejectUnauthorized: false }, client: identity(who) });
        const { tls: info } = await far.info();
        expect([info?.authorized, info?.authorizationError]).to.deep.equal([false, code]);
      });
    }

    it('that sends garbage, and serves the others on', async () => {
      const server = await stage.listen({ tls: identity('server') });
      const failed = failures(server);
      for (const garbage of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\xff\xff', 'x'.repeat(70_000)]) {
        const peer = await stage.connectRaw(server.address.port);
        peer.write(Buffer.from(garbage, 'latin1'));
        await peer.read().gone;
      }
      const causes = (await failed.reaches(3)).map(({ cause }) => cause);
      expect(causes[0]).to.equal('ERR_SSL_HTTP_REQUEST');
      for (const cause of causes) expect(cause).to.match(/^ERR_SSL_/);
      await connectTls(stage, server.address.port);
    });

    it('that says nothing, or too slowly, for handshakeTimeoutMs', async () => {
      const server = await stage.listen({ tls: { ...identity('server'), handshakeTimeoutMs: 100 } });
      const failed = failures(server);
      const silent = await stage.connectRaw(server.address.port);
      const slow = await stage.connectRaw(server.address.port);
      // The beginning of a ClientHello that would go on.
      const hello = Buffer.from('16030100f0010000ec0303'.padEnd(400, '0'), 'hex');
      let at = 0;
      const drip = setInterval(() => slow.write(hello.subarray(at, ++at)), 5);
      stage.defer(() => clearInterval(drip));
      await Promise.all([silent.read().gone, slow.read().gone]);
      expect((await failed.reaches(2)).map(({ cause }) => cause)).to.deep.equal([
        'ERR_TLS_HANDSHAKE_TIMEOUT',
        'ERR_TLS_HANDSHAKE_TIMEOUT',
      ]);
    });

    it('that would be one handshake too many, as there may be connections', async () => {
      const own = await stage.spawn({ maxConnections: 2 });
      const server = await own.listen({ host: HOST, port: 0, tls: identity('server') });
      for (let i = 0; i < 2; i++) await stage.connectRaw(server.address.port);
      const third = await stage.connectRaw(server.address.port);
      await third.read().gone;
      expect(own.stats().refused).to.equal(1);
      await own.close({ timeoutMs: 0 });
    });

    it('that dies in the middle of the handshake', async () => {
      const server = await stage.listen({ tls: identity('server') });
      const failed = failures(server);
      for (const [count, how] of (['end', 'reset'] as const).entries()) {
        const peer = await stage.connectRaw(server.address.port);
        const peerPort = peer.socket.localPort;
        peer.write(Buffer.from('16030100f0010000', 'hex'));
        peer[how]();
        const { peer: known, ...failure } = (await failed.reaches(count + 1))[count] ?? {};
        expect(failure, how).to.deep.equal({ code: 'ERR_REACTOR_TLS', cause: 'ECONNRESET' });
        // Of one that was gone before it was accepted the system does not tell.
        if (how === 'end') expect(known).to.deep.equal({ remoteAddress: HOST, remotePort: peerPort });
      }
    });

    it('whose handshake is under way when the server is closed', async () => {
      const server = await stage.listen({ tls: identity('server') });
      const failed = failures(server);
      const peer = await stage.connectRaw(server.address.port);
      await connectTls(stage, server.address.port);
      await server.close({ drainMs: 0 });
      await peer.read().gone;
      await stage.settle();
      expect(failed.entries).to.deep.equal([]);
    });
  });

  describe('on an open connection', () => {
    /** A client's connection to a server, and what is in between. */
    async function relayed(
      options: ConnectionOptions,
    ): Promise<{ near: TcpConnection; far: TcpConnection; relay: Relay }> {
      const server = await stage.listen({ ...options, tls: identity('server') });
      const relay = await Relay.open(stage, server.address.port);
      const client = stage.client({ ...options, tls: { ca } });
      const [far, near] = await Promise.all([nextConnection(server), client.connect({ host: HOST, port: relay.port })]);
      const greeted = next(near, 'message');
      far.send('hello');
      await greeted;
      return { near, far, relay };
    }

    it("ends it with 'tls-error' for bytes that are none of TLS", async () => {
      const { near, far, relay } = await relayed({ codec: 'raw' });
      const ends = [closed(near), closed(far)] as const;
      (await relay.first()).far.write('garbage that is none of TLS');
      const [nearEnd, farEnd] = await Promise.all(ends);
      expect(farEnd.reason).to.equal('tls-error');
      expect((farEnd.detail.error as ReactorError).code).to.equal('ERR_REACTOR_TLS');
      expect(causeCode(farEnd.detail.error)).to.match(/^ERR_SSL_/);
      // It is told by an alert.
      expect(nearEnd.reason).to.equal('tls-error');
      expect(causeCode(nearEnd.detail.error)).to.match(/^ERR_SSL_.*ALERT/);
    });

    it('has no keys in what is logged of a server', async () => {
      const { key } = identity('server');
      const server = await stage.listen({ tls: { ...identity('server'), key: key.toString() } });
      expect(JSON.stringify({ ...server })).not.to.contain('PRIVATE KEY');
    });

    it('takes a FIN without a farewell for an end', async () => {
      const { far, relay } = await relayed({ codec: 'raw' });
      const end = closed(far);
      const leg = await relay.first();
      leg.near.unpipe(leg.far);
      leg.far.end();
      expect((await end).reason).to.equal('peer-end');
    });

    it("sees by codec 'frame' that a message was cut", async () => {
      const { near, far, relay } = await relayed({ codec: 'frame', highWaterMark: 32 * MIB });
      const end = closed(far);
      const leg = await relay.first();
      const before = far.bytesReceived;
      near.send(Buffer.alloc(12 * MIB));
      await until(() => far.bytesReceived > before);
      leg.near.unpipe(leg.far);
      leg.far.end();
      const { reason, detail } = await end;
      expect([reason, (detail.error as ReactorError).code]).to.deep.equal(['protocol-error', 'ERR_REACTOR_PROTOCOL']);
    });

    it("is 'peer-reset' when the peer resets it", async () => {
      const { far, relay } = await relayed({ codec: 'raw' });
      const end = closed(far);
      (await relay.first()).far.resetAndDestroy();
      const { reason, detail } = await end;
      expect([reason, causeCode(detail.error)]).to.deep.equal(['peer-reset', 'ECONNRESET']);
    });

    it("is 'peer-reset' at once when that comes to what TLS sends by itself behind the handshake", async () => {
      const PEERS = 16;
      const server = await stage.listen({ codec: 'raw', tls: identity('server'), shutdownTimeoutMs: 60_000 });
      const ends = new Log<{ reason: CloseReason; code: string | undefined }>();
      server.on('connection', (connection) => connection.send(pattern(300_000)));
      server.on('disconnect', (_, reason, { error }) => ends.add({ reason, code: causeCode(error) }));
      const failed = failures(server);
      for (let i = 0; i < PEERS; i++) {
        const below = net.connect(server.address.port, HOST);
        const peer = tls.connect({ socket: below, ca });
        peer.on('error', () => undefined);
        peer.once('secureConnect', () => {
          peer.write('hi');
          setImmediate(() => below.resetAndDestroy());
        });
        stage.defer(() => below.destroy());
      }
      await until(() => ends.entries.length + failed.entries.length === PEERS);
      const broken = { reason: 'peer-reset', code: 'ECONNRESET' };
      expect(ends.entries).to.deep.equal(ends.entries.map(() => broken));
    });
  });

  it('tells a thread whose ring is full nothing of failed handshakes, and counts them', async () => {
    const thread = await AppThread.attached(stage, stage.reactor.handle);
    const secured = await thread.do('listen', { tls: identity('server') });
    const plain = await thread.do('listen', { codec: 'raw' });
    const { readPauses, refused, untoldTlsErrors } = stage.reactor.stats();
    void thread.do('block');
    await thread.log('blocking').reaches(1);
    (await stage.connectRaw(plain.port)).write(Buffer.alloc(8 * MIB));
    await until(() => stage.reactor.stats().readPauses > readPauses);
    const garbage = async (): Promise<void> => {
      const peer = (await stage.connectRaw(secured.port)).write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
      await peer.read().gone;
    };
    await garbage();
    await until(() => stage.reactor.stats().refused === refused + 1);
    expect(stage.reactor.stats().untoldTlsErrors).to.equal(untoldTlsErrors + 1);
    thread.open();
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    await until(() => stage.reactor.connection(id).bytesReceived === 8 * MIB);
    await thread.do('caughtUp', id);
    expect(thread.log('tlsClientError').entries).to.deep.equal([]);
    await garbage();
    const [{ code } = { code: undefined }] = await thread.log('tlsClientError').reaches(1);
    expect(code).to.equal('ERR_SSL_HTTP_REQUEST');
  });
});
