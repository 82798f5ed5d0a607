import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { PassThrough, Readable, Transform, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { expect } from 'chai';
import { Log, next, rejection, until } from '../fixtures/events.js';
import { HOST, pattern, scene } from '../fixtures/scene.js';
import { digest, type PairOptions, pairKinds, readAll, type SocketPair } from '../fixtures/socket-pairs.js';

const MIB = 1024 * 1024;

for (const kind of pairKinds) {
  describe(`a stream that is ${kind.name}`, () => {
    const stage = scene();
    const open = (options?: PairOptions): Promise<SocketPair> => kind.open(stage, options);

    it('brings what is written, in order, and calls back in order', async () => {
      const { near, far } = await open();
      const log = new Log<string>();
      for (const text of ['a', 'b', 'c', 'd']) near.write(text, () => log.add(text));
      near.write('é', 'latin1', () => log.add('latin1'));
      near.end('end', () => log.add('end'));
      expect((await readAll(far)).toString('latin1')).to.equal('abcdéend');
      expect(await log.reaches(6)).to.deep.equal(['a', 'b', 'c', 'd', 'latin1', 'end']);
    });

    it('brings what is written while it is corked, whatever the sizes', async () => {
      const { near, far } = await open();
      const sizes = [1, 10, 70_000, 0, 3, 65_536, 200_000, 7, 65_535, 1];
      const parts = sizes.map((size, index) => pattern(size, index));
      const all = readAll(far);
      near.cork();
      for (const part of parts) near.write(part);
      near.uncork();
      near.write('x');
      near.cork();
      near.end('y');
      expect(digest(await all)).to.equal(digest(Buffer.concat([...parts, Buffer.from('xy')])));
    });

    it("answers what has been written before with 'finish', then ends for the other side, too", async () => {
      const { near, far } = await open();
      const log = new Log<string>();
      near.on('finish', () => log.add('finish')).on('end', () => log.add('end'));
      near.resume();
      const all = readAll(far);
      near.end(pattern(5 * MIB));
      expect(digest(await all)).to.equal(digest(pattern(5 * MIB)));
      await next(near, 'close');
      expect(log.entries).to.deep.equal(['finish', 'end']);
    });

    it('ends its side by itself when the other one has ended, behind what has been written', async () => {
      const { near, far } = await open();
      near.write(pattern(12 * MIB));
      near.resume();
      far.end('bye');
      await next(near, 'end');
      // Nothing of the large write has been read so far.
      expect(digest(await readAll(far))).to.equal(digest(pattern(12 * MIB)));
    });

    it('stays writable behind the end of the other side with allowHalfOpen', async () => {
      const { near, far } = await open({ allowHalfOpen: true });
      near.resume();
      far.end();
      await next(near, 'end');
      expect(near.readyState).to.equal('writeOnly');
      near.write('still ');
      near.end('here');
      expect((await readAll(far)).toString()).to.equal('still here');
    });

    it('stays readable behind its own end with allowHalfOpen', async () => {
      const { near, far } = await open({ allowHalfOpen: true });
      near.end('question');
      expect((await readAll(far)).toString()).to.equal('question');
      await until(() => near.writableFinished);
      expect(near.readyState).to.equal('readOnly');
      far.end('answer');
      expect((await readAll(near)).toString()).to.equal('answer');
    });

    it("emits 'end' behind the data and without a reader's help if there is none", async () => {
      const { near, far } = await open();
      const ended = next(near, 'end');
      far.end();
      await ended;
    });

    it("keeps 'end' and 'close' until the data in front of them has been read", async () => {
      const { near, far } = await open();
      const log = new Log<string>();
      near.on('end', () => log.add('end')).on('close', () => log.add('close'));
      far.end('data');
      await until(() => near.readableLength === 4);
      far.resume();
      near.end();
      await next(far, 'close');
      await stage.settle();
      expect(log.entries).to.deep.equal([]);
      expect((near.read() as Buffer).toString()).to.equal('data');
      await log.reaches(2);
      expect(log.entries).to.deep.equal(['end', 'close']);
    });

    it("emits only 'close' when it is destroyed, and the other side sees an end", async () => {
      const { near, far } = await open();
      const log = new Log<string>();
      for (const event of ['error', 'end', 'finish', 'close']) near.on(event, () => log.add(event));
      far.resume();
      const gone = next(far, 'close');
      near.destroy();
      expect(near.destroyed).to.equal(true);
      await gone;
      await log.reaches(1);
      expect(log.entries).to.deep.equal(['close']);
      expect(near.readyState).to.equal('closed');
    });

    it("emits the error that it is destroyed with, then 'close'", async () => {
      const { near } = await open();
      const log = new Log<string>();
      near.on('error', ({ message }: Error) => log.add(message)).on('close', () => log.add('close'));
      near.destroy(new Error('enough'));
      expect(await log.reaches(2)).to.deep.equal(['enough', 'close']);
    });

    it('fails writes that have not been sent when it is destroyed', async () => {
      const { near } = await open();
      const log = new Log<string>();
      near.on('error', () => undefined);
      const failed = (error: Error | null | undefined): void => log.add(error instanceof Error ? 'failed' : 'written');
      // A net.Socket calls this one back without an error.
      near.write(Buffer.alloc(128 * MIB), () => log.add('called back'));
      near.write('behind', failed);
      near.end(failed);
      near.destroy(new Error('enough'));
      expect(await log.reaches(3)).to.deep.equal(['called back', 'failed', 'failed']);
    });

    it('refuses writes behind its end', async () => {
      const { near } = await open();
      near.end();
      const [error] = await Promise.all([next<[Error & { code: string }]>(near, 'error'), near.write('late')]);
      expect(error[0].code).to.equal('ERR_STREAM_WRITE_AFTER_END');
    });

    it('refuses writes behind its destruction', async () => {
      const { near } = await open();
      near.destroy();
      const failed = new Promise<NodeJS.ErrnoException | null | undefined>((resolve) => near.write('late', resolve));
      expect((await failed)?.code).to.equal('ERR_STREAM_DESTROYED');
    });

    it('takes part in pipelines, 20 MiB each way at once', async () => {
      const { near, far } = await open({ allowHalfOpen: true });
      const through = async (seed: number, from: SocketPair['near'], to: SocketPair['near']): Promise<void> => {
        const data = pattern(10 * MIB, seed);
        const sent = createHash('sha256');
        const received = createHash('sha256');
        function* pieces(): Generator<Buffer> {
          for (let round = 0; round < 2; round++) {
            for (let at = 0; at < data.length; at += 100_000) {
              const piece = data.subarray(at, at + 100_000);
              sent.update(piece);
              yield piece;
            }
          }
        }
        const sink = new Writable({
          write(chunk: Buffer, _encoding, done) {
            received.update(chunk);
            setImmediate(done);
          },
        });
        await Promise.all([
          pipeline(Readable.from(pieces(), { objectMode: false }), from),
          pipeline(to, new PassThrough({ highWaterMark: 1000 }), sink),
        ]);
        expect(received.digest('hex')).to.equal(sent.digest('hex'));
      };
      await Promise.all([through(1, near, far), through(2, far, near)]);
      expect([near.bytesWritten, near.bytesRead]).to.deep.equal([20 * MIB, 20 * MIB]);
    });

    it('echoes through a pipe', async () => {
      const { near, far } = await open();
      near.pipe(near);
      far.end(pattern(3 * MIB));
      expect(digest(await readAll(far))).to.equal(digest(pattern(3 * MIB)));
    });

    it("makes a writer wait for 'drain' as long as the other side does not read", async () => {
      const { near, far } = await open();
      const part = pattern(256 * 1024);
      let written = 0;
      // As one that does as it is told: it stops when the kernel and what is allowed to wait in front of it are full.
      const total = 64 * MIB;
      const writing = (async () => {
        while (written < total) {
          written += part.length;
          if (!near.write(part)) await once(near, 'drain');
        }
        near.end();
      })();
      await stage.settle();
      await stage.settle();
      expect(written).to.be.lessThan(total / 2);
      expect(near.writableLength).to.be.at.most(part.length);
      const hash = createHash('sha256');
      for await (const chunk of far) hash.update(chunk as Buffer);
      await writing;
      const expected = createHash('sha256');
      for (let sum = 0; sum < total; sum += part.length) expected.update(part);
      expect(hash.digest('hex')).to.equal(expected.digest('hex'));
    });

    it('keeps what is written without looking in its own buffer, and loses none of it', async () => {
      const { near, far } = await open();
      const part = pattern(MIB);
      for (let count = 0; count < 48; count++) near.write(part);
      near.end(part);
      expect(near.writableLength).to.be.greaterThan(16 * MIB);
      expect(near.bytesWritten).to.equal(49 * MIB);
      const hash = createHash('sha256');
      for await (const chunk of far) hash.update(chunk as Buffer);
      const expected = createHash('sha256');
      for (let count = 0; count < 49; count++) expected.update(part);
      expect(hash.digest('hex')).to.equal(expected.digest('hex'));
    });

    it('makes the other side wait as long as nobody reads, and brings everything when somebody does', async () => {
      const { near, far } = await open();
      const total = 64 * MIB;
      let sent = 0;
      const part = pattern(256 * 1024);
      const writing = (async () => {
        while (sent < total) {
          sent += part.length;
          if (!far.write(part)) await once(far, 'drain');
        }
        far.end();
      })();
      await stage.settle();
      await stage.settle();
      expect(sent).to.be.lessThan(total / 2);
      expect(near.readableLength).to.be.at.most(MIB);
      let received = 0;
      for await (const chunk of near) received += (chunk as Buffer).length;
      await writing;
      expect(received).to.equal(total);
      expect(near.bytesRead).to.equal(total);
    });

    it('can be paused and resumed in its own handler, chunk by chunk', async () => {
      const { near, far } = await open();
      const hash = createHash('sha256');
      near.on('data', (chunk: Buffer) => {
        hash.update(chunk);
        near.pause();
        setImmediate(() => near.resume());
      });
      far.end(pattern(8 * MIB));
      await next(near, 'end');
      expect(hash.digest('hex')).to.equal(digest(pattern(8 * MIB)));
    });

    it("can be read with 'readable' and read(size), and takes back what is unshifted", async () => {
      const { near, far } = await open();
      far.write('head and body');
      await until(() => near.readableLength === 13 || near.read(0) === undefined);
      expect((near.read(4) as Buffer).toString()).to.equal('head');
      near.unshift(Buffer.from('HEAD'));
      far.end();
      near.setEncoding('utf8');
      let text = '';
      for await (const chunk of near) text += chunk as string;
      expect(text).to.equal('HEAD and body');
    });

    it("emits 'timeout' when nothing has moved for the time, and not before", async () => {
      const { near, far } = await open();
      let lastData = 0;
      near.on('data', () => {
        lastData = performance.now();
      });
      const timeout = next(near, 'timeout');
      const log = new Log<number>();
      near.setTimeout(200, () => log.add(performance.now()));
      expect(near.timeout).to.equal(200);
      const interval = setInterval(() => far.write('x'), 20);
      setTimeout(() => clearInterval(interval), 400);
      await timeout;
      clearInterval(interval);
      const [at = 0] = log.entries;
      expect(lastData).to.be.greaterThan(0);
      expect(at - lastData).to.be.at.least(190);
      expect(near.destroyed).to.equal(false);
    });

    it("emits no 'timeout' for what has been taken back, nor when it is destroyed", async () => {
      const { near } = await open();
      const log = new Log<string>();
      near.on('timeout', () => log.add('timeout'));
      const listener = (): void => log.add('listener');
      near.setTimeout(20, listener);
      near.setTimeout(0, listener);
      expect(near.timeout).to.equal(0);
      await next({ once: (_event: string, done: () => void) => setTimeout(done, 60) }, 'elapsed');
      near.setTimeout(20);
      near.destroy();
      await next({ once: (_event: string, done: () => void) => setTimeout(done, 60) }, 'elapsed');
      expect(log.entries).to.deep.equal([]);
    });

    it('is finished when both sides have ended', async () => {
      const { near, far } = await open();
      far.resume();
      near.resume();
      const done = finished(near);
      far.end();
      await done;
      await until(() => near.closed);
    });

    it('is not finished well when it is destroyed before its end', async () => {
      const { near } = await open();
      const done = rejection(finished(near));
      const iteration = rejection(readAll(near));
      near.destroy();
      expect((await done).code).to.equal('ERR_STREAM_PREMATURE_CLOSE');
      expect((await iteration).code).to.equal('ERR_STREAM_PREMATURE_CLOSE');
    });

    it('sends what the other side has room for when it is destroyed right behind a write', async () => {
      const { near, far } = await open();
      const all = readAll(far);
      near.write('last ');
      near.write('words');
      near.destroy();
      expect((await all).toString()).to.equal('last words');
    });

    it('sends everything, then is destroyed, with destroySoon()', async () => {
      const { near, far } = await open({ allowHalfOpen: true });
      const all = readAll(far);
      near.write(pattern(6 * MIB));
      near.destroySoon();
      expect(digest(await all)).to.equal(digest(pattern(6 * MIB)));
      await until(() => near.closed);
      expect(near.destroyed).to.equal(true);
    });

    it('knows both ends', async () => {
      const { near, far } = await open();
      expect(near.remoteAddress).to.equal(HOST);
      expect(near.localAddress).to.equal(HOST);
      expect([near.remoteFamily, near.localFamily]).to.deep.equal(['IPv4', 'IPv4']);
      expect([near.remotePort, near.localPort]).to.deep.equal([far.localPort, far.remotePort]);
      expect(near.address()).to.deep.equal({ address: HOST, port: far.remotePort, family: 'IPv4' });
    });

    it('looks like an open socket, and takes the calls that a socket takes', async () => {
      const { near } = await open();
      expect([near.connecting, near.pending, near.readyState]).to.deep.equal([false, false, 'open']);
      expect(near.setNoDelay(true).setKeepAlive(true, 1000).unref().ref()).to.equal(near);
      expect([near.bytesRead, near.bytesWritten, near.timeout]).to.deep.equal([0, 0, undefined]);
    });

    it('can be transformed on the way', async () => {
      const { near, far } = await open();
      const upper = new Transform({
        transform: (chunk: Buffer, _encoding, done) => done(null, chunk.toString().toUpperCase()),
      });
      const echo = pipeline(near, upper, near);
      far.end('quiet');
      expect((await readAll(far)).toString()).to.equal('QUIET');
      await echo;
    });

    if (kind.isFarPlain) {
      it("is destroyed with ECONNRESET when the other side resets, and 'close' follows", async () => {
        const { near, far } = await open();
        const log = new Log<string>();
        near.on('error', ({ code }: NodeJS.ErrnoException) => log.add(code ?? '')).on('close', () => log.add('close'));
        near.resume();
        far.resetAndDestroy();
        expect(await log.reaches(2)).to.deep.equal(['ECONNRESET', 'close']);
      });

      it('is destroyed with EPIPE or ECONNRESET when it goes on to write to a side that is gone', async () => {
        const { near, far } = await open({ allowHalfOpen: true });
        const failed = next<[NodeJS.ErrnoException]>(near, 'error');
        far.destroy();
        await next(far, 'close');
        let writing = true;
        near.on('close', () => {
          writing = false;
        });
        (function write(): void {
          if (!writing) return;
          near.write('anybody there?');
          setImmediate(write);
        })();
        const [error] = await failed;
        expect(error.code).to.be.oneOf(['EPIPE', 'ECONNRESET']);
        await until(() => near.closed);
      });

      it('calls a write that waits back when the other side resets', async () => {
        const { near, far } = await open();
        const failed = next<[NodeJS.ErrnoException]>(near, 'error');
        const back = new Promise((resolve) => near.write(Buffer.alloc(128 * MIB), resolve));
        far.resetAndDestroy();
        expect((await failed)[0].code).to.be.oneOf(['EPIPE', 'ECONNRESET']);
        await back;
      });
    }
  });
}
