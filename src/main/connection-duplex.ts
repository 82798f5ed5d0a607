import { constants } from 'node:os';
import { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import type { CloseReason } from '../shared/close-reason.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { CloseDetail } from './connection-events.js';
import type { DuplexOptions } from './options.js';
import type { TcpConnection } from './tcp-connection.js';
import type { Waiter } from './waiters.js';

/** What is sent at a time: a record of any ring holds it, so that its first bytes leave before the last ones have come. */
const PIECE_BYTES = 64 * 1024;
const MAX_TIMER_MS = 2 ** 31 - 1;

/** What the connection lends to its duplex. */
export interface DuplexConnection {
  readonly highWaterMark: number;
  readonly overflowLimit: number;
  readonly allowHalfOpen: boolean;
  /** Tells when all that has been sent is with the kernel, or that the connection is closed. */
  whenFlushed(waiter: Waiter<void>): void;
  /** Ends this side, behind what was sent. */
  shutdown(reason: CloseReason): void;
  /** Whether the connection is one of those that keep the thread alive. */
  setRef(referenced: boolean): void;
}

type Done = (error?: Error | null) => void;

/**
 * A connection as a `Duplex` of node:stream, with what libraries look for at a `net.Socket`. Made by
 * `connection.toDuplex()`.
 *
 * ```
 *  write() ---> writable buffer ---> send(), while at most highWaterMark waits ---> io worker
 *  read()  <--- readable buffer <--- messages, until the buffer is full: then the connection is paused
 * ```
 *
 * Thread: app, for all members.
 */
export class ConnectionDuplex extends Duplex {
  /** The connection under it. */
  readonly connection: TcpConnection;
  /** It is connected when it is made. */
  readonly connecting: boolean = false;
  readonly pending: boolean = false;
  /** As `setTimeout()` has set it, in ms. */
  timeout: number | undefined;
  readonly #of: DuplexConnection;

  /** The stream wants no more data at present. */
  #full: boolean;
  /** The peer has ended its side, and the stream knows. */
  #ended = false;
  #bytesRead = 0;

  /** The write in hand: chunks from `#index` on, the first of them from `#offset` on. */
  #chunks: readonly Buffer[] = [];
  #index = 0;
  #offset = 0;
  #onWritten: Done | undefined;
  /** Of the write in hand; and of all writes. */
  #sent = 0;
  #bytesSent = 0;
  /** The write in hand found the connection closed, and waits to hear why. */
  #awaitsReason = false;
  #onFinal: Done | undefined;

  /** The connection is closed, which the stream hears of behind its data. */
  #over = false;
  #unsentBytes = 0;
  #closed = false;
  /** Another thread has the connection. */
  #left = false;
  #onClosed: (() => void) | undefined;

  #timer: NodeJS.Timeout | undefined;
  /** What the kernel had taken when the timer was last looked at. */
  #sentBefore = 0;

  /** @internal See `TcpConnection.toDuplex()`. */
  constructor(connection: TcpConnection, of: DuplexConnection, { allowHalfOpen = of.allowHalfOpen }: DuplexOptions) {
    super({ allowHalfOpen });
    this.connection = connection;
    this.#of = of;
    this.#full = connection.isPaused();
  }

  // ---- what the connection brings ----

  /** @internal @param chunk the stream's to keep */
  receive(chunk: Buffer): void {
    if (this.destroyed) return;
    this.#bytesRead += chunk.length;
    this.#timer?.refresh();
    if (this.push(chunk) || this.destroyed) return;
    this.#full = true;
    this.connection.pause();
  }

  /** @internal */
  receiveEnd(): void {
    if (this.#ended || this.destroyed) return;
    this.#ended = true;
    this.push(null);
    // Without anything left to be read 'end' needs no reader.
    this.read(0);
  }

  /** @internal The connection is closed; data that the stream has not taken may still come. */
  receiveOver(unsentBytes: number): void {
    this.#over = true;
    this.#unsentBytes = unsentBytes;
    if (this.#awaitsReason) this.#writeFailed();
    this.#finish();
  }

  #finish(): void {
    const onFinal = this.#onFinal;
    this.#onFinal = undefined;
    if (this.#unsentBytes === 0) onFinal?.();
    else onFinal?.(new ReactorError('ERR_REACTOR_CONNECTION_CLOSED', `${this.#unsentBytes} bytes could not be sent`));
  }

  /** @internal Behind all data. */
  receiveClose(reason: CloseReason, detail: CloseDetail, isOrderly: boolean): void {
    this.#closed = true;
    const onClosed = this.#onClosed;
    if (onClosed !== undefined) onClosed();
    else if (!isOrderly) this.destroy(errorOf(reason, detail));
    // As by a net.Socket that is destroyed: who waits for an end finds that there was none.
    else if (!this.#ended) this.destroy();
    // Otherwise it destroys itself when its data has been read.
    else if (this.readableEnded) this.#destroyUnlessEnding();
    else this.once('end', () => this.#destroyUnlessEnding());
  }

  #destroyUnlessEnding(): void {
    if (this.allowHalfOpen && !this.writableEnded) this.destroy();
  }

  /** @internal Another thread gets the rest. */
  receiveLeave(): void {
    this.#left = true;
    // It is being destroyed, and waits for an end that another thread will hear of.
    const onClosed = this.#onClosed;
    if (onClosed !== undefined) {
      onClosed();
      return;
    }
    const message = 'The connection has been handed over to another thread';
    this.destroy(new ReactorError('ERR_REACTOR_CONNECTION_CLOSED', message));
  }

  // ---- Duplex ----

  override _read(): void {
    if (!this.#full) return;
    this.#full = false;
    this.connection.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#write([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer; encoding: BufferEncoding }[], done: Done): void {
    this.#write(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _final(done: Done): void {
    const { connection } = this;
    this.#onFinal = done;
    // Otherwise `receiveOver` will come, with what is not known yet.
    if (this.#over) this.#finish();
    if (connection.state === 'closed') return;
    // 'finish' says that everything is with the kernel: what comes behind it may destroy the connection.
    const isFlushed = connection.bufferedAmount === 0;
    // Not by a promise: the peer's end, which may be next in the ring, would overtake 'finish'.
    if (!isFlushed) this.#of.whenFlushed({ resolve: () => this.#finish(), reject: () => undefined });
    this.#of.shutdown(this.#ended && !this.allowHalfOpen ? 'peer-end' : 'local-shutdown');
    if (isFlushed) this.#finish();
  }

  override _destroy(error: Error | null, done: Done): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#onFinal = undefined;
    this.#wrote(error ?? systemError('write', 'ECANCELED'));
    if (this.#closed || this.#left) {
      done(error);
      return;
    }
    this.#onClosed = () => done(error);
    // When both sides have ended it closes by itself, with the reason that is true.
    if (error === null && this.readableEnded && this.writableFinished) return;
    this.connection.destroy();
  }

  // ---- writing ----

  #write(chunks: readonly Buffer[], done: Done): void {
    this.#chunks = chunks;
    this.#index = 0;
    this.#offset = 0;
    this.#onWritten = done;
    this.#send();
  }

  /** Sends what the connection takes; the rest when it takes more. */
  #send(): void {
    const { connection } = this;
    while (this.#onWritten !== undefined) {
      const buffered = connection.bufferedAmount;
      // Other threads may send, too.
      if (buffered > this.#of.highWaterMark) {
        this.#sendWhenReady();
        return;
      }
      // Far from the overflow limit: what is written is not to be lost.
      const piece = this.#takePiece(
        buffered === 0 ? PIECE_BYTES : Math.min(PIECE_BYTES, (this.#of.overflowLimit - buffered) >> 1),
      );
      if (piece === undefined) {
        this.#wrote();
        return;
      }
      const isBelow = connection.send(piece);
      if (!isBelow && connection.state !== 'open') {
        this.#writeFailed();
        return;
      }
      this.#sent += piece.length;
      this.#bytesSent += piece.length;
      this.#timer?.refresh();
      if (!isBelow) {
        this.#sendWhenReady();
        return;
      }
    }
  }

  #sendWhenReady(): void {
    void this.connection.ready().then((isOpen) => {
      if (this.#onWritten === undefined) return;
      this.#timer?.refresh();
      if (isOpen) this.#send();
      else this.#writeFailed();
    });
  }

  /** The next bytes to send: chunks that are shorter go together. */
  #takePiece(limit: number): Buffer | undefined {
    const first = this.#chunks[this.#index];
    if (first === undefined) return undefined;
    const left = first.length - this.#offset;
    if (left > limit) {
      const piece = first.subarray(this.#offset, this.#offset + limit);
      this.#offset += limit;
      return piece;
    }
    const pieces = [this.#offset === 0 ? first : first.subarray(this.#offset)];
    let length = left;
    this.#offset = 0;
    for (;;) {
      const next = this.#chunks[++this.#index];
      if (next === undefined || length + next.length > limit) break;
      pieces.push(next);
      length += next.length;
    }
    return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces, length);
  }

  #wrote(error?: Error): void {
    const onWritten = this.#onWritten;
    this.#onWritten = undefined;
    this.#chunks = [];
    this.#sent = 0;
    this.#awaitsReason = false;
    onWritten?.(error);
  }

  #writeFailed(): void {
    // The connection is closed, and what of is still in the event ring.
    if (this.connection.state === 'closed' && !this.#over) this.#awaitsReason = true;
    else this.#wrote(systemError('write', 'EPIPE'));
  }

  // ---- as a net.Socket ----

  get remoteAddress(): string | undefined {
    return this.connection.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.connection.remotePort;
  }

  get remoteFamily(): string | undefined {
    return this.connection.remoteFamily;
  }

  get localAddress(): string | undefined {
    return this.connection.localAddress;
  }

  get localPort(): number | undefined {
    return this.connection.localPort;
  }

  get localFamily(): string | undefined {
    return this.connection.remoteFamily;
  }

  /** This side's address; `{}` if it has none. */
  address(): { address?: string; port?: number; family?: string } {
    const { localAddress: address, localPort: port, localFamily: family } = this;
    return address === undefined || port === undefined || family === undefined ? {} : { address, port, family };
  }

  /** Bytes that the stream has got from the connection. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Bytes that have been written, also those that still wait. */
  get bytesWritten(): number {
    return this.#bytesSent + Math.max(0, this.writableLength - this.#sent);
  }

  get readyState(): 'open' | 'readOnly' | 'writeOnly' | 'closed' {
    if (this.readable) return this.writable ? 'open' : 'readOnly';
    return this.writable ? 'writeOnly' : 'closed';
  }

  /**
   * 'timeout' when nothing has been received, written or sent for so long; what follows is up to its listeners. 0 takes it
   * back. The timer does not keep the process alive. Throws ERR_REACTOR_INVALID_ARGUMENT.
   */
  setTimeout(timeoutMs: number, listener?: () => void): this {
    if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0)) {
      const message = `setTimeout() takes a number of milliseconds, 0 or more, got ${inspect(timeoutMs)}`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    if (this.destroyed) return this;
    this.timeout = timeoutMs;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (timeoutMs === 0) {
      if (listener !== undefined) this.off('timeout', listener);
      return this;
    }
    this.#sentBefore = this.connection.bytesSent;
    this.#timer = setTimeout(() => this.#onTimer(), Math.min(timeoutMs, MAX_TIMER_MS)).unref();
    if (listener !== undefined) this.once('timeout', listener);
    return this;
  }

  #onTimer(): void {
    const { bytesSent, bufferedAmount } = this.connection;
    const isSending = bufferedAmount > 0 && bytesSent !== this.#sentBefore;
    this.#sentBefore = bytesSent;
    if (isSending) this.#timer?.refresh();
    else this.emit('timeout');
  }

  /** Does nothing: connections of a reactor never delay short packets. */
  setNoDelay(_noDelay?: boolean): this {
    return this;
  }

  /** Does nothing. */
  setKeepAlive(_enable?: boolean, _initialDelay?: number): this {
    return this;
  }

  /** The open connection keeps its thread alive; the default. */
  ref(): this {
    this.#of.setRef(true);
    return this;
  }

  /** The open connection does not keep its thread alive. */
  unref(): this {
    this.#of.setRef(false);
    return this;
  }

  /** Does nothing but emit 'connect': it is connected. For libraries that connect the stream that they are given. */
  connect(...args: unknown[]): this {
    const listener = args.at(-1);
    if (typeof listener === 'function') this.once('connect', listener as () => void);
    process.nextTick(() => {
      if (!this.destroyed) this.emit('connect');
    });
    return this;
  }

  /** Ends this side, and destroys the stream when everything is with the kernel. */
  destroySoon(): void {
    if (this.writable) this.end();
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  /** Destroys the stream. What the peer sees is up to the system: a reset if data had not been read, otherwise an end. */
  resetAndDestroy(): this {
    return this.destroy();
  }
}

/** What libraries expect of a socket whose connection has broken. */
function errorOf(reason: CloseReason, { error }: CloseDetail): Error {
  if (reason === 'peer-reset') return error?.cause instanceof Error ? error.cause : systemError('read', 'ECONNRESET');
  if (error !== undefined) return error;
  const code = reason === 'io-worker-crash' ? 'ERR_REACTOR_IO_WORKER_CRASH' : 'ERR_REACTOR_CONNECTION_CLOSED';
  return new ReactorError(code, `The connection is closed (${reason})`);
}

function systemError(syscall: string, code: 'ECANCELED' | 'ECONNRESET' | 'EPIPE'): Error {
  return Object.assign(new Error(`${syscall} ${code}`), { code, syscall, errno: -constants.errno[code] });
}
