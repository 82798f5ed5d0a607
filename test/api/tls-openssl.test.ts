import { expect } from 'chai';
import type { ReactorError } from '../../src/index.js';
import { ca, certificatePath, identity } from '../fixtures/certificates.js';
import { causeCode, closed, Log, nextConnection, rejection } from '../fixtures/events.js';
import { Openssl, opensslVersion } from '../fixtures/openssl.js';
import { HOST, scene } from '../fixtures/scene.js';

const CA = certificatePath('ca-cert.pem');

/** Text that has come, in whatever pieces. */
function transcript(): { add(data: Buffer): void; reaches(text: string): Promise<unknown> } {
  const log = new Log<string>();
  let all = '';
  return {
    add: (data) => {
      all += data.toString();
      for (const character of data.toString()) log.add(character);
    },
    reaches: async (text) => {
      await log.reaches(text.length);
      expect(all).to.equal(text);
    },
  };
}

describe(`openssl s_client and s_server (${opensslVersion ?? 'SKIPPED: there is no openssl command here'})`, () => {
  const stage = scene();

  before(function () {
    if (opensslVersion === undefined) this.skip();
  });

  it('s_client verifies the server, talks, and ends', async () => {
    const server = await stage.listen({ codec: 'raw', tls: { ...identity('server'), ALPNProtocols: ['chat/1'] } });
    const received = transcript();
    server.on('message', (connection, data) => {
      received.add(data);
      connection.send(`you said ${data.toString()}`);
    });
    const coming = nextConnection(server);
    const peer = new Openssl(
      stage,
      ...['s_client', '-connect', `${HOST}:${server.address.port}`, '-CAfile', CA, '-verify_return_error'],
      ...['-servername', 'localhost', '-verify_hostname', 'localhost', '-alpn', 'chat/1'],
    );
    const connection = await coming;
    const end = closed(connection);
    await peer.prints(/Verify return code: 0 \(ok\)/);
    await peer.prints(/ALPN protocol: chat\/1/);
    expect((await connection.info()).tls).to.include({ alpnProtocol: 'chat/1', servername: 'localhost' });
    peer.type('hello\n');
    await received.reaches('hello\n');
    await peer.prints(/you said hello/);
    // Q at the beginning of a line makes it end.
    peer.type('Q\n');
    expect((await end).reason).to.equal('peer-end');
    expect(await peer.exited).to.equal(0);
  });

  it('s_client sees the end behind what was sent before shutdown()', async () => {
    const server = await stage.listen({ codec: 'raw', tls: identity('server') });
    server.on('connection', (connection) => {
      connection.send('the last words\n');
      connection.shutdown();
    });
    const peer = new Openssl(stage, 's_client', '-connect', `${HOST}:${server.address.port}`, '-CAfile', CA);
    await peer.prints(/the last words/);
    // It has been told by close_notify: s_client calls that "closed".
    await peer.prints(/^closed$/m);
    expect(await peer.exited).to.equal(0);
  });

  it("s_client that does not trust the server tells it so: 'tlsClientError'", async () => {
    for (const [who, cause] of [
      ['server', 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA'],
      ['expired', 'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_EXPIRED ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED'],
    ] as const) {
      const server = await stage.listen({ codec: 'raw', tls: identity(who) });
      const failed = new Log<string | undefined>();
      server.on('tlsClientError', (error) => failed.add(causeCode(error)));
      const authority = certificatePath(who === 'server' ? 'other-ca-cert.pem' : 'ca-cert.pem');
      const peer = new Openssl(
        stage,
        ...['s_client', '-connect', `${HOST}:${server.address.port}`, '-CAfile', authority, '-verify_return_error'],
      );
      const [code] = await failed.reaches(1);
      expect(cause.split(' ')).to.include(code);
      expect(await peer.exited).not.to.equal(0);
    }
  });

  it('s_client shows its certificate', async () => {
    const server = await stage.listen({ codec: 'raw', tls: { ...identity('server'), requestCert: true, ca } });
    const args = ['s_client', '-connect', `${HOST}:${server.address.port}`, '-CAfile', CA];
    const key = ['-cert', certificatePath('client-cert.pem'), '-key', certificatePath('client-key.pem')];
    const coming = nextConnection(server);
    new Openssl(stage, ...args, ...key);
    const { tls } = await (await coming).info();
    expect([tls?.authorized, tls?.peerCertificate?.subject['CN']]).to.deep.equal([true, 'the client']);
    const failed = new Log<string | undefined>();
    server.on('tlsClientError', (error) => failed.add(causeCode(error)));
    const stranger = new Openssl(stage, ...args);
    await stranger.prints(/alert certificate required/);
    expect(await failed.reaches(1)).to.deep.equal(['ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE']);
  });

  /** An s_server on a port that the system has chosen. */
  async function serve(...args: readonly string[]): Promise<{ peer: Openssl; port: number }> {
    const peer = new Openssl(
      stage,
      ...['s_server', '-accept', `${HOST}:0`, '-cert', certificatePath('server-cert.pem')],
      ...['-key', certificatePath('server-key.pem'), '-naccept', '1', ...args],
    );
    const [, port] = await peer.prints(/^ACCEPT .*:(\d+)/m);
    return { peer, port: Number(port) };
  }

  it('s_server is verified, talks, and hears the end', async () => {
    const { peer, port } = await serve();
    const connection = await stage.client({ codec: 'raw', tls: { ca } }).connect({ host: HOST, port });
    expect((await connection.info()).tls?.peerCertificate?.subject['CN']).to.equal('localhost');
    const received = transcript();
    connection.on('message', (data) => received.add(data));
    connection.send('question\n');
    await peer.prints(/question/);
    peer.type('answer\n');
    await received.reaches('answer\n');
    const end = closed(connection);
    connection.shutdown();
    expect((await end).reason).to.equal('local-shutdown');
    expect(await peer.exited).to.equal(0);
  });

  it('s_server is refused if it is not trusted', async () => {
    const { peer, port } = await serve();
    const error = await rejection(stage.client({ tls: true }).connect({ host: HOST, port }));
    expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_TLS', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE']);
    await peer.exited;
  });

  it("s_server that wants a certificate refuses a client without one: 'tls-error'", async () => {
    const { peer, port } = await serve('-Verify', '1', '-verify_return_error', '-CAfile', CA);
    const connection = await stage.client({ codec: 'raw', tls: { ca } }).connect({ host: HOST, port });
    const { reason, detail } = await closed(connection);
    expect([reason, (detail.error as ReactorError).code]).to.deep.equal(['tls-error', 'ERR_REACTOR_TLS']);
    expect(causeCode(detail.error)).to.equal('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED');
    await peer.exited;
  });
});
