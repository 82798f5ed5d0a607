import net from 'node:net';
import { expect } from 'chai';
import { type SocketListener, SocketStream } from '../../src/io-worker/socket-stream.js';
import { next } from '../fixtures/events.js';
import { HOST, pattern, props } from '../fixtures/scene.js';

const READ_BYTES = 1000;

/** Reads one piece after the other, and pauses behind each for a turn if it is told to. */
class Reader implements SocketListener {
  readonly reads: Buffer[] = [];
  readonly ended: Promise<void>;
  onEnd: () => void = () => undefined;
  readonly #stream: SocketStream;
  readonly #pauses: boolean;

  constructor(stream: SocketStream, pauses: boolean) {
    this.#stream = stream;
    this.#pauses = pauses;
    this.ended = new Promise((resolve) => {
      this.onEnd = resolve;
    });
    stream.listener = this;
    stream.resume();
  }

  onData(bytes: Uint8Array, length: number): void {
    this.reads.push(Buffer.from(bytes.subarray(0, length)));
    if (!this.#pauses) return;
    this.#stream.pause();
    setImmediate(() => this.#stream.resume());
  }

  onWritten(): void {}
  onError(): void {}
  onClose(): void {}
}

describe('SocketStream', () => {
  const own = props();

  /** Both ends of a connection. */
  async function pair(reuseReadBuffer: boolean): Promise<{ stream: SocketStream; peer: net.Socket }> {
    const ways = { reuseReadBuffer, directWrites: false };
    const server = net.createServer({ pauseOnConnect: !reuseReadBuffer, allowHalfOpen: true });
    own.defer(() => void server.close());
    server.listen(0, HOST);
    await next(server, 'listening');
    const { port } = server.address() as net.AddressInfo;
    const accepted = next<[net.Socket]>(server, 'connection');
    const connected = reuseReadBuffer
      ? SocketStream.connect({ host: HOST, port }, ways, READ_BYTES)
      : net.connect(port, HOST);
    const [socket] = await accepted;
    if (connected instanceof SocketStream) return { stream: connected, peer: socket };
    return { stream: SocketStream.adopt(socket, ways, undefined, READ_BYTES), peer: connected };
  }

  for (const reuseReadBuffer of [true, false]) {
    for (const pauses of [true, false]) {
      const how = `${reuseReadBuffer ? 'into a buffer' : "through 'data'"}, ${pauses ? 'pausing behind each' : 'without a pause'}`;
      it(`reads no more at once than it may, and then the end, ${how}`, async () => {
        const { stream, peer } = await pair(reuseReadBuffer);
        own.defer(() => stream.destroy());
        own.defer(() => void peer.destroy());
        const data = pattern(50 * READ_BYTES + 1);
        peer.end(data);
        const reader = new Reader(stream, pauses);
        await reader.ended;
        expect(Buffer.concat(reader.reads).equals(data)).to.equal(true);
        expect(Math.max(...reader.reads.map(({ length }) => length))).to.equal(READ_BYTES);
      });
    }
  }
});
