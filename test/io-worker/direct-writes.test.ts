import { once } from 'node:events';
import net from 'node:net';
import { expect } from 'chai';
import type { Chunk } from '../../src/io-worker/chunk-pool.js';
import { canWriteDirectly, type WriteHandle, writeDirectly, writeError } from '../../src/io-worker/direct-writes.js';
import { HOST, pattern, props } from '../fixtures/scene.js';

describe('direct writes', () => {
  const stage = props();

  /** Both ends of a connection, and the handle of the near one. */
  async function pair(): Promise<{ near: net.Socket; far: net.Socket; handle: WriteHandle }> {
    const server = net.createServer({ pauseOnConnect: true }).listen(0, HOST);
    stage.defer(() => server.close());
    await once(server, 'listening');
    const near = net.connect((server.address() as net.AddressInfo).port, HOST);
    stage.defer(() => near.destroy());
    near.on('error', () => undefined);
    const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[net.Socket], unknown];
    stage.defer(() => far.destroy());
    const handle = handleOf(near);
    if (!canWriteDirectly(handle)) throw new Error(`Sockets of ${process.version} cannot be written directly`);
    return { near, far, handle };
  }

  function handleOf(socket: net.Socket): object | null {
    return (socket as unknown as { _handle: object | null })._handle;
  }

  function chunk(buffer: Buffer, start = 0, end = buffer.length): Chunk {
    return { buffer, start, end, pool: -1 };
  }

  function read(socket: net.Socket, bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let missing = bytes;
    return new Promise((resolve) => {
      const onData = (piece: Buffer): void => {
        pieces.push(piece);
        missing -= piece.length;
        if (missing > 0) return;
        socket.off('data', onData).pause();
        resolve(Buffer.concat(pieces));
      };
      socket.on('data', onData).resume();
    });
  }

  it('writes one chunk, or several with one call, and knows at once that the kernel has them', async () => {
    const { far, handle } = await pair();
    const calls: number[] = [];
    const owner = { onWriteDone: (status: number): void => void calls.push(status) };
    const bytes = Buffer.from('abcdefgh');
    expect(writeDirectly(handle, [chunk(bytes, 0, 3)], owner)).to.equal('done');
    expect(writeDirectly(handle, [chunk(bytes, 3, 5), chunk(bytes, 5)], owner)).to.equal('done');
    expect((await read(far, 8)).toString()).to.equal('abcdefgh');
    expect(calls).to.deep.equal([]);
  });

  it('tells once when the kernel has the rest of what it could not take at once', async () => {
    const { far, handle } = await pair();
    const bytes = pattern(16 * 1024 * 1024);
    let calls = 0;
    const done = new Promise<number>((resolve) => {
      const onWriteDone = (status: number): void => {
        calls++;
        resolve(status);
      };
      const half = bytes.length / 2;
      expect(writeDirectly(handle, [chunk(bytes, 0, half), chunk(bytes, half)], { onWriteDone })).to.equal('pending');
    });
    expect(handle.writeQueueSize).to.be.greaterThan(0);
    const received = await read(far, bytes.length);
    expect(await done).to.equal(0);
    expect(received.equals(bytes)).to.equal(true);
    expect(calls).to.equal(1);
    expect(handle.writeQueueSize).to.equal(0);
    // The next one is like the first.
    expect(writeDirectly(handle, [chunk(Buffer.from('more'))], { onWriteDone: () => calls++ })).to.equal('done');
    expect((await read(far, 4)).toString()).to.equal('more');
  });

  it('tells of an error when the socket is destroyed in the middle of a write', async () => {
    const { near, handle } = await pair();
    const status = await new Promise<number>((resolve) => {
      expect(writeDirectly(handle, [chunk(pattern(16 * 1024 * 1024))], { onWriteDone: resolve })).to.equal('pending');
      near.destroy();
    });
    expect(writeError(status)).to.include({ code: 'ECANCELED', syscall: 'write', errno: status });
  });

  it('returns the error of a write that fails at once', async () => {
    const { near, handle } = await pair();
    near.destroy();
    await once(near, 'close');
    const status = writeDirectly(handle, [chunk(Buffer.from('late'))], { onWriteDone: () => undefined });
    expect(status).to.be.a('number').that.is.lessThan(0);
    expect(writeError(status as number).message).to.match(/^write E[A-Z]+$/);
  });

  it('does not touch what does not look like a handle', () => {
    expect(canWriteDirectly(null)).to.equal(false);
    expect(canWriteDirectly({})).to.equal(false);
    const handle = { writeBuffer: () => 0, writev: () => 0, writeQueueSize: 0 };
    expect(canWriteDirectly(handle)).to.equal(true);
    for (const part of Object.keys(handle))
      expect(canWriteDirectly({ ...handle, [part]: undefined }), part).to.equal(false);
  });
});
