import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { expect } from 'chai';
import type { ReactorError } from '../../src/index.js';
import { ca, identity } from '../fixtures/certificates.js';
import { causeCode, closed, next, nextConnection, rejection, texts } from '../fixtures/events.js';
import { RawPeer } from '../fixtures/raw-peer.js';
import { collectWarnings, pattern, props, readModes, type Scene, scene } from '../fixtures/scene.js';
import { AppThread } from '../fixtures/thread-app.js';

const MIB = 1024 * 1024;

/** Leaves the file of a socket on which nobody listens any more, as a process that is killed does. */
function leaveStale(file: string): void {
  const script = `require('net').createServer().listen(${JSON.stringify(file)}, () => process.kill(process.pid, 'SIGKILL'))`;
  try {
    execFileSync(process.execPath, ['-e', script]);
  } catch {
    // It was killed.
  }
  expect(fs.lstatSync(file).isSocket()).to.equal(true);
}

describe('Unix domain sockets', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'reactor-'));
  let files = 0;
  const nextFile = (): string => path.join(folder, `socket-${++files}`);

  after(() => {
    // Every server has removed its file.
    const left = fs.readdirSync(folder);
    fs.rmSync(folder, { recursive: true });
    expect(left).to.deep.equal([]);
  });

  for (const { name, options } of readModes) {
    describe(name, () => {
      const stage = scene(options);

      it('carry messages between a server and a client', async () => {
        const file = nextFile();
        const server = await stage.listen({ path: file, highWaterMark: 32 * MIB });
        expect(server.address).to.deep.equal({ address: file, port: 0, family: 'Unix' });
        expect(fs.lstatSync(file).isSocket()).to.equal(true);
        server.on('message', (connection, data) => connection.send(data));
        const client = stage.client({ highWaterMark: 32 * MIB });
        const near = await client.connect({ path: file });
        const data = pattern(3 * MIB);
        const echo = next<[Buffer]>(near, 'message');
        near.send(data);
        expect((await echo)[0].equals(data)).to.equal(true);
        const end = closed(near);
        near.shutdown();
        expect((await end).reason).to.equal('local-shutdown');
        await server.close();
        expect(fs.existsSync(file)).to.equal(false);
      });

      it('are served for a plain peer, too', async () => {
        const server = await stage.listen({ path: nextFile() });
        const coming = nextConnection(server);
        const socket = net.connect({ path: server.address.address });
        stage.defer(() => socket.destroy());
        const peer = new RawPeer(socket);
        const connection = await coming;
        const received = texts(connection);
        peer.read().send('1', '2');
        expect(await received.reaches(2)).to.deep.equal(['1', '2']);
        connection.send('3');
        expect(await peer.texts.reaches(1)).to.deep.equal(['3']);
        const end = closed(connection);
        peer.end();
        expect((await end).reason).to.equal('peer-end');
      });

      it('take TLS', async () => {
        const file = nextFile();
        const server = await stage.listen({ path: file, tls: identity('server') });
        server.on('message', (connection, data) => connection.send(data));
        const near = await stage.client({ tls: { ca, servername: 'localhost' } }).connect({ path: file });
        const echoes = texts(near);
        near.send('secret');
        expect(await echoes.reaches(1)).to.deep.equal(['secret']);
        const info = await near.info();
        expect([info.remoteFamily, info.remoteAddress, info.tls?.authorized]).to.deep.equal(['Unix', file, true]);
        // Without a name it is that of this machine.
        await stage.client({ tls: { ca } }).connect({ path: file });
        const wrong = await rejection(stage.client({ tls: { ca, servername: 'a.b' } }).connect({ path: file }));
        expect([wrong.code, causeCode(wrong)]).to.deep.equal(['ERR_REACTOR_TLS', 'ERR_TLS_CERT_ALTNAME_INVALID']);
        const failed = next<[ReactorError, object]>(server, 'tlsClientError');
        const socket = net.connect({ path: file }, () => socket.write('garbage'));
        stage.defer(() => socket.destroy());
        socket.on('error', () => undefined);
        const [error, peer] = await failed;
        expect(error.message).to.match(/handshake with a client failed/);
        expect(peer).to.deep.equal({ remoteAddress: '', remotePort: 0 });
      });
    });
  }

  describe('as a rule', () => {
    const stage = scene();
    const own = props();

    async function echoes(file: string, of: Scene = stage): Promise<void> {
      const connection = await of.client().connect({ path: file });
      const received = texts(connection);
      connection.send('hello');
      expect(await received.reaches(1)).to.deep.equal(['hello']);
    }

    it('have the path as address on the side that listens, and nothing on the other', async () => {
      const file = `${nextFile()}-\u00fc\u00f1\u00ee`;
      const server = await stage.listen({ path: file });
      const [far, near] = await Promise.all([nextConnection(server), stage.client().connect({ path: file })]);
      const common = { remotePort: 0, remoteFamily: 'Unix', localPort: 0, encrypted: false };
      expect(await near.info()).to.deep.equal({ ...common, remoteAddress: file, localAddress: '' });
      expect(await far.info()).to.deep.equal({ ...common, remoteAddress: '', localAddress: file });
      const thread = await AppThread.attached(own, stage.reactor.handle);
      expect(await thread.do('info', far.id)).to.deep.equal(await far.info());
    });

    it('have the permissions of mode', async () => {
      for (const mode of [0o600, 0o660, 0o777]) {
        const server = await stage.listen({ path: nextFile(), mode });
        expect(fs.statSync(server.address.address).mode & 0o777).to.equal(mode);
      }
    });

    it('take the place of a file that nobody listens on any more', async () => {
      const file = nextFile();
      leaveStale(file);
      const server = await stage.listen({ path: file });
      server.on('message', (connection, data) => connection.send(data));
      await echoes(file);
    });

    it('leave one alone that somebody listens on', async () => {
      const file = nextFile();
      const server = await stage.listen({ path: file });
      server.on('message', (connection, data) => connection.send(data));
      const error = await rejection(stage.reactor.listen({ path: file }));
      expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_LISTEN_FAILED', 'EADDRINUSE']);
      expect(error.message).to.include(file);
      await echoes(file);
    });

    it('leave a file alone that is no socket', async () => {
      const file = nextFile();
      fs.writeFileSync(file, 'precious');
      const error = await rejection(stage.reactor.listen({ path: file }));
      expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_LISTEN_FAILED', 'EADDRINUSE']);
      expect(fs.readFileSync(file, 'utf8')).to.equal('precious');
      // A link to a stale socket is somebody's, too.
      const stale = nextFile();
      leaveStale(stale);
      fs.unlinkSync(file);
      fs.symlinkSync(stale, file);
      expect((await rejection(stage.reactor.listen({ path: file }))).code).to.equal('ERR_REACTOR_LISTEN_FAILED');
      expect(fs.lstatSync(file).isSymbolicLink()).to.equal(true);
      for (const each of [file, stale]) fs.unlinkSync(each);
    });

    it('say what is wrong when there is no such folder, or nobody listens', async () => {
      const file = path.join(folder, 'no', 'such');
      const error = await rejection(stage.reactor.listen({ path: file }));
      expect(error.code).to.equal('ERR_REACTOR_LISTEN_FAILED');
      const refused = await rejection(stage.client().connect({ path: file }));
      expect([refused.code, causeCode(refused)]).to.deep.equal(['ERR_REACTOR_CONNECT_FAILED', 'ENOENT']);
      const stale = nextFile();
      leaveStale(stale);
      const dead = await rejection(stage.client().connect({ path: stale }));
      expect([dead.code, causeCode(dead)]).to.deep.equal(['ERR_REACTOR_CONNECT_FAILED', 'ECONNREFUSED']);
      expect(dead.message).to.include(stale);
      fs.unlinkSync(stale);
    });

    it('may have a path as long as the system takes, and no longer', async function () {
      if (process.platform !== 'linux') this.skip();
      const longest = path.join(folder, 'x'.repeat(107)).slice(0, 107);
      const server = await stage.listen({ path: longest });
      server.on('message', (connection, data) => connection.send(data));
      await echoes(longest);
      for (const call of [
        stage.reactor.listen({ path: `${longest}x` }),
        stage.client().connect({ path: `${longest}x` }),
      ]) {
        const error = await rejection(call);
        expect(error.code).to.equal('ERR_REACTOR_INVALID_OPTION');
        expect(error.message).to.match(/'path' must be a path of 1 to 107 bytes/);
      }
    });

    it('may have no file on Linux, with a name that begins with \\0', async function () {
      if (process.platform !== 'linux') this.skip();
      const abstract = `\0reactor-test-${process.pid}`;
      const server = await stage.listen({ path: abstract });
      server.on('message', (connection, data) => connection.send(data));
      expect(server.address.address).to.equal(abstract);
      await echoes(abstract);
      const error = await rejection(stage.reactor.listen({ path: abstract }));
      expect([error.code, causeCode(error)]).to.deep.equal(['ERR_REACTOR_LISTEN_FAILED', 'EADDRINUSE']);
    });

    it('live on one io worker, and nobody is warned of it', async () => {
      const warnings = collectWarnings(own);
      const reactor = await own.spawn({ ioWorkers: 2 });
      const file = nextFile();
      const server = await reactor.listen({ path: file });
      server.on('message', (connection, data) => connection.send(data));
      for (let i = 0; i < 4; i++) {
        const connection = await reactor.connect({ path: file });
        const received = texts(connection);
        connection.send(`${i}`);
        expect(await received.reaches(1)).to.deep.equal([`${i}`]);
      }
      expect(warnings).to.deep.equal([]);
      await reactor.close({ timeoutMs: 0 });
      expect(fs.existsSync(file)).to.equal(false);
    });

    it('listen again after their io worker has crashed', async () => {
      const started = next<[Worker]>(process, 'worker');
      const reactor = await own.spawn();
      const [ioWorker] = await started;
      const file = nextFile();
      const server = await reactor.listen({ path: file, mode: 0o600 });
      server.on('message', (connection, data) => connection.send(data));
      const respawned = next(reactor, 'respawn');
      void ioWorker.terminate();
      await respawned;
      const connection = await reactor.connect({ path: file });
      const received = texts(connection);
      connection.send('again');
      expect(await received.reaches(1)).to.deep.equal(['again']);
      expect(fs.statSync(file).mode & 0o777).to.equal(0o600);
      await reactor.close({ timeoutMs: 0 });
    });
  });
});
