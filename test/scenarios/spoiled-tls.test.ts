import net from 'node:net';
import { expect } from 'chai';
import { closeReasons } from '../../src/index.js';
import { ca, identity } from '../fixtures/certificates.js';
import { next, until } from '../fixtures/events.js';
import { HOST, type Props, scene } from '../fixtures/scene.js';

const CONNECTIONS = 80;
const AT_ONCE = 20;
/** A handshake is about 2,500 bytes. */
const SPOILT_WITHIN = 6000;
const LIFE_MS = 300;

const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

/** Numbers from 0 to `below`, the same for the same seed. */
function randomNumbers(start: number): (below: number) => number {
  let state = start | 0;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

/** Passes on what both sides say, and after some bytes does something to it. Returns its port. */
async function openSpoiler(stage: Props, port: number, random: (below: number) => number): Promise<number> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((near) => {
    const far = net.connect(port, HOST);
    let left = random(SPOILT_WITHIN);
    const how = random(6);
    const spoil = (bytes: Buffer, from: net.Socket, to: net.Socket): Buffer => {
      if (how === 0) bytes[random(bytes.length)] = random(256);
      else if (how === 1) to.write(Buffer.alloc(random(3000), random(256)));
      else if (how === 2) return bytes.subarray(0, random(bytes.length));
      else if (how === 3) to.end();
      else if (how === 4) to.resetAndDestroy();
      else for (const socket of [from, to]) socket.destroy();
      return bytes;
    };
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', () => undefined);
      from.on('close', () => {
        sockets.delete(from);
        // Without an end: it was reset.
        if (!from.readableEnded) to.destroy();
      });
      from.on('end', () => to.end());
      from.on('data', (bytes: Buffer) => {
        left -= bytes.length;
        const isDue = left < 0;
        if (isDue) left = Number.POSITIVE_INFINITY;
        const passed = isDue ? spoil(bytes, from, to) : bytes;
        if (!to.destroyed && !to.writableEnded) to.write(passed);
      });
    }
  });
  server.listen({ port: 0, host: HOST });
  await next(server, 'listening');
  stage.defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as net.AddressInfo).port;
}

describe('TLS that is spoiled on the way', () => {
  const stage = scene({ respawn: false });

  it(`ends that connection, whatever is done to it, and nothing else (FUZZ_SEED=${seed})`, async () => {
    const random = randomNumbers(seed);
    const server = await stage.listen({
      codec: 'raw',
      shutdownTimeoutMs: LIFE_MS,
      tls: { ...identity('server'), ca, requestCert: true, handshakeTimeoutMs: LIFE_MS },
    });
    const client = stage.client({
      codec: 'raw',
      shutdownTimeoutMs: LIFE_MS,
      tls: { ...identity('client'), ca, handshakeTimeoutMs: LIFE_MS },
    });
    // One that nothing is done to.
    const bystander = await client.connect({ host: HOST, port: server.address.port });
    server.on('message', (connection, data) => connection.send(data));
    let failed = 0;
    server.on('tlsClientError', (error) => {
      expect(error).to.have.property('code', 'ERR_REACTOR_TLS');
      failed++;
    });
    server.on('disconnect', (_connection, reason) => expect(closeReasons).to.include(reason));
    const port = await openSpoiler(stage, server.address.port, random);

    let over = 0;
    const one = async (): Promise<void> => {
      try {
        const connection = await client.connect({ host: HOST, port });
        const end = next(connection, 'close');
        for (let i = 0; i < 4; i++) connection.send(Buffer.alloc(random(4000)));
        connection.shutdown();
        await end;
      } catch (error) {
        expect(error).to.have.property('name', 'ReactorError');
      }
      over++;
    };
    for (let i = 0; i < CONNECTIONS / AT_ONCE; i++) await Promise.all(Array.from({ length: AT_ONCE }, one));
    expect(over).to.equal(CONNECTIONS);
    // The server is rid of them, too.
    await until(() => server.connectionCount === 1);
    expect(failed).to.be.at.least(1);
    const echo = next<[Buffer]>(bystander, 'message');
    bystander.send('unharmed');
    expect((await echo)[0].toString()).to.equal('unharmed');
  });
});
