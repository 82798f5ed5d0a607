import { once } from 'node:events';
import net from 'node:net';
import { expect } from 'chai';
import { type CloseReason, Reactor } from '../../src/index.js';

const MIB = 1024 * 1024;
const HOSTILE_AT_ONCE = 20;

/** A generator of numbers from 0 to below 2^32 (xorshift). */
function random(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Bytes of which some are frames, some are nearly frames and some are noise. */
function hostileBytes(next: (below: number) => number): Buffer {
  const pieces: Buffer[] = [];
  for (let count = next(6); count >= 0; count--) {
    const body = Buffer.alloc(next(4) === 0 ? next(100_000) : next(50), next(256));
    const header = Buffer.alloc(6);
    header.writeUInt32LE(
      [body.length + 2, body.length + 2, body.length + 2, next(2), 2 ** 32 - 1, next(2 ** 25)][next(6)] ?? 0,
    );
    header[4] = [0, 0, 0, 1, 2, 3, 7, next(256)][next(8)] ?? 0;
    header[5] = next(10) === 0 ? next(256) : 0;
    pieces.push(header, body);
  }
  const bytes = Buffer.concat(pieces);
  for (let flips = next(3); flips > 0; flips--) bytes[next(bytes.length)] = next(256);
  return bytes.subarray(0, next(4) === 0 ? next(bytes.length) : bytes.length);
}

/** Hostile peers come and go while one honest client plays ping-pong. Returns the reasons in which they ended. */
export async function surviveHostilePeers(milliseconds: number, seed: number): Promise<Map<CloseReason, number>> {
  const next = random(seed);
  await using reactor = await Reactor.spawn();
  const limits = { maxFrameBytes: 8 * MIB };
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, limits });
  const { port } = server.address;
  server.on('message', (connection, data) => connection.send(data));
  const honest = await reactor.connect({ host: '127.0.0.1', port });
  const reasons = new Map<CloseReason, number>();
  server.on('disconnect', (_connection, reason) => reasons.set(reason, (reasons.get(reason) ?? 0) + 1));

  const until = performance.now() + milliseconds;
  const hostile = async (): Promise<void> => {
    while (performance.now() < until) {
      const socket = net.connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      const closed = once(socket, 'close').catch(() => undefined);
      socket.resume();
      const bytes = hostileBytes(next);
      for (let position = 0; position < bytes.length; ) {
        const end = position + 1 + next(next(3) === 0 ? 3 : bytes.length);
        socket.write(bytes.subarray(position, end));
        position = end;
      }
      if (next(3) === 0) socket.resetAndDestroy();
      else socket.end();
      await closed;
    }
  };
  const before = process.memoryUsage.rss();
  let echoes = 0;
  const pingPong = async (): Promise<void> => {
    while (performance.now() < until) {
      const answer = once(honest, 'message');
      honest.send(`echo ${echoes}`);
      expect(String((await answer)[0])).to.equal(`echo ${echoes++}`);
    }
  };
  await Promise.all([pingPong(), ...Array.from({ length: HOSTILE_AT_ONCE }, hostile)]);
  expect(honest.state).to.equal('open');
  expect(echoes).to.be.above(10);
  expect(process.memoryUsage.rss() - before).to.be.below(200 * MIB);
  return reasons;
}
