import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { type CodecOption, ReactorError, type TcpConnection } from '../../src/index.js';
import { closed, Log, nextText, texts, until } from '../fixtures/events.js';
import { frame, type RawPeer } from '../fixtures/raw-peer.js';
import { HOST, pattern, readModes, scene } from '../fixtures/scene.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** A mark that no test reaches. */
const ROOMY = { highWaterMark: 32 * MIB };

/** Every message of a connection. */
function buffers(connection: TcpConnection): Log<Buffer> {
  const log = new Log<Buffer>();
  connection.on('message', (data) => log.add(data));
  return log;
}

/** Receives a stream: how long it is and what is in it, whatever its pieces are. */
class Digest {
  readonly #hash = createHash('sha1');
  #bytes = 0;
  readonly #expected: number;
  readonly whole: Promise<void>;
  #done: () => void = () => undefined;

  constructor(connection: TcpConnection, expected: number) {
    this.#expected = expected;
    this.whole = new Promise((resolve) => {
      this.#done = resolve;
    });
    connection.on('message', (data) => this.#add(data));
  }

  get hex(): string {
    return this.#hash.digest('hex');
  }

  get bytes(): number {
    return this.#bytes;
  }

  #add(data: Buffer): void {
    this.#hash.update(data);
    this.#bytes += data.length;
    if (this.#bytes >= this.#expected) this.#done();
  }
}

function thrown(call: () => unknown): ReactorError {
  try {
    call();
  } catch (error) {
    if (error instanceof ReactorError) return error;
    throw error;
  }
  throw new Error('It should have thrown');
}

// One byte around each: the header, what is copied in a loop, what is copied byte by byte, the pieces of the
// pool, a read, a record, a slab, and what needs several of them.
const SIZES = [
  ...[0, 1, 2, 5, 6, 7, 8, 9, 41, 42, 43, 47, 48, 49, 249, 250, 251, 255, 256, 257],
  ...[4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB].flatMap((size) =>
    [-31, -30, -29, -24, -23, -17, -16, -7, -6, -5, -1, 0, 1, 6].map((more) => size + more),
  ),
  ...[1 * MIB - 6, 1 * MIB, 1 * MIB + 1, 3 * MIB + 1, 5 * MIB],
];

for (const { name, options } of readModes) {
  describe(`send(), ${name}`, () => {
    const stage = scene(options);

    for (const direction of ['from client to server', 'from server to client'] as const) {
      it(`carries messages of every size around every boundary, ${direction}`, async () => {
        const { near, far } = await stage.pair({ both: ROOMY });
        const [from, to] = direction === 'from client to server' ? [near, far] : [far, near];
        const received = buffers(to);
        for (const [index, size] of SIZES.entries()) from.send(pattern(size, index));
        await received.reaches(SIZES.length);
        for (const [index, size] of SIZES.entries()) {
          const message = received.entries[index] as Buffer;
          expect(message.length).to.equal(size);
          expect(message.equals(pattern(size, index)), `message of ${size} bytes`).to.equal(true);
        }
      });
    }

    it("carries the same bytes with codec 'raw', in whatever pieces", async () => {
      const { near, far } = await stage.pair({ both: { codec: 'raw', ...ROOMY } });
      const hash = createHash('sha1');
      const total = SIZES.reduce((sum, size) => sum + size, 0);
      const digest = new Digest(far, total);
      for (const [index, size] of SIZES.entries()) {
        hash.update(pattern(size, index));
        near.send(pattern(size, index));
      }
      await digest.whole;
      expect(digest.bytes).to.equal(total);
      expect(digest.hex).to.equal(hash.digest('hex'));
    });

    it('keeps the order of small and large messages that come much faster than the rings drain', async () => {
      const { near, far } = await stage.pair({ both: ROOMY });
      const sizes: number[] = [];
      // A small linear congruential generator: the same sizes each time.
      for (let x = 1, total = 0; total < 32 * MIB; ) {
        x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
        const size = [x >>> 25, x >>> 25, x >>> 17, x >>> 12, x >>> 25, x >>> 11][x % 6] as number;
        sizes.push(size);
        total += size;
      }
      const received = buffers(far);
      for (const [index, size] of sizes.entries()) near.send(pattern(size, index));
      await received.reaches(sizes.length);
      expect(received.entries.map((message) => message.length)).to.deep.equal(sizes);
      const broken = received.entries.findIndex((message, index) => !message.equals(pattern(message.length, index)));
      expect(broken, 'index of the first message with other bytes').to.equal(-1);
    });
  });
}

describe('send()', () => {
  const stage = scene();

  describe('takes', () => {
    it('a Buffer, a Uint8Array, and a Uint8Array at any offset of its memory', async () => {
      const { near, far } = await stage.pair();
      const received = buffers(far);
      const bytes = new Uint8Array(pattern(2000, 1));
      near.send(Buffer.from(bytes));
      near.send(bytes);
      for (let offset = 1; offset <= 9; offset++) near.send(bytes.subarray(offset, 1000 + offset));
      await received.reaches(11);
      expect(received.entries[0]?.equals(bytes)).to.equal(true);
      expect(received.entries[1]?.equals(bytes)).to.equal(true);
      for (let offset = 1; offset <= 9; offset++) {
        expect(received.entries[1 + offset]?.equals(bytes.subarray(offset, 1000 + offset)), `${offset}`).to.equal(true);
      }
    });

    it('a Uint8Array on shared memory', async () => {
      const { near, far } = await stage.pair();
      const received = buffers(far);
      const shared = new Uint8Array(new SharedArrayBuffer(3000));
      shared.set(pattern(3000, 2));
      near.send(shared);
      near.send(shared.subarray(3, 700));
      await received.reaches(2);
      expect(received.entries[0]?.equals(pattern(3000, 2))).to.equal(true);
      expect(received.entries[1]?.equals(pattern(3000, 2).subarray(3, 700))).to.equal(true);
    });

    for (const codec of ['frame', 'raw'] satisfies CodecOption[]) {
      it(`strings as UTF-8, with characters of every length, also long ones (codec '${codec}')`, async () => {
        const { near, far } = await stage.pair({ both: { codec, ...ROOMY } });
        const strings = [
          'plain',
          'ä ö ü',
          '€ ½ ☃',
          '🚀 𝄞',
          '日本語',
          'é'.repeat(50_000),
          '🚀'.repeat(200_000),
          'x€🚀'.repeat(70_000),
        ];
        const expected = Buffer.from(strings.join(''));
        const received: Buffer[] = [];
        const whole = new Promise<void>((resolve) => {
          let bytes = 0;
          far.on('message', (data) => {
            received.push(data);
            bytes += data.length;
            if (bytes === expected.length) resolve();
          });
        });
        for (const text of strings) near.send(text);
        await whole;
        if (codec === 'frame') expect(received.map(String)).to.deep.equal(strings);
        else expect(Buffer.concat(received).equals(expected)).to.equal(true);
      });
    }

    it('strings with lone surrogates, which become U+FFFD as everywhere in Node', async () => {
      const { near, far } = await stage.pair();
      const received = buffers(far);
      const strings = ['\ud800', 'a\udc00b', '\udc00\ud800', `${'x'.repeat(100)}\ud83d`, '\ud83dx\ude80'];
      for (const text of strings) near.send(text);
      near.send('the end');
      await received.reaches(strings.length + 1);
      for (const [index, text] of strings.entries()) {
        expect(received.entries[index]?.equals(Buffer.from(text)), JSON.stringify(text)).to.equal(true);
      }
      expect(received.entries.at(-1)?.toString()).to.equal('the end');
    });

    it('the empty message, which is a message with codec frame and nothing at all with codec raw', async () => {
      const framed = await stage.pair();
      const received = texts(framed.far);
      expect([framed.near.send(''), framed.near.send(Buffer.alloc(0)), framed.near.send('x')]).to.deep.equal([
        true,
        true,
        true,
      ]);
      expect(await received.reaches(3)).to.deep.equal(['', '', 'x']);

      const raw = await stage.pair({ both: { codec: 'raw' } });
      const chunks = texts(raw.far);
      expect(raw.near.send('')).to.equal(true);
      expect(raw.near.bufferedAmount).to.equal(0);
      raw.near.send('x');
      expect(await chunks.reaches(1)).to.deep.equal(['x']);
    });
  });

  it('throws ERR_REACTOR_INVALID_ARGUMENT for anything else, and the connection goes on', async () => {
    const { near, far } = await stage.pair();
    const received = texts(far);
    const wrong: unknown[] = [
      ...[undefined, null, 0, 42, 1n, true, {}, [1, 2], Symbol('s'), new Date()],
      ...[new ArrayBuffer(8), new DataView(new ArrayBuffer(8)), new Uint16Array(4), new SharedArrayBuffer(8)],
    ];
    for (const data of wrong) {
      const error = thrown(() => near.send(data as string));
      expect(error.code, String(error.message)).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
      expect(error.message).to.match(/takes a Uint8Array or a string, got /);
    }
    near.send('still here');
    expect(await received.reaches(1)).to.deep.equal(['still here']);
  });

  it('throws ERR_REACTOR_MESSAGE_TOO_LARGE for the first byte above the limit, and not below', async () => {
    for (const maxFrameBytes of [256, 1000, 64 * KIB, 300 * KIB]) {
      const { near, far } = await stage.pair({ both: { limits: { maxFrameBytes }, ...ROOMY } });
      const received = buffers(far);
      const longest = pattern(maxFrameBytes - 2, 5);
      expect(thrown(() => near.send(Buffer.alloc(maxFrameBytes - 1))).code).to.equal('ERR_REACTOR_MESSAGE_TOO_LARGE');
      expect(thrown(() => near.send('x'.repeat(maxFrameBytes - 1))).code).to.equal('ERR_REACTOR_MESSAGE_TOO_LARGE');
      // It is bytes that count.
      expect(thrown(() => near.send('€'.repeat(maxFrameBytes / 2))).code).to.equal('ERR_REACTOR_MESSAGE_TOO_LARGE');
      expect(near.send(longest)).to.equal(true);
      await received.reaches(1);
      expect(received.entries[0]?.equals(longest)).to.equal(true);
    }
  });

  it('carries a message of the default limit, 16 MiB less 2 bytes, and no more', async () => {
    const { near, far } = await stage.pair();
    const received = buffers(far);
    const longest = pattern(16 * MIB - 2, 9);
    const error = thrown(() => near.send(Buffer.alloc(16 * MIB - 1)));
    expect(error.code).to.equal('ERR_REACTOR_MESSAGE_TOO_LARGE');
    expect(error.message)
      .to.include(String(16 * MIB - 1))
      .and.to.include(String(16 * MIB - 2));
    // Nothing else may wait in front of a message as long as the overflow limit.
    await near.flush();
    expect(near.send(longest), 'it is above the high-water mark').to.equal(false);
    await received.reaches(1);
    expect(received.entries[0]?.equals(longest)).to.equal(true);
  });

  it('takes a message longer than the overflow limit also as the first thing on a new connection', async () => {
    const server = await stage.listen();
    server.on('message', (connection, data) => void connection.send(data));
    const { port } = server.address;
    // Traffic on other connections keeps both threads awake, so that a new connection is announced as early as can be.
    for (let i = 0; i < 16; i++) {
      const busy = await stage.client().connect({ host: HOST, port });
      busy.on('message', (data) => void busy.send(data));
      busy.send('ping');
    }
    const client = stage.client({ highWaterMark: 1 });
    for (let round = 0; round < 300; round++) {
      const connection = await client.connect({ host: HOST, port });
      connection.send('longer than 16 bytes, which is the overflow limit');
      const outcome = await Promise.race([
        nextText(connection),
        closed(connection).then(({ reason }) => `closed: ${reason}`),
      ]);
      expect(outcome, `round ${round}`).to.equal('longer than 16 bytes, which is the overflow limit');
      connection.destroy();
    }
  });

  it("throws ERR_REACTOR_MESSAGE_TOO_LARGE above 256 MiB with codec 'raw'", async () => {
    const { near } = await stage.pair({ both: { codec: 'raw' } });
    expect(thrown(() => near.send(Buffer.alloc(256 * MIB + 1))).code).to.equal('ERR_REACTOR_MESSAGE_TOO_LARGE');
    expect(near.state).to.equal('open');
  });

  it('has copied the bytes when it returns: the caller may write over them', async () => {
    const { near, far } = await stage.pair({ both: ROOMY });
    const received = buffers(far);
    const sizes = [1, 100, 5000, 200_000, 2 * MIB, 300_000, 64];
    const mine = Buffer.alloc(2 * MIB);
    for (const [index, size] of sizes.entries()) {
      const message = mine.subarray(0, size);
      message.set(pattern(size, index));
      near.send(message);
      message.fill(0xee);
    }
    await received.reaches(sizes.length);
    for (const [index, size] of sizes.entries()) {
      expect(received.entries[index]?.equals(pattern(size, index)), `${size} bytes`).to.equal(true);
    }
  });

  it('puts exactly one frame for each message on the wire', async () => {
    const { connection, peer } = await stage.connected();
    const chunks: Buffer[] = [];
    peer.socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    connection.send('one');
    connection.send(Buffer.alloc(0));
    connection.send('three');
    connection.shutdown();
    await peer.ended;
    const bytes = Buffer.concat(chunks);
    // Behind the hello.
    expect(bytes.subarray(22)).to.deep.equal(Buffer.concat([frame('one'), frame(''), frame('three')]));
    expect([...bytes.subarray(0, 8)]).to.deep.equal([18, 0, 0, 0, 3, 0, 1, 0]);
  });

  it('returns true below the high-water mark and false above it, and both are accepted', async () => {
    const { near, far } = await stage.pair({ both: { codec: 'raw', highWaterMark: 1000 } });
    const digest = new Digest(far, 1600);
    expect(near.send(Buffer.alloc(600))).to.equal(true);
    // Without a turn of this thread in between; the io worker may have sent the first one already.
    const before = near.bufferedAmount;
    expect(near.send(Buffer.alloc(1000))).to.equal(before + 1000 <= 1000);
    await digest.whole;
    expect(digest.bytes).to.equal(1600);
  });

  it('returns false behind shutdown(), and what was sent before arrives', async () => {
    const { near, far } = await stage.pair();
    const received = texts(far);
    const end = closed(far);
    near.send('last');
    near.shutdown();
    expect(near.send('too late')).to.equal(false);
    expect(near.send('')).to.equal(false);
    expect(near.state).to.equal('closing');
    await end;
    expect(received.entries).to.deep.equal(['last']);
  });

  it('returns false behind destroy(), in the same turn', async () => {
    const { near, far } = await stage.pair();
    const ends = Promise.all([closed(near), closed(far)]);
    near.destroy();
    expect(near.state).to.equal('closed');
    expect(near.send('too late')).to.equal(false);
    await ends;
    expect(near.send('too late')).to.equal(false);
    expect(far.send('too late')).to.equal(false);
  });

  it("returns false in and behind a 'close' handler", async () => {
    const { connection, peer } = await stage.accepted();
    const end = new Promise<boolean>((resolve) => {
      connection.on('close', () => resolve(connection.send('too late')));
    });
    peer.reset();
    expect(await end).to.equal(false);
    expect(connection.send('too late')).to.equal(false);
    expect(connection.bufferedAmount).to.equal(0);
  });

  it('never throws for what the network does: the peer goes while messages are being sent', async () => {
    const { connection, peer } = await stage.accepted({ highWaterMark: 32 * MIB });
    const end = closed(connection);
    const message = Buffer.alloc(100_000);
    for (let i = 0; i < 100; i++) connection.send(message);
    peer.reset();
    await until(() => !connection.send(message));
    const { reason } = await end;
    expect(reason).to.equal('peer-reset');
  });
});

describe('the id of a connection that is over', () => {
  const stage = scene({ maxConnections: 1 });

  it("is 'closed', and never reaches the connection that reused its slot", async () => {
    const server = await stage.listen();
    const opened = new Log<TcpConnection>();
    const log = new Log<string>();
    server.on('connection', (connection) => opened.add(connection));
    server.on('message', (_connection, data) => log.add(data.toString()));
    const ids = new Set<number>();

    for (let round = 1; round <= 20; round++) {
      const peer = await stage.connectRaw(server.address.port);
      peer.read();
      const connection = (await opened.reaches(round))[round - 1] as TcpConnection;
      expect(stage.reactor.connection(connection.id)).to.equal(connection);

      for (const id of ids) {
        const stale = stage.reactor.connection(id);
        expect(stale).not.to.equal(connection);
        expect(stale.state).to.equal('closed');
        expect(stale.send(`for ${id}`)).to.equal(false);
        expect([stale.bufferedAmount, stale.bytesReceived, stale.lastReceivedAt]).to.deep.equal([0, 0, 0]);
        stale.shutdown();
        stale.destroy();
        stale.pause();
        expect(await stale.ready()).to.equal(false);
      }
      // Had any of it reached the present connection, this would not come back.
      peer.send(`to ${round}`);
      await log.reaches(round);
      expect(connection.state).to.equal('open');
      connection.send(`from ${round}`);
      expect(await peer.texts.reaches(1)).to.deep.equal([`from ${round}`]);

      ids.add(connection.id);
      const end = closed(connection);
      peer.end();
      expect((await end).reason).to.equal('peer-end');
      await peer.closed;
    }
    expect(ids.size).to.equal(20);
  });

  it('does not charge the next connection for what it had not sent', async () => {
    const server = await stage.listen({ highWaterMark: 1024, codec: 'raw' });
    const opened = new Log<TcpConnection>();
    server.on('connection', (connection) => opened.add(connection));
    const reasons = new Log<string>();
    server.on('disconnect', (_connection, reason) => reasons.add(reason));

    /** The peer of the next connection. The server turns others away while it has not noticed the end of the last. */
    async function admitted(count: number): Promise<RawPeer> {
      for (;;) {
        const peer = (await stage.connectRaw(server.address.port)).count();
        const isIn = opened.reaches(count).then(() => true);
        if (await Promise.race([isIn, peer.gone.then(() => false)])) return peer;
      }
    }

    for (let round = 1; round <= 200; round++) {
      const peer = await admitted(round);
      const connection = opened.entries[round - 1] as TcpConnection;
      expect(connection.bufferedAmount, `round ${round}`).to.equal(0);
      expect(connection.send('hello'), `round ${round}`).to.equal(true);
      // One message may be longer than everything that may wait, if nothing waits in front of it.
      await connection.flush();
      connection.send(Buffer.alloc(8 * MIB));
      // The next peer is already there when the io worker notices.
      peer.reset();
    }
    await reasons.reaches(200);
    expect(new Set(reasons.entries)).to.deep.equal(new Set(['peer-reset']));
  });

  it('that never was an id is refused with ERR_REACTOR_INVALID_ARGUMENT', () => {
    for (const id of [-1, 0, 1, 1.5, Number.NaN, Number.MAX_SAFE_INTEGER + 1, 64, 2 ** 53 - 1]) {
      expect(thrown(() => stage.reactor.connection(id)).code, String(id)).to.equal('ERR_REACTOR_INVALID_ARGUMENT');
    }
  });
});
