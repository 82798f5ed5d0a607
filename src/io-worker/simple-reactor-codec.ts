import type { SimpleReactorSettings } from '../shared/codec-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { Codec, CodecChannel, CodecOutput, ConnectionCodec } from './codec.js';
import { MessageDeflater } from './message-deflater.js';
import { SilenceWatch } from './silence-watch.js';
import { deflateOverhead, LENGTH_BYTES, payloadType, TYPE_BYTES } from './simple-reactor-format.js';
import { heartbeatText } from './simple-reactor-heartbeat.js';
import { PlainDecoder } from './simple-reactor-plain.js';
import { ZlibDecoder } from './simple-reactor-zlib.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/** Up to here a frame is copied into one chunk. */
const ONE_CHUNK_BYTES = 4096;

/** As much of a long message is copied, to stand behind its type in one piece. */
const COPIED_BYTES = 64 * 1024;

const EMPTY = new Uint8Array(0);

/** A client gives up after this many intervals without a byte. */
const SILENT_INTERVALS = 2;

/** Codec 'simple-reactor': what the Python package of that name speaks (simple-reactor-format.ts has the picture). */
export class SimpleReactorCodec implements Codec {
  readonly maxMessageBytes: number;
  readonly #settings: SimpleReactorSettings;

  readonly #wheel: TimingWheel;

  constructor(settings: SimpleReactorSettings, wheel: TimingWheel) {
    this.#settings = settings;
    this.#wheel = wheel;
    const { compress, maxFrameBytes } = settings;
    this.maxMessageBytes = maxFrameBytes - TYPE_BYTES - (compress ? deflateOverhead(maxFrameBytes) : 0);
  }

  open(channel: CodecChannel): ConnectionCodec {
    return new SimpleReactorConnection(channel, this.#settings, this.#wheel);
  }
}

class SimpleReactorConnection implements ConnectionCodec {
  readonly sharedEncoding: string | undefined;
  readonly #channel: CodecChannel;
  readonly #maxFrameBytes: number;
  readonly #decoder: PlainDecoder | ZlibDecoder;
  readonly #deflater: MessageDeflater | undefined;
  /** What has come waits for the application. */
  #isFull = false;
  /** Of a server. */
  #heartbeat: Deadline | undefined;
  /** Of a client. */
  #silence: SilenceWatch | undefined;

  readonly #wheel: TimingWheel;

  constructor(
    channel: CodecChannel,
    { compress, heartbeatMs, maxFrameBytes }: SimpleReactorSettings,
    wheel: TimingWheel,
  ) {
    this.#channel = channel;
    this.#wheel = wheel;
    this.#maxFrameBytes = maxFrameBytes;
    this.#decoder = compress ? new ZlibDecoder(channel, maxFrameBytes) : new PlainDecoder(channel, maxFrameBytes);
    this.#deflater = compress ? new MessageDeflater() : undefined;
    // What a message is compressed to depends on those before it.
    this.sharedEncoding = compress ? undefined : 'simple-reactor';
    if (channel.role === 'server') {
      const heartbeat = new Deadline(() => {
        wheel.set(heartbeat, heartbeatMs);
        this.#beat();
      });
      wheel.set(heartbeat, heartbeatMs);
      this.#heartbeat = heartbeat;
    } else {
      this.#silence = new SilenceWatch(
        wheel,
        SILENT_INTERVALS * heartbeatMs,
        () => this.#isFull || !channel.isReading,
        () => this.#fallSilent(heartbeatMs),
      );
    }
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    if (end > start) this.#silence?.heard();
    const position = this.#decoder.decode(bytes, start, end);
    this.#isFull = position < end || this.#decoder.isReady;
    return position;
  }

  get isWaiting(): boolean {
    return this.#decoder instanceof ZlibDecoder && this.#decoder.isWaiting;
  }

  incomplete(): string | undefined {
    return this.#decoder.incomplete();
  }

  encode(message: Buffer, output: CodecOutput): void | Promise<void> {
    // Empty data is never sent in this format.
    if (message.length === 0) return;
    return this.#encode(payloadType.DATA, message, output);
  }

  /** There will be no heartbeats any more. */
  peerEnded(): void {
    this.#silence?.stop();
  }

  close(): void {
    if (this.#heartbeat !== undefined) this.#wheel.clear(this.#heartbeat);
    this.#silence?.stop();
    this.#deflater?.close();
    if (this.#decoder instanceof ZlibDecoder) this.#decoder.close();
  }

  #encode(type: number, data: Buffer, output: CodecOutput): void | Promise<void> {
    if (this.#deflater !== undefined) return this.#compress(this.#deflater, type, data, output);
    this.#write(output, [typed(type, EMPTY), data], TYPE_BYTES + data.length);
  }

  async #compress(deflater: MessageDeflater, type: number, data: Buffer, output: CodecOutput): Promise<void> {
    const pieces = [typed(type, data.subarray(0, COPIED_BYTES))];
    if (data.length > COPIED_BYTES) pieces.push(data.subarray(COPIED_BYTES));
    const body = await deflater.deflate(pieces);
    if (body !== undefined) this.#write(output, body.chunks, body.length);
  }

  #write(output: CodecOutput, body: readonly Uint8Array[], length: number): void {
    if (length > this.#maxFrameBytes) {
      throw new RangeError(`A message of ${length} bytes on the wire, maxFrameBytes is ${this.#maxFrameBytes}`);
    }
    const small = length <= ONE_CHUNK_BYTES;
    const head = Buffer.allocUnsafe(LENGTH_BYTES + (small ? length : 0));
    head.writeUInt32LE(length);
    let position = LENGTH_BYTES;
    if (small) {
      for (const chunk of body) {
        head.set(chunk, position);
        position += chunk.length;
      }
    }
    output.write(head);
    if (!small) for (const chunk of body) output.write(chunk);
  }

  #beat(): void {
    this.#channel.writeOwn((output) => {
      const text = heartbeatText(this.#channel.addresses, Date.now());
      return this.#encode(payloadType.HEARTBEAT, Buffer.from(text), output);
    });
  }

  #fallSilent(heartbeatMs: number): void {
    this.close();
    const message = `Nothing came for ${SILENT_INTERVALS} intervals of ${heartbeatMs} ms`;
    this.#channel.fail('heartbeat-timeout', new ReactorError('ERR_REACTOR_HEARTBEAT_TIMEOUT', message));
  }
}

function typed(type: number, data: Uint8Array): Buffer {
  const payload = Buffer.allocUnsafe(TYPE_BYTES + data.length);
  payload.writeUInt32LE(type);
  payload.set(data, TYPE_BYTES);
  return payload;
}
