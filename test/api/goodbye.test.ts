import { expect } from 'chai';
import type { ConnectionOptions, TcpConnection } from '../../src/index.js';
import { closed, Log, next, until } from '../fixtures/events.js';
import { type Frame, frame, framesOf, HELLO, type RawPeer } from '../fixtures/raw-peer.js';
import { HOST, type Pair, scene } from '../fixtures/scene.js';

const GOODBYE = 5;

/** All that one side is told of the end of the other one. */
function watch(connection: TcpConnection, host: Pair['server'] | Pair['client']): Log<string> {
  const log = new Log<string>();
  connection.on('message', (data) => log.add(data.toString()));
  connection.on('goodbye', (reason) => log.add(`goodbye ${reason}`));
  host.on('goodbye', (of, reason) => log.add(of === connection ? `host goodbye ${reason}` : 'whose?'));
  connection.on('end', () => log.add('end'));
  return log;
}

/** Resolves when each side knows of the other one that it understands. */
async function greeted({ near, far }: Pair): Promise<void> {
  await until(() => near.bytesReceived >= 22 && far.bytesReceived >= 22);
}

async function goodbyeOf(frames: Log<Frame>): Promise<string> {
  const [, second] = await frames.reaches(2);
  expect(second?.kind).to.equal(GOODBYE);
  return (second as Frame).body.toString();
}

describe('goodbye', () => {
  const stage = scene();

  const ends: Record<string, { reason: string; end: (pair: Pair) => unknown; heardBy: 'near' | 'far' }> = {
    'server.close()': { reason: 'server-close', end: ({ server }) => server.close(), heardBy: 'near' },
    'client.close()': { reason: 'local-shutdown', end: ({ client }) => client.close(), heardBy: 'far' },
    'shutdown() of a server': { reason: 'local-shutdown', end: ({ far }) => far.shutdown(), heardBy: 'near' },
    'shutdown() of a client': { reason: 'local-shutdown', end: ({ near }) => near.shutdown(), heardBy: 'far' },
  };
  for (const [call, { reason, end, heardBy }] of Object.entries(ends)) {
    it(`tells the other side of ${call}, behind what was sent and before the end, and again in the close`, async () => {
      const pair = await stage.pair();
      await greeted(pair);
      const log = watch(pair[heardBy], heardBy === 'near' ? pair.client : pair.server);
      const close = closed(pair[heardBy]);
      const speaker = pair[heardBy === 'near' ? 'far' : 'near'];
      speaker.send('last words');
      // A close goes another way than what is sent, and may be faster.
      await speaker.flush();
      await end(pair);
      expect((await close).detail).to.deep.equal({ unsentBytes: 0, unreadMessages: 0, goodbye: reason });
      expect(log.entries).to.deep.equal(['last words', `host goodbye ${reason}`, `goodbye ${reason}`, 'end']);
    });
  }

  it('tells peers of reactor.close() from another reactor', async () => {
    const other = await stage.spawn();
    const server = await other.listen({ host: HOST, port: 0 });
    const client = stage.client();
    const connection = await client.connect({ host: HOST, port: server.address.port });
    const close = closed(connection);
    await until(() => connection.bytesReceived >= 22 && other.stats().accepted === 1);
    await other.close();
    expect((await close).detail.goodbye).to.equal('reactor-close');
  });

  it('tells why it cuts a connection, as far as there is time', async () => {
    const { connection, peer } = await stage.accepted({ limits: { idleTimeoutMs: 150 } });
    peer.write(HELLO);
    expect(await goodbyeOf(framesOf(peer))).to.equal('idle-timeout');
    await peer.gone;
    expect(connection.state).to.equal('closed');
  });

  it('says nothing to a peer that has sent no hello', async () => {
    const { server, peer } = await stage.accepted();
    peer.read();
    void peer.ended.then(() => peer.end());
    await server.close();
    expect(peer.received).to.equal(22);
  });

  it('says it to a peer whose hello comes while it drains', async () => {
    const { server, connection, peer } = await stage.accepted();
    const frames = framesOf(peer);
    let closing: Promise<unknown> | undefined;
    connection.on('request', (_data, reply) => {
      closing = server.close();
      void goodbyeOf(frames).then(() => reply('done'));
      peer.write(HELLO);
    });
    peer.write(frame(Buffer.from([1, 0, 0, 0, 1]), 6));
    await peer.ended;
    peer.end();
    await closing;
    expect(frames.entries.map(({ kind }) => kind)).to.deep.equal([3, GOODBYE, 7]);
  });

  it('says it once, and does not answer the end of the peer with it', async () => {
    const { server, connection, peer } = await stage.accepted();
    peer.write(HELLO);
    await until(() => connection.bytesReceived === 22);
    const frames = framesOf(peer);
    const closing = server.close();
    connection.shutdown();
    await peer.ended;
    peer.end();
    await closing;
    expect(frames.entries.map(({ kind }) => kind)).to.deep.equal([3, GOODBYE]);
    const other = await stage.accepted();
    const others = framesOf(other.peer.write(HELLO));
    other.peer.end();
    await other.peer.ended;
    expect(others.entries.map(({ kind }) => kind)).to.deep.equal([3]);
  });

  it('reaches also those who begin to listen when they are told of the connection', async () => {
    const raw = await stage.listenRaw((peer) => void peer.write(Buffer.concat([HELLO, frame('maintenance', GOODBYE)])));
    const client = stage.client();
    const connection = await client.connect({ host: HOST, port: raw.port });
    const [reason] = await next<[string]>(connection, 'goodbye');
    expect(reason).to.equal('maintenance');
  });

  it('goes also to the thread that gets the connection next', async () => {
    const server = await stage.listen({ dispatch: 'balance' });
    await server.subscribe();
    const opened = next<[TcpConnection]>(server, 'connection');
    const peer = await stage.connectRaw(server.address.port);
    const [first] = await opened;
    peer.write(frame('moving', GOODBYE));
    expect(await next(first, 'goodbye')).to.deep.equal(['moving']);
    await server.unsubscribe();
    const again = next<[TcpConnection]>(server, 'connection');
    await server.subscribe();
    const [second] = await again;
    const close = closed(second);
    peer.read().end();
    expect((await close).detail.goodbye).to.equal('moving');
  });

  describe('of a peer that does as it likes', () => {
    async function hear(
      bodies: readonly Buffer[],
      settings?: ConnectionOptions,
    ): Promise<{ log: string[]; peer: RawPeer }> {
      const { server, connection, peer } = await stage.accepted(settings);
      const log = watch(connection, server);
      const close = closed(connection);
      peer.read().write(Buffer.concat([...bodies.map((body) => frame(body, GOODBYE)), frame('behind')]));
      peer.end();
      const { reason, detail } = await close;
      log.add(`${reason} ${detail.goodbye}`);
      return { log: log.entries, peer };
    }

    const odd: Record<string, { body: Buffer; text: string }> = {
      'an unknown reason': { body: Buffer.from('out for lunch'), text: 'out for lunch' },
      'an empty one': { body: Buffer.alloc(0), text: '' },
      'the longest one': { body: Buffer.alloc(256, 'x'), text: 'x'.repeat(256) },
      'bytes that are no UTF-8': { body: Buffer.from([0x61, 0xff, 0xfe]), text: 'a\ufffd\ufffd' },
    };
    for (const [what, { body, text }] of Object.entries(odd)) {
      it(`takes ${what} as it is`, async () => {
        const { log } = await hear([body]);
        expect(log).to.deep.equal([`host goodbye ${text}`, `goodbye ${text}`, 'behind', 'end', `peer-end ${text}`]);
      });
    }

    it('passes over all but the first, and counts them', async () => {
      const before = stage.reactor.stats().ignoredFrames;
      const { log } = await hear(Array.from({ length: 100 }, (_, i) => Buffer.from(`${i}`)));
      expect(log).to.deep.equal(['host goodbye 0', 'goodbye 0', 'behind', 'end', 'peer-end 0']);
      expect(stage.reactor.stats().ignoredFrames - before).to.equal(99);
    });

    it('closes with protocol-error for one that is too long, before it has come', async () => {
      const { connection, peer } = await stage.accepted();
      const close = closed(connection);
      peer.write(frame(Buffer.alloc(257), GOODBYE).subarray(0, 5));
      expect((await close).reason).to.equal('protocol-error');
    });

    it('is nothing to other codecs: bytes are bytes', async () => {
      const { connection, server, peer } = await stage.accepted({ codec: 'raw' });
      const log = watch(connection, server);
      const close = closed(connection);
      peer.read().write(frame('x', GOODBYE)).end();
      expect((await close).detail).to.deep.equal({ unsentBytes: 0, unreadMessages: 0 });
      expect(log.entries.filter((entry) => entry.includes('goodbye'))).to.deep.equal([]);
    });
  });
});
