import { inspect } from 'node:util';
import { type CloseReason, closeReasons } from '../shared/close-reason.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import type { ReactorError } from '../shared/reactor-error.js';
import type { Codec, CodecChannel, CodecOutput, ConnectionCodec } from './codec.js';
import { codecFailed, reactorErrorOf } from './codec-failure.js';

export const MAX_MESSAGE_BYTES: number = 512 * 1024 * 1024;
/** A codec is asked again now and then while a ring is full; but not so often in between. */
const MAX_REFUSALS = 1000;

/** What is asked of a codec in passing must not throw, nor must its end: only `decode` and `encode` are called with care. */
export function guarded(codec: Codec): Codec {
  return {
    maxMessageBytes: codec.maxMessageBytes,
    minMessageBytes: codec.minMessageBytes ?? 0,
    open: (channel) => {
      const connection = codec.open(new GuardedChannel(channel));
      if (typeof connection?.decode !== 'function' || typeof connection.encode !== 'function') {
        throw new TypeError('open() must return an object with decode(), encode() and incomplete()');
      }
      return new GuardedConnection(connection, channel);
    },
  };
}

/** What a user's codec says of its messages is checked: these are places in memory that other connections use, too. */
class GuardedChannel implements CodecChannel {
  readonly #channel: CodecChannel;
  /** How often it has gone on although nothing was taken. */
  #refusals = 0;
  /** Of a message that has begun. */
  #partsLeft = 0;

  constructor(channel: CodecChannel) {
    this.#channel = channel;
  }

  get role(): 'server' | 'client' {
    return this.#channel.role;
  }

  get addresses(): ConnectionAddresses {
    return this.#channel.addresses;
  }

  get isReading(): boolean {
    return this.#channel.isReading;
  }

  message(bytes: Uint8Array, start: number, end: number): boolean {
    checkRange('message()', bytes, start, end);
    return this.#taken(this.#channel.message(bytes, start, end));
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number): boolean {
    checkRange('partFirst()', bytes, start, end);
    if (!Number.isInteger(length) || length <= end - start || length > MAX_MESSAGE_BYTES) {
      throw new RangeError(`partFirst() of a message of ${inspect(length)} bytes, of which ${end - start} are there`);
    }
    if (this.#partsLeft > 0) throw new Error(`partFirst() although ${this.#partsLeft} bytes of a message are missing`);
    const taken = this.#taken(this.#channel.partFirst(length, bytes, start, end));
    if (taken) this.#partsLeft = length - (end - start);
    return taken;
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    checkRange('part()', bytes, start, end);
    if (end - start > this.#partsLeft)
      throw new RangeError(`part() of ${end - start} bytes, ${this.#partsLeft} are missing`);
    const taken = this.#taken(this.#channel.part(bytes, start, end));
    if (taken) this.#partsLeft -= end - start;
    return taken;
  }

  fail(reason: CloseReason, error: ReactorError): void {
    const isReason = closeReasons.includes(reason);
    const problem = isReason
      ? error
      : new TypeError(`fail() takes one of closeReasons, got ${inspect(reason, { depth: 0 })}`);
    this.#channel.fail(isReason ? reason : 'protocol-error', reactorErrorOf(problem) ?? codecFailed(problem));
  }

  ignored(): void {
    this.#channel.ignored();
  }

  resume(): void {
    this.#channel.resume();
  }

  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    return this.#channel.writeOwn(write);
  }

  #taken(taken: boolean): boolean {
    this.#refusals = taken ? 0 : this.#refusals + 1;
    if (this.#refusals > MAX_REFUSALS)
      throw new Error('The channel has answered false, and the codec went on all the same');
    return taken;
  }
}

function checkRange(call: string, bytes: Uint8Array, start: number, end: number): void {
  const isRange = Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end;
  if (bytes instanceof Uint8Array && isRange && end <= bytes.length) return;
  const given = bytes instanceof Uint8Array ? `${bytes.length} bytes` : inspect(bytes, { depth: 0 });
  throw new RangeError(`${call} of [${inspect(start)}, ${inspect(end)}) of ${given}`);
}

class GuardedConnection implements ConnectionCodec {
  readonly #codec: ConnectionCodec;
  readonly #channel: CodecChannel;
  #failed = false;

  constructor(codec: ConnectionCodec, channel: CodecChannel) {
    this.#codec = codec;
    this.#channel = channel;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    // Not the whole read buffer: what lies around belongs to others.
    const own = bytes.subarray(start, end);
    return start + this.#codec.decode(own, 0, own.length);
  }

  encode(message: Buffer, output: CodecOutput, kind: number): void | Promise<void> {
    return this.#codec.encode(message, output, kind);
  }

  get isWaiting(): boolean {
    return this.#ask(() => this.#codec.isWaiting === true, false);
  }

  get sharedEncoding(): string | undefined {
    return this.#ask(() => this.#codec.sharedEncoding, undefined);
  }

  incomplete(): string | undefined {
    return this.#ask(() => this.#codec.incomplete(), undefined);
  }

  close(): void {
    this.#ask(() => this.#codec.close?.(), undefined);
  }

  #ask<T>(ask: () => T, otherwise: T): T {
    if (this.#failed) return otherwise;
    try {
      return ask();
    } catch (cause) {
      this.#failed = true;
      // Not from here: whoever asks is in the middle of something.
      queueMicrotask(() => {
        this.#channel.fail('protocol-error', codecFailed(cause));
      });
      return otherwise;
    }
  }
}
