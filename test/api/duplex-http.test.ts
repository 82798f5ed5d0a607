import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import type net from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { expect } from 'chai';
import type { ConnectionDuplex, ConnectionOptions, TcpServer } from '../../src/index.js';
import { Log, next, nextConnection, rejection, until } from '../fixtures/events.js';
import { HOST, pattern, readModes, scene } from '../fixtures/scene.js';
import { digest, readAll } from '../fixtures/socket-pairs.js';

const MIB = 1024 * 1024;

interface HttpOnReactor {
  readonly server: http.Server;
  readonly listener: TcpServer;
  readonly port: number;
  /** The streams that the server has got. */
  readonly streams: Log<ConnectionDuplex>;
}

interface Answer {
  readonly response: http.IncomingMessage;
  readonly body: Buffer;
}

function* pieces(total: number, piece: number): Generator<Buffer> {
  const data = pattern(piece);
  for (let sent = 0; sent < total; sent += piece) yield data.subarray(0, Math.min(piece, total - sent));
}

async function digestOf(stream: Readable): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function answer(request: http.ClientRequest): Promise<Answer> {
  const [response] = (await once(request, 'response')) as [http.IncomingMessage];
  return { response, body: await readAll(response) };
}

for (const { name, options: spawnOptions } of readModes) {
  describe(`an http.Server on connections of a reactor, ${name}`, () => {
    const stage = scene(spawnOptions);

    async function serve(
      handler: http.RequestListener,
      options: { http?: http.ServerOptions; connection?: ConnectionOptions } = {},
    ): Promise<HttpOnReactor> {
      const server = http.createServer(options.http ?? {}, handler);
      const listener = await stage.listen({ codec: 'raw', ...options.connection });
      const streams = new Log<ConnectionDuplex>();
      listener.on('connection', (connection) => {
        // As it takes sockets from itself: it decides whether the end of a request ends the connection.
        const stream = connection.toDuplex({ allowHalfOpen: true });
        streams.add(stream);
        server.emit('connection', stream);
      });
      // Starts what looks after connections and their times.
      server.emit('listening');
      stage.defer(() => {
        server.close();
        server.closeAllConnections();
      });
      return { server, listener, port: listener.address.port, streams };
    }

    function agent(options: http.AgentOptions = {}): http.Agent {
      const made = new http.Agent({ keepAlive: true, maxSockets: 1, ...options });
      stage.defer(() => made.destroy());
      return made;
    }

    it('answers requests on one connection that is kept alive', async () => {
      const { port, streams } = await serve((request, response) => response.end(`you asked for ${request.url}`));
      const kept = agent();
      for (const path of ['/a', '/b', '/c']) {
        const { response, body } = await answer(http.get({ host: HOST, port, path, agent: kept }));
        expect([response.statusCode, body.toString()]).to.deep.equal([200, `you asked for ${path}`]);
      }
      expect(streams.entries.length).to.equal(1);
    });

    it('knows the peer of a request', async () => {
      const { port } = await serve(({ socket }, response) => {
        response.end(JSON.stringify([socket.remoteAddress, socket.remotePort, socket.localPort, socket.remoteFamily]));
      });
      const request = http.get({ host: HOST, port, agent: false });
      const [socket] = (await once(request, 'socket')) as [net.Socket];
      const { body } = await answer(request);
      const peerPort = JSON.parse(body.toString())[1] as number;
      expect(JSON.parse(body.toString())).to.deep.equal([HOST, peerPort, port, 'IPv4']);
      expect(peerPort).to.be.greaterThan(0);
      if (!socket.closed) await next(socket, 'close');
    });

    it('answers requests that come in one piece, in order', async () => {
      const { port } = await serve((request, response) => {
        // The first ones take longest.
        const rounds = 20 - Number(request.url?.slice(1));
        (function later(left: number): void {
          if (left > 0) setImmediate(() => later(left - 1));
          else response.end(`<${request.url}>`);
        })(rounds);
      });
      const peer = await stage.connectRaw(port);
      const paths = Array.from({ length: 20 }, (_, index) => `/${index}`);
      const last = 'connection: close\r\n';
      peer.socket.write(
        paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: x\r\n${path === '/19' ? last : ''}\r\n`).join(''),
      );
      const text = (await readAll(peer.socket)).toString();
      expect(text.match(/<.*?>/g)).to.deep.equal(paths.map((path) => `<${path}>`));
    });

    it('takes and gives chunked bodies of 50 MiB', async () => {
      const { port } = await serve((request, response) => request.pipe(response));
      const total = 50 * MIB;
      const request = http.request({ host: HOST, port, method: 'POST', agent: agent() });
      const sent = createHash('sha256');
      const writing = (async () => {
        for (const piece of pieces(total, 150_000)) {
          sent.update(piece);
          if (!request.write(piece)) await once(request, 'drain');
        }
        request.end();
      })();
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      expect(response.headers['transfer-encoding']).to.equal('chunked');
      const received = await digestOf(response);
      await writing;
      expect(received).to.equal(sent.digest('hex'));
    });

    it('gives a body of 50 MiB in one piece', async () => {
      const body = Buffer.concat([...pieces(50 * MIB, 10 * MIB)]);
      const { port } = await serve((_request, response) => response.end(body));
      const got = await answer(http.get({ host: HOST, port, agent: agent() }));
      expect(got.response.headers['content-length']).to.equal(String(body.length));
      expect(digest(got.body)).to.equal(digest(body));
    });

    it('lets a request wait for 100 Continue', async () => {
      const { port, server } = await serve(() => undefined);
      server.on('checkContinue', (request: http.IncomingMessage, response: http.ServerResponse) => {
        response.writeContinue();
        request.pipe(response);
      });
      const headers = { expect: '100-continue' };
      const request = http.request({ host: HOST, port, method: 'POST', headers, agent: agent() });
      request.flushHeaders();
      await once(request, 'continue');
      request.end('the body');
      expect((await answer(request)).body.toString()).to.equal('the body');
    });

    it('answers a client that has ended its side behind the request, with httpAllowHalfOpen', async () => {
      const { port, server } = await serve((_request, response) => void setImmediate(() => response.end('answer')));
      Object.assign(server, { httpAllowHalfOpen: true });
      const peer = await stage.connectRaw(port);
      peer.socket.end('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      expect((await readAll(peer.socket)).toString()).to.match(/answer$/);
    });

    it('hands the connection over for an upgrade, with what has come behind the request', async () => {
      const { port, server } = await serve(() => undefined);
      server.on('upgrade', (_request: http.IncomingMessage, socket: Duplex, head: Buffer) => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n');
        socket.write(head);
        socket.pipe(socket);
      });
      const headers = { connection: 'upgrade', upgrade: 'echo' };
      const request = http.request({ host: HOST, port, headers, agent: false });
      request.end();
      const [response, socket] = await next<[http.IncomingMessage, net.Socket]>(request, 'upgrade');
      expect(response.statusCode).to.equal(101);
      socket.end(pattern(2 * MIB));
      expect(digest(await readAll(socket))).to.equal(digest(pattern(2 * MIB)));

      const peer = await stage.connectRaw(port);
      peer.socket.end('GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nat once');
      expect((await readAll(peer.socket)).toString()).to.match(/101 Switching[\s\S]*\r\n\r\nat once$/);
    });

    it('tells a handler that the client has gone in the middle of the request', async () => {
      const log = new Log<string>();
      const { port } = await serve((request, response) => {
        request.on('aborted', () => log.add('aborted'));
        request.on('error', ({ code }: NodeJS.ErrnoException) => log.add(`request ${code}`));
        response.on('close', () => log.add('closed'));
        request.resume();
        log.add('begun');
      });
      const request = http.request({ host: HOST, port, method: 'POST', headers: { 'content-length': 1000 } });
      request.on('error', () => undefined);
      request.write('a part');
      await log.reaches(1);
      request.destroy();
      expect((await log.reaches(4)).sort()).to.deep.equal(['aborted', 'begun', 'closed', 'request ECONNRESET']);
    });

    it('tells a handler that the client has gone in the middle of the answer', async () => {
      const log = new Log<string>();
      const { port, streams } = await serve((_request, response) => {
        response.on('close', () => log.add(`closed, finished: ${response.writableFinished}`));
        (function write(): void {
          if (response.destroyed) return;
          if (response.write(pattern(MIB))) setImmediate(write);
          else response.once('drain', write);
        })();
      });
      const request = http.get({ host: HOST, port, agent: false });
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      response.on('error', () => undefined);
      await once(response, 'data');
      response.destroy();
      expect(await log.reaches(1)).to.deep.equal(['closed, finished: false']);
      const [stream] = await streams.reaches(1);
      await until(() => stream?.closed === true);
    });

    it('answers what is no request with 400', async () => {
      const { port } = await serve(() => undefined);
      const peer = await stage.connectRaw(port);
      peer.socket.write('what?\r\n\r\n');
      expect((await readAll(peer.socket)).toString()).to.match(/^HTTP\/1.1 400 Bad Request/);
    });

    it('closes a connection that is kept alive and not used, after keepAliveTimeout', async () => {
      const { port, streams } = await serve((_request, response) => response.end('ok'), {
        http: { keepAliveTimeout: 50 },
      });
      const peer = await stage.connectRaw(port);
      peer.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      expect((await readAll(peer.socket)).toString()).to.match(/ok$/);
      peer.socket.end();
      const [stream] = await streams.reaches(1);
      await until(() => stream?.closed === true);
    });

    it('answers a request that does not come to its end with 408, after requestTimeout', async () => {
      const { port } = await serve(() => undefined, {
        http: { requestTimeout: 100, headersTimeout: 50, connectionsCheckingInterval: 20 },
      });
      const peer = await stage.connectRaw(port);
      peer.socket.write('POST / HTTP/1.1\r\nhost: x\r\n');
      expect((await readAll(peer.socket)).toString()).to.match(/^HTTP\/1.1 408 Request Timeout/);
    });

    it("destroys a connection on which nothing happens, after the server's timeout", async () => {
      const { port, server } = await serve(() => undefined);
      server.setTimeout(50);
      const peer = await stage.connectRaw(port);
      peer.socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
      expect((await readAll(peer.socket)).length).to.equal(0);
    });

    it('closes idle connections with close(), and lets requests that run finish', async () => {
      const slowOnes = new Log<http.ServerResponse>();
      const { port, server, listener } = await serve((request, response) => {
        if (request.url === '/quick') response.end('quick');
        else slowOnes.add(response);
      });
      const idle = agent();
      await answer(http.get({ host: HOST, port, path: '/quick', agent: idle }));
      const slow = http.get({ host: HOST, port, path: '/slow', agent: agent() });
      const answered = answer(slow);
      const [running] = await slowOnes.reaches(1);
      expect(listener.connectionCount).to.equal(2);
      server.close();
      const closing = listener.close({ drainMs: 20_000 });
      await until(() => listener.connectionCount === 1);
      running?.end('slow');
      expect((await answered).body.toString()).to.equal('slow');
      // It was kept alive for the agent; as for a server that listens itself, only its end is missing.
      server.closeIdleConnections();
      await closing;
    });

    it('works with borrowed messages', async () => {
      const { port } = await serve((request, response) => request.pipe(response), {
        connection: { messages: 'borrow', highWaterMark: 64 * 1024 },
      });
      const request = http.request({ host: HOST, port, method: 'POST', agent: agent() });
      request.end(pattern(8 * MIB));
      expect(digest((await answer(request)).body)).to.equal(digest(pattern(8 * MIB)));
    });

    it('serves many clients at once', async () => {
      const { port } = await serve((request, response) => {
        request.resume();
        request.on('end', () => response.end(request.url));
      });
      const many = agent({ maxSockets: 50 });
      const answers = Array.from({ length: 500 }, async (_, index) => {
        const request = http.request({ host: HOST, port, path: `/${index}`, method: 'POST', agent: many });
        request.end(pattern(index * 10));
        return (await answer(request)).body.toString();
      });
      expect(await Promise.all(answers)).to.deep.equal(Array.from({ length: 500 }, (_, index) => `/${index}`));
    });
  });
}

describe('an http client on connections of a reactor', () => {
  const stage = scene();

  async function plain(handler: http.RequestListener): Promise<{ server: http.Server; port: number }> {
    const server = http.createServer(handler);
    server.listen(0, HOST);
    await next(server, 'listening');
    stage.defer(async () => {
      server.close();
      server.closeAllConnections();
      await until(() => !server.listening);
    });
    return { server, port: (server.address() as net.AddressInfo).port };
  }

  async function stream(port: number): Promise<ConnectionDuplex> {
    const connection = await stage.client({ codec: 'raw' }).connect({ host: HOST, port });
    return connection.toDuplex();
  }

  /** Connects with the reactor whenever it needs a socket. */
  class ReactorAgent extends http.Agent {
    made = 0;

    override createConnection(
      { port }: http.ClientRequestArgs,
      done: (error: Error | null, stream: Duplex) => void,
    ): undefined {
      this.made++;
      stream(Number(port)).then(
        (made) => done(null, made),
        (error: Error) => done(error, undefined as unknown as Duplex),
      );
    }
  }

  function agent(options: http.AgentOptions = {}): ReactorAgent {
    const made = new ReactorAgent({ keepAlive: true, maxSockets: 1, ...options });
    stage.defer(() => made.destroy());
    return made;
  }

  it('makes a request with createConnection', async () => {
    const { port } = await plain((_request, response) => response.end('hello'));
    const socket = await stream(port);
    const { body } = await answer(
      http.get({ host: HOST, port, createConnection: () => socket as unknown as net.Socket }),
    );
    expect(body.toString()).to.equal('hello');
    await until(() => socket.closed);
  });

  it('makes many requests with an agent that keeps its connection', async () => {
    const { port } = await plain((request, response) => request.pipe(response));
    const kept = agent();
    for (let round = 0; round < 20; round++) {
      const request = http.request({ host: HOST, port, method: 'POST', agent: kept });
      request.end(pattern(10_000, round));
      expect(digest((await answer(request)).body)).to.equal(digest(pattern(10_000, round)));
    }
    expect(kept.made).to.equal(1);
  });

  it('makes another connection when the server has closed the one that was kept', async () => {
    const { port, server } = await plain((_request, response) => response.end('ok'));
    const kept = agent();
    await answer(http.get({ host: HOST, port, agent: kept }));
    await until(() => Object.keys(kept.freeSockets).length === 1);
    server.closeIdleConnections();
    await until(() => Object.keys(kept.freeSockets).length === 0);
    expect((await answer(http.get({ host: HOST, port, agent: kept }))).body.toString()).to.equal('ok');
    expect(kept.made).to.equal(2);
  });

  it('takes and gives chunked bodies of 50 MiB', async () => {
    const { port } = await plain((request, response) => request.pipe(response));
    const request = http.request({ host: HOST, port, method: 'POST', agent: agent() });
    const sent = createHash('sha256');
    const writing = (async () => {
      for (const piece of pieces(50 * MIB, 150_000)) {
        sent.update(piece);
        if (!request.write(piece)) await once(request, 'drain');
      }
      request.end();
    })();
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    const received = await digestOf(response);
    await writing;
    expect(received).to.equal(sent.digest('hex'));
  });

  it('emits the timeout of a request, and ends it when it is destroyed', async () => {
    const { port } = await plain(() => undefined);
    const request = http.get({ host: HOST, port, agent: agent(), timeout: 50 });
    await next(request, 'timeout');
    const failed = next<[NodeJS.ErrnoException]>(request, 'error');
    request.destroy();
    expect((await failed)[0].code).to.equal('ECONNRESET');
  });

  it('fails a request with ECONNRESET when the server goes away, with or without a reset', async () => {
    const { port } = await plain(({ socket, url }) => {
      if (url === '/reset') socket.resetAndDestroy();
      else socket.destroy();
    });
    for (const path of ['/reset', '/end']) {
      const error = await rejection(answer(http.get({ host: HOST, port, path, agent: agent() })));
      expect(error.code).to.equal('ECONNRESET');
    }
  });

  it('fails an answer that is cut in the middle', async () => {
    const { port } = await plain(({ socket }, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('a part');
      setImmediate(() => socket.end());
    });
    const error = await rejection(answer(http.get({ host: HOST, port, agent: agent() })));
    expect(error.code).to.be.oneOf(['ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE']);
  });

  it('talks to an http.Server on the same reactor', async () => {
    const server = http.createServer((request, response) => request.pipe(response));
    const listener = await stage.listen({ codec: 'raw' });
    listener.on('connection', (connection) => void server.emit('connection', connection.toDuplex()));
    const accepted = nextConnection(listener);
    const request = http.request({ host: HOST, port: listener.address.port, method: 'POST', agent: agent() });
    request.end(pattern(MIB));
    expect(digest((await answer(request)).body)).to.equal(digest(pattern(MIB)));
    (await accepted).destroy();
  });
});
