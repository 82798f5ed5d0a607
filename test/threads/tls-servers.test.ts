import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { Reactor, TcpServer, TlsPeer, TlsServerOptions } from '../../src/index.js';
import { ca, type Identity, identity } from '../fixtures/certificates.js';
import { causeCode, next, nextConnection, rejection, texts, until } from '../fixtures/events.js';
import { HOST, type Props, props, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

/** The serial number of a certificate. */
function serialOf(name: Identity): string {
  return new X509Certificate(identity(name).cert).serialNumber;
}

/** The serial number of the certificate that a server shows now. */
async function shown(stage: Props, port: number, options: tls.ConnectionOptions = {}): Promise<string> {
  const socket = tls.connect({ host: HOST, port, ca, ...options });
  stage.defer(() => socket.destroy());
  await next(socket, 'secureConnect');
  const { serialNumber } = socket.getPeerCertificate();
  socket.destroy();
  return serialNumber;
}

describe('updateTls()', () => {
  const stage = scene();
  const own = props();

  async function listen(options: Partial<TlsServerOptions> = {}): Promise<{ server: TcpServer; port: number }> {
    const server = await stage.listen({ tls: { ...identity('server'), ...options } });
    return { server, port: server.address.port };
  }

  it('shows new connections the new certificate; those that there are go on', async () => {
    const { server, port } = await listen();
    server.on('message', (connection, data) => connection.send(data));
    const before = await stage.client({ tls: { ca } }).connect({ host: HOST, port });
    const echoes = texts(before);
    before.send('1');
    await echoes.reaches(1);
    expect(await shown(own, port)).to.equal(serialOf('server'));
    await server.updateTls(identity('renewed'));
    expect(await shown(own, port)).to.equal(serialOf('renewed'));
    before.send('2');
    expect(await echoes.reaches(2)).to.deep.equal(['1', '2']);
    const { tls: info } = await before.info();
    expect(info?.peerCertificate?.serialNumber).to.equal(serialOf('server'));
  });

  it('takes the place of all that there was: names and demands, too', async () => {
    const { server, port } = await listen({ sni: { '*.example.org': identity('wildcard') } });
    const servername = 'a.example.org';
    expect(await shown(own, port, { servername })).to.equal(serialOf('wildcard'));
    await server.updateTls({ ...identity('server'), requestCert: true, ca });
    // Others may have been hung up on before: the first peer did not wait for the end of its handshake.
    const refused = new Promise<void>((resolve) => {
      server.on('tlsClientError', ({ message }) => {
        if (/peer did not return a certificate/.test(message)) resolve();
      });
    });
    const socket = tls.connect({ host: HOST, port, ca, servername, rejectUnauthorized: false });
    own.defer(() => socket.destroy());
    socket.on('error', () => undefined);
    await next(socket, 'secureConnect');
    expect(socket.getPeerCertificate().serialNumber).to.equal(serialOf('server'));
    await refused;
  });

  it('changes nothing if it is refused', async () => {
    const { server, port } = await listen();
    const bad = [{}, { ...identity('server'), key: identity('renewed').key }, { cert: 'x', key: 'y' }];
    for (const options of bad) {
      const error = await rejection(server.updateTls(options));
      expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
      expect(error.message).to.match(/^updateTls\(\): /);
    }
    expect(await shown(own, port)).to.equal(serialOf('server'));
  });

  it('is refused by a server without TLS, and by one that is closed', async () => {
    const plain = await stage.listen();
    const error = await rejection(plain.updateTls(identity('server')));
    expect(error).to.include({ code: 'ERR_REACTOR_INVALID_OPTION' });
    expect(error.message).to.match(/listens without 'tls'/);
    const { server } = await listen();
    await server.close();
    expect((await rejection(server.updateTls(identity('server')))).code).to.equal('ERR_REACTOR_NO_SUCH_SERVER');
  });

  it('can be called in any thread that has subscribed', async () => {
    const { server, port } = await listen();
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const stranger = await rejection(thread.do('updateTls', server.id, identity('renewed')));
    expect(stranger.code).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    await thread.do('subscribe', server.id);
    await thread.do('updateTls', server.id, identity('renewed'));
    expect(await shown(own, port)).to.equal(serialOf('renewed'));
    await server.updateTls(identity('server'));
    expect(await shown(own, port)).to.equal(serialOf('server'));
  });

  it('holds on all io workers', async () => {
    const reactor = await own.spawn({ ioWorkers: 3 });
    const server = await reactor.listen({ host: HOST, port: 0, tls: identity('server') });
    await server.updateTls(identity('renewed'));
    const serials = await Promise.all(Array.from({ length: 12 }, () => shown(own, server.address.port)));
    expect(new Set(serials)).to.deep.equal(new Set([serialOf('renewed')]));
    await reactor.close({ timeoutMs: 0 });
  });
});

describe('a server with TLS', () => {
  const stage = scene();
  const own = props();

  /** A reactor, and its io worker. */
  async function spawn(): Promise<{ reactor: Reactor; crash: () => Promise<void> }> {
    const started = next<[Worker]>(process, 'worker');
    const reactor = await own.spawn();
    let [ioWorker] = await started;
    return {
      reactor,
      crash: async () => {
        const respawned = next(reactor, 'respawn');
        const again = next<[Worker]>(process, 'worker');
        void ioWorker.terminate();
        [ioWorker] = await again;
        await respawned;
      },
    };
  }

  it('listens again after its io worker has crashed, and its clients connect again', async () => {
    const { reactor, crash } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0, tls: { ...identity('server'), requestCert: true, ca } });
    server.on('message', (connection, data) => connection.send(data));
    const client = reactor.client({ tls: { ca, ...identity('client') } });
    for (let round = 0; round < 2; round++) {
      const connection = await client.connect({ host: HOST, port: server.address.port });
      const echoes = texts(connection);
      connection.send('hello');
      expect(await echoes.reaches(1)).to.deep.equal(['hello']);
      const over = next<[string]>(connection, 'close');
      if (round === 0) await crash();
      else connection.destroy();
      expect((await over)[0]).to.equal(round === 0 ? 'io-worker-crash' : 'local-destroy');
    }
    await reactor.close({ timeoutMs: 0 });
  });

  it('shows the last certificate after a crash', async () => {
    const { reactor, crash } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0, tls: identity('server') });
    await server.updateTls(identity('renewed'));
    await crash();
    expect(await shown(own, server.address.port)).to.equal(serialOf('renewed'));
    await reactor.close({ timeoutMs: 0 });
  });

  it('shows the last one also if the thread that has given it is no more', async () => {
    const { reactor, crash } = await spawn();
    const server = await reactor.listen({ host: HOST, port: 0, tls: identity('server') });
    const thread = await AppThread.subscribed(own, server);
    await thread.do('updateTls', server.id, identity('renewed'));
    // The others have been told of it, and have asked for it.
    await until(() => server.request?.tls?.version !== 0);
    await thread.kill();
    await crash();
    expect(await shown(own, server.address.port)).to.equal(serialOf('renewed'));
    await reactor.close({ timeoutMs: 0 });
  });

  it('tells of failed handshakes in all threads that have listened or subscribed', async () => {
    const server = await stage.listen({ dispatch: 'balance', tls: identity('server') });
    const threads = await Promise.all([1, 2].map(() => AppThread.subscribed(own, server)));
    const failed = next<[Error, TlsPeer]>(server, 'tlsClientError');
    const peer = (await stage.connectRaw(server.address.port)).write(Buffer.from('garbage'));
    const remotePort = peer.socket.localPort ?? 0;
    for (const thread of threads) {
      const [report] = await thread.log('tlsClientError').reaches(1);
      expect(report).to.include({ remoteAddress: HOST, remotePort });
      expect(report?.code).to.match(/^ERR_SSL_/);
    }
    // This thread has listened, and has not subscribed.
    const [error, where] = await failed;
    expect(where).to.deep.equal({ remoteAddress: HOST, remotePort });
    expect(causeCode(error)).to.match(/^ERR_SSL_/);
    await peer.read().gone;
  });

  it('and its connections belong to any thread', async () => {
    const thread = await AppThread.attached(own, stage.reactor.handle);
    const { id: serverId, port } = await thread.do('listen', { tls: identity('server') }, { echo: 'echo ' });
    const near = await stage.client({ tls: { ca } }).connect({ host: HOST, port });
    const echoes = texts(near);
    near.send('1');
    expect(await echoes.reaches(1)).to.deep.equal(['echo 1']);
    // Each side is known from the other thread.
    const [{ id } = { id: 0 }] = await thread.log('connection').reaches(1);
    expect(await stage.reactor.connection(id).info()).to.deep.equal(await thread.do('info', id));
    expect((await stage.reactor.connection(id).info()).tls?.protocol).to.equal('TLSv1.3');
    stage.reactor.connection(id).send('from here');
    expect(await echoes.reaches(2)).to.deep.equal(['echo 1', 'from here']);
    // And it is handed over when its thread dies.
    const server = stage.reactor.server(serverId);
    stage.defer(() => server.close({ drainMs: 0 }));
    const coming = nextConnection(server);
    await server.subscribe();
    await thread.kill();
    const far = await coming;
    expect([far.id, far.encrypted]).to.deep.equal([id, true]);
    const received = texts(far);
    near.send('2');
    expect(await received.reaches(1)).to.deep.equal(['2']);
  });
});
