import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import tls from 'node:tls';
import { expect } from 'chai';
import type { ConnectionDuplex, DuplexOptions } from '../../src/index.js';
import { next, nextConnection, until } from '../fixtures/events.js';
import { HOST, pattern, scene } from '../fixtures/scene.js';
import { digest, readAll } from '../fixtures/socket-pairs.js';

const MIB = 1024 * 1024;

const fixture = (name: string): Buffer =>
  readFileSync(new URL(`../../../test/fixtures/localhost-${name}.pem`, import.meta.url));
const key = fixture('key');
const cert = fixture('cert');

describe('TLS on connections of a reactor', () => {
  const stage = scene();

  async function listen(server: tls.Server | https.Server, options: DuplexOptions = {}): Promise<number> {
    const listener = await stage.listen({ codec: 'raw' });
    listener.on('connection', (connection) => void server.emit('connection', connection.toDuplex(options)));
    return listener.address.port;
  }

  async function plain(server: tls.Server | https.Server): Promise<number> {
    server.listen(0, HOST);
    await next(server, 'listening');
    stage.defer(async () => {
      const closed = next(server, 'close');
      server.close();
      await closed;
    });
    return (server.address() as net.AddressInfo).port;
  }

  async function stream(port: number): Promise<ConnectionDuplex> {
    const connection = await stage.client({ codec: 'raw' }).connect({ host: HOST, port });
    return connection.toDuplex();
  }

  function secured(socket: tls.TLSSocket): tls.TLSSocket {
    stage.defer(() => socket.destroy());
    return socket;
  }

  const echo = (): tls.Server => tls.createServer({ key, cert }, (socket) => void socket.pipe(socket));

  /** Writes it, and ends when as much has come back. */
  async function thereAndBack(socket: tls.TLSSocket, data: Buffer): Promise<Buffer> {
    const chunks: Buffer[] = [];
    let length = 0;
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length === data.length) socket.end();
    });
    socket.write(data);
    await next(socket, 'close');
    return Buffer.concat(chunks);
  }

  it('is what a tls.Server speaks', async () => {
    const port = await listen(echo());
    const socket = secured(tls.connect({ host: HOST, port, ca: cert, servername: 'localhost' }));
    await once(socket, 'secureConnect');
    expect(socket.authorized).to.equal(true);
    expect(digest(await thereAndBack(socket, pattern(5 * MIB)))).to.equal(digest(pattern(5 * MIB)));
  });

  it('is what tls.connect() speaks', async () => {
    const port = await plain(echo());
    const under = await stream(port);
    const socket = secured(tls.connect({ socket: under, ca: cert, servername: 'localhost' }));
    await once(socket, 'secureConnect');
    expect(socket.authorized).to.equal(true);
    expect(digest(await thereAndBack(socket, pattern(5 * MIB)))).to.equal(digest(pattern(5 * MIB)));
    await until(() => under.closed);
  });

  it('is what both sides speak, on one reactor', async () => {
    const port = await listen(echo());
    const socket = secured(tls.connect({ socket: await stream(port), ca: cert, servername: 'localhost' }));
    expect(digest(await thereAndBack(socket, pattern(5 * MIB)))).to.equal(digest(pattern(5 * MIB)));
  });

  it('brings what is written when the peer has ended its side, with allowHalfOpen', async () => {
    const port = await listen(echo(), { allowHalfOpen: true });
    const socket = secured(tls.connect({ host: HOST, port, ca: cert, servername: 'localhost' }));
    socket.end(pattern(5 * MIB));
    expect(digest(await readAll(socket))).to.equal(digest(pattern(5 * MIB)));
  });

  it('fails for who does not trust the certificate', async () => {
    const server = echo();
    const refused = next(server, 'tlsClientError');
    const port = await listen(server);
    const socket = secured(tls.connect({ socket: await stream(port), servername: 'localhost' }));
    const [error] = await next<[NodeJS.ErrnoException]>(socket, 'error');
    expect(error.code).to.equal('DEPTH_ZERO_SELF_SIGNED_CERT');
    await refused;
  });

  it('tells the server when what comes is no TLS', async () => {
    const server = echo();
    const refused = next<[Error]>(server, 'tlsClientError');
    const peer = await stage.connectRaw(await listen(server));
    peer.read().socket.end('GET / HTTP/1.1\r\n\r\n');
    expect((await refused)[0]).to.be.instanceOf(Error);
    await peer.gone;
  });

  it('tells the other side when a connection breaks', async () => {
    const server = tls.createServer({ key, cert });
    const port = await listen(server);
    const accepted = next<[tls.TLSSocket]>(server, 'secureConnection');
    const under = await stream(port);
    secured(tls.connect({ socket: under, ca: cert, servername: 'localhost' }));
    const [far] = await accepted;
    const gone = next(far, 'close');
    far.on('error', () => undefined).resume();
    under.destroy();
    await gone;
  });

  it('is what an https.Server and an https client speak', async () => {
    const server = https.createServer({ key, cert }, (request, response) => request.pipe(response));
    const port = await listen(server);
    for (const createConnection of [undefined, await stream(port)]) {
      const request = https.request({
        host: HOST,
        port,
        method: 'POST',
        ca: cert,
        servername: 'localhost',
        agent: false,
        ...(createConnection !== undefined && {
          createConnection: () => tls.connect({ socket: createConnection, ca: cert, servername: 'localhost' }),
        }),
      });
      request.end(pattern(3 * MIB));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      expect(digest(await readAll(response))).to.equal(digest(pattern(3 * MIB)));
    }
  });

  it('can begin in the middle of a plain conversation, as databases do', async () => {
    const listener = await stage.listen({ codec: 'raw' });
    const accepted = nextConnection(listener);
    const near = await stream(listener.address.port);
    const far = (await accepted).toDuplex();
    const asked = next<[Buffer]>(far, 'data');
    near.write('may I?');
    expect((await asked)[0].toString()).to.equal('may I?');
    far.pause();
    const answered = next<[Buffer]>(near, 'data');
    far.write('S');
    expect((await answered)[0].toString()).to.equal('S');
    near.pause();
    near.removeAllListeners('data');
    far.removeAllListeners('data');
    const server = echo();
    server.emit('connection', far);
    const socket = secured(tls.connect({ socket: near, ca: cert, servername: 'localhost' }));
    socket.end('secret');
    expect((await readAll(socket)).toString()).to.equal('secret');
  });
});
