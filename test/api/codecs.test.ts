import { once } from 'node:events';
import { expect } from 'chai';
import type { CodecOption, ConnectionOptions, ReactorError, TcpConnection } from '../../src/index.js';
import type { ModuleManner } from '../fixtures/codec-module.js';
import { HOST, Scene, scene } from '../fixtures/scene.js';

const MODULE = new URL('../fixtures/codec-module.js', import.meta.url);

/** Each codec with lengths of messages that it carries. */
const codecs: readonly { readonly name: string; readonly codec: CodecOption; readonly lengths: readonly number[] }[] = [
  { name: 'frame', codec: 'frame', lengths: [0, 1, 1000, 65_530, 65_531, 70_000, 1_000_000] },
  { name: 'line', codec: 'line', lengths: [0, 1, 1000, 65_530, 65_536] },
  {
    name: "line '\\r\\n'",
    codec: { type: 'line', delimiter: '\r\n', maxBytes: 2_000_000 },
    lengths: [0, 9, 70_000, 1_000_000],
  },
  { name: 'length-field', codec: { type: 'length-field', bytes: 4 }, lengths: [0, 1, 1000, 70_000, 1_000_000] },
  {
    name: 'length-field, little-endian, counting itself',
    codec: { type: 'length-field', offset: 2, bytes: 3, endian: 'little', adjustment: -5 },
    lengths: [0, 1, 70_000],
  },
  { name: 'fixed', codec: { type: 'fixed', bytes: 100 }, lengths: [100] },
  { name: 'fixed, long', codec: { type: 'fixed', bytes: 100_000 }, lengths: [100_000] },
  { name: 'simple-reactor', codec: 'simple-reactor', lengths: [1, 1000, 70_000, 1_000_000] },
  {
    name: 'simple-reactor without compression',
    codec: { type: 'simple-reactor', compress: false },
    lengths: [1, 1000, 70_000, 1_000_000],
  },
  { name: 'a module', codec: { module: MODULE }, lengths: [0, 1, 200] },
];

/** Letters only: nothing that could be a delimiter. */
function text(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = 97 + ((i * 7 + seed) % 26);
  return bytes;
}

describe('every codec', () => {
  const scene = new Scene();
  before(() => scene.set({}));
  afterEach(() => scene.clear());
  after(() => scene.strike());

  /** A server of that codec that echoes, and a client's connection to it. */
  async function echo(options: ConnectionOptions): Promise<TcpConnection> {
    const server = await scene.listen(options);
    server.on('message', (connection, data) => connection.send(data));
    return scene.client(options).connect({ host: HOST, port: server.address.port });
  }

  /** The next messages, without what the codec greets with. */
  async function messages(connection: TcpConnection, count: number): Promise<Buffer[]> {
    const all: Buffer[] = [];
    for await (const data of connection) {
      if (data.toString() !== '!') all.push(data);
      if (all.length === count) return all;
    }
    throw new Error('The connection has ended');
  }

  for (const { name, codec, lengths } of codecs) {
    it(`carries messages of every length both ways, in order: ${name}`, async () => {
      const connection = await echo({ codec });
      const sent = Array.from({ length: 60 }, (_, i) => text(lengths[i % lengths.length] as number, i));
      const received = messages(connection, sent.length);
      for (const data of sent) if (!connection.send(data)) expect(await connection.ready()).to.equal(true);
      for (const [index, data] of (await received).entries()) {
        expect(data.equals(sent[index] as Buffer), `message ${index}`).to.equal(true);
      }
      await connection.flush();
      expect(connection.bufferedAmount).to.equal(0);
    });

    it(`carries borrowed messages, too: ${name}`, async () => {
      const server = await scene.listen({ codec, messages: 'borrow' });
      server.on('message', (connection, data) => connection.send(data));
      const connection = await scene.client({ codec }).connect({ host: HOST, port: server.address.port });
      const received = messages(connection, lengths.length);
      for (const [index, length] of lengths.entries()) connection.send(text(length, index));
      for (const [index, data] of (await received).entries()) {
        expect(data.equals(text(lengths[index] as number, index))).to.equal(true);
      }
    });

    it(`broadcasts to all: ${name}`, async () => {
      const server = await scene.listen({ codec });
      const client = scene.client({ codec });
      const connections = await Promise.all(
        Array.from({ length: 3 }, () => client.connect({ host: HOST, port: server.address.port })),
      );
      while (server.connectionCount < 3) await once(server, 'connection');
      const data = text(lengths.at(-1) as number, 1);
      const received = connections.map((connection) => messages(connection, 1));
      expect(server.broadcast(data)).to.equal(true);
      for (const [message] of await Promise.all(received)) expect(message?.equals(data)).to.equal(true);
    });
  }

  it('refuses a message of the wrong length with fixed, and goes on', async () => {
    const connection = await echo({ codec: { type: 'fixed', bytes: 4 } });
    for (const data of ['abc', 'abcde', '']) {
      expect(() => connection.send(data)).to.throw(/4 at (least|most)/);
    }
    const received = messages(connection, 1);
    connection.send('abcd');
    expect(String((await received)[0])).to.equal('abcd');
  });

  it('drops a broadcast that its codec cannot carry, and counts it', async () => {
    const server = await scene.listen({ codec: { type: 'fixed', bytes: 4 } });
    const connected = once(server, 'connection');
    await scene.connectRaw(server.address.port);
    const [connection] = (await connected) as [TcpConnection];
    server.broadcast('abc');
    server.broadcast('abcd');
    await connection.flush();
    expect(connection.droppedMessages).to.equal(1);
    expect(connection.bytesSent).to.equal(4);
  });
});

describe("codec 'simple-reactor' between two sides", () => {
  const scene = new Scene();
  before(() => scene.set({}));
  afterEach(() => scene.clear());
  after(() => scene.strike());

  for (const compress of [true, false]) {
    it(`sends heartbeats from the server, which keep the client's side open, compress: ${compress}`, async () => {
      const codec = { type: 'simple-reactor', compress, heartbeatMs: 40 } as const;
      const server = await scene.listen({ codec });
      const client = scene.client({ codec });
      const connection = await client.connect({ host: HOST, port: server.address.port });
      // Ten intervals of nothing else: without heartbeats it would be over after two.
      const start = connection.bytesReceived;
      while (connection.bytesReceived < start + 10 * 8) await new Promise((resolve) => setImmediate(resolve));
      expect([connection.state, connection.messagesReceived]).to.deep.equal(['open', 0]);
    });
  }

  it('closes the client with heartbeat-timeout when the server is silent', async () => {
    const silent = await scene.listenRaw();
    const codec = { type: 'simple-reactor', heartbeatMs: 40 } as const;
    const connection = await scene.client({ codec }).connect({ host: HOST, port: silent.port });
    const started = performance.now();
    const [reason, detail] = await once(connection, 'close');
    expect(reason).to.equal('heartbeat-timeout');
    expect((detail.error as ReactorError).code).to.equal('ERR_REACTOR_HEARTBEAT_TIMEOUT');
    expect(performance.now() - started).to.be.greaterThan(60);
  });
});

describe('a codec of the user', () => {
  const scene = new Scene();
  before(() => scene.set({}));
  afterEach(() => scene.clear());
  after(() => scene.strike());

  function withFault(fault: ModuleManner['fault']): CodecOption {
    return { module: MODULE, options: { fault } };
  }

  async function refusal(call: Promise<unknown>): Promise<ReactorError> {
    const [outcome] = await Promise.allSettled([call]);
    if (outcome?.status !== 'rejected') throw new Error('It was not refused');
    return outcome.reason;
  }

  it('is refused with ERR_REACTOR_CODEC_FAILED if it cannot be loaded or made', async () => {
    const port = { host: HOST, port: 0 };
    for (const [codec, text] of [
      [{ module: 'file:///nowhere/codec.js' }, /file:\/\/\/nowhere\/codec\.js could not be loaded/],
      [{ module: new URL('./scene.js', MODULE) }, /default export is not a codec/],
      [withFault('create'), /codec-module\.js could not be made: its create\(\) threw: create: no/],
      [
        withFault('nothing'),
        /could not be made: its create\(\) must return an object with open\(\), and maxMessageBytes/,
      ],
    ] as const) {
      const listened = await refusal(scene.reactor.listen({ ...port, codec }));
      expect([listened.code, listened.cause instanceof Error]).to.deep.equal(['ERR_REACTOR_CODEC_FAILED', true]);
      expect(listened.message).to.match(text);
      const server = await scene.listenRaw();
      const connected = await refusal(scene.client({ codec }).connect({ host: HOST, port: server.port }));
      expect(connected.code).to.equal('ERR_REACTOR_CODEC_FAILED');
    }
  });

  const faults = [
    'open',
    'undefined',
    'decode',
    'encode',
    'reject',
    'stuck',
    'write',
    'incomplete',
    'isWaiting',
    'sharedEncoding',
    'range',
    'parts',
    'reason',
    'deaf',
  ] as const;
  for (const fault of faults) {
    it(`that fails in ${fault} ends its connection, and no other one`, async () => {
      const server = await scene.listen({ codec: withFault(fault) });
      const closed = once(server, 'disconnect');
      const connected = once(server, 'connection');
      const healthy = await scene.listen({ codec: { module: MODULE } });
      healthy.on('message', (connection, data) => connection.send(data));
      const other = await scene.connectRaw(healthy.address.port);
      const peer = await scene.connectRaw(server.address.port);
      const [connection] = (await connected) as [TcpConnection];
      if (fault === 'encode' || fault === 'reject' || fault === 'write') connection.send('x');
      else if (fault === 'sharedEncoding') server.broadcast('x');
      else if (fault === 'incomplete') peer.end();
      else peer.write(Buffer.from([1, 0x78]));
      const [, reason, { error }] = await closed;
      expect([reason, error.code]).to.deep.equal(['protocol-error', 'ERR_REACTOR_CODEC_FAILED']);
      const texts: Partial<Record<typeof fault, string>> = {
        stuck: 'decode() returned before the end',
        undefined: 'open() must return an object',
        write: 'write() takes a Uint8Array',
        range: 'message() of [',
        parts: 'part() of 2 bytes, 0 are missing',
        reason: 'fail() takes one of closeReasons',
        deaf: 'the codec went on all the same',
      };
      const text = texts[fault] ?? `${fault}: no`;
      expect(error.cause.message).to.include(text);
      other.count().write(Buffer.from([1, 0x79]));
      while (other.received < 4) await once(other.socket, 'data');
    });
  }

  it('that fails in close, or never goes on, is let go of all the same', async () => {
    for (const fault of ['close', 'never'] as const) {
      const server = await scene.listen({ codec: withFault(fault) });
      const connected = once(server, 'connection');
      const peer = await scene.connectRaw(server.address.port);
      peer.write(Buffer.from([1, 0x78]));
      const [connection] = (await connected) as [TcpConnection];
      const closed = once(connection, 'close');
      connection.destroy();
      expect((await closed)[0]).to.equal('local-destroy');
      await server.close({ drainMs: 100 });
    }
  });

  it('that takes long to load is under the timeout and the signal of connect()', async () => {
    const raw = await scene.listenRaw();
    const codec: CodecOption = { module: MODULE, options: { loadMs: 60_000 } };
    const client = scene.client({ codec });
    client.on('connection', () => {
      throw new Error('It has connected');
    });
    const late = await refusal(client.connect({ host: HOST, port: raw.port, timeoutMs: 50 }));
    expect(late.code).to.equal('ERR_REACTOR_CONNECT_TIMEOUT');
    const abort = new AbortController();
    const aborted = refusal(client.connect({ host: HOST, port: raw.port, signal: abort.signal }));
    abort.abort();
    expect((await aborted).code).to.equal('ERR_REACTOR_ABORTED');
  });

  it('says what is missing when the peer ends inside a message', async () => {
    const server = await scene.listen({ codec: { module: MODULE } });
    const closed = once(server, 'disconnect');
    const peer = await scene.connectRaw(server.address.port);
    peer.write(Buffer.from([5, 1, 2])).end();
    const [, reason, { error }] = await closed;
    expect(reason).to.equal('protocol-error');
    expect(error.message).to.include('only 3 bytes of a frame came');
  });
});

describe('a codec of the user that returns what it should not', () => {
  const stage = scene();

  for (const returned of ['null', 'true', '{ then(resolve) { resolve(); } }']) {
    it(`writes, sends and broadcasts all the same: ${returned}`, async () => {
      const module = new URL(
        `data:text/javascript,${encodeURIComponent(`
          export default { create: () => ({ maxMessageBytes: 100, open(channel) {
            channel.writeOwn((output) => { output.write(Buffer.from('own,')); return ${returned}; });
            return {
              sharedEncoding: 'all',
              decode: (bytes, start, end) => end,
              incomplete: () => undefined,
              encode: (message, output) => { output.write(message); return ${returned}; },
            };
          } }) };
        `)}`,
      );
      const { server, connection, peer } = await stage.accepted({ codec: { module } });
      let got = '';
      const all = new Promise<void>((resolve) => {
        peer.socket.on('data', (bytes: Buffer) => {
          got += String(bytes);
          if (got.length >= 'own,sent,cast'.length) resolve();
        });
      });
      connection.send('sent,');
      server.broadcast('cast');
      await all;
      expect(got).to.equal('own,sent,cast');
    });
  }
});

describe('a codec of the user with heartbeats of its own', () => {
  const stage = scene();
  const codec = { module: new URL('../fixtures/heartbeat-codec.js', import.meta.url), options: { intervalMs: 100 } };

  it('answers those of its peer, and keeps them from the application', async () => {
    const ignored = stage.reactor.stats().ignoredFrames;
    const { connection, peer } = await stage.accepted({ codec });
    const heard: string[] = [];
    const last = new Promise<void>((resolve) => {
      connection.on('message', (data) => {
        heard.push(String(data));
        if (heard.length === 3) resolve();
      });
    });
    peer.count().write(Buffer.from('\0\x01a\0\0\x02bc\0\x01d', 'latin1'));
    await last;
    expect(heard).to.deep.equal(['a', 'bc', 'd']);
    while (peer.received < 4) await once(peer.socket, 'data');
    expect(connection.messagesReceived).to.equal(3);
    expect(stage.reactor.stats().ignoredFrames).to.equal(ignored);
    expect(() => connection.send('')).to.throw(/takes 1 at least/);
  });

  it('keeps a connection open on which nothing else passes, and closes that of a peer that is silent', async () => {
    const { near, far } = await stage.pair({ both: { codec } });
    while (near.bytesReceived < 4) await new Promise((resolve) => setImmediate(resolve));
    expect([near.state, far.state, near.messagesReceived]).to.deep.equal(['open', 'open', 0]);
    const { connection } = await stage.connected({ codec });
    const [reason, { error }] = await once(connection, 'close');
    expect([reason, error.code]).to.deep.equal(['heartbeat-timeout', 'ERR_REACTOR_HEARTBEAT_TIMEOUT']);
  });
});
