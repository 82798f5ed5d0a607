import net from 'node:net';
import { constants } from 'node:os';
import { TLSSocket } from 'node:tls';
import type { SocketWays } from '../shared/control-protocol.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import type { TlsInfo } from '../shared/tls-settings.js';
import type { AcceptedHandle } from './accepted-handles.js';
import type { Chunk } from './chunk-pool.js';
import { canWriteDirectly, type WriteHandle, writeDirectly, writeError } from './direct-writes.js';
import { addressesOf, type UnixPaths } from './socket-addresses.js';
import { tlsInfoOf } from './tls-info.js';

/** What a socket tells its connection. */
export interface SocketListener {
  /** `bytes[0, length)` were read; they are valid only during the call. */
  onData(bytes: Uint8Array, length: number): void;
  /** What `write` could not hand to the kernel at once is there now. */
  onWritten(): void;
  onEnd(): void;
  onError(error: Error): void;
  onClose(): void;
}

/**
 * All sockets of the io worker read into this one buffer: reading and passing on happen in one call, so that no two
 * sockets use it at the same time.
 */
const readBuffer = Buffer.allocUnsafeSlow(READ_BUFFER_BYTES);

/** The parts of a libuv handle that are used here where they exist, and that no documentation promises. */
interface StreamHandle {
  /** Bytes that libuv has not been able to hand to the kernel yet. */
  readonly writeQueueSize?: number;
}

interface HandleHolder {
  _handle: StreamHandle | null;
}

/** What a TLS socket passes on to the handle below it; a Unix socket has none. */
interface NamedHandle {
  /** 0, or an error: ENOTCONN from a socket that the kernel has given up. */
  getpeername?(into: object): number | undefined;
}

/** Whose socket it is. */
const STREAM = Symbol('stream');

interface StreamedSocket extends net.Socket {
  [STREAM]?: SocketStream;
}

/** TLS is in between. */
const AS_DOCUMENTED: SocketWays = { reuseReadBuffer: false, directWrites: false };

/** Where a socket may connect to. */
export type SocketTarget = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * A connected or connecting socket, TCP or Unix, with TLS or without. Reads into a reused buffer where it can, and writes a batch
 * of chunks with one call.
 */
export class SocketStream {
  readonly socket: net.Socket;
  /** Set before the first event can come: sockets start paused. */
  listener: SocketListener | undefined;
  readonly #unix: UnixPaths | undefined;
  #addresses: ConnectionAddresses | undefined;
  #writing = false;
  /** Without TLS, if it is wanted. */
  readonly #mayWriteDirectly: boolean;
  /** Whether its handle lets it: known from the first write on. */
  #canWriteDirectly: boolean | undefined;

  /** @param readBytes what its listener gets at once */
  private constructor(
    create: (onread: net.OnReadOpts | undefined) => net.Socket,
    { reuseReadBuffer, directWrites }: SocketWays,
    unix: UnixPaths | undefined,
    readBytes: number,
  ) {
    this.#unix = unix;
    this.#mayWriteDirectly = directWrites;
    this.socket = create(
      reuseReadBuffer
        ? {
            buffer: readBytes < readBuffer.length ? readBuffer.subarray(0, readBytes) : readBuffer,
            callback: (length, bytes) => {
              this.listener?.onData(bytes, length);
              return true;
            },
          }
        : undefined,
    );
    const { socket } = this;
    if (!reuseReadBuffer) socket.on('data', (bytes: Buffer) => this.#onData(bytes, readBytes));
    (socket as StreamedSocket)[STREAM] = this;
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onClose);
  }

  /** An accepted socket as Node gives it. */
  static adopt(accepted: net.Socket, ways: SocketWays, unix: UnixPaths | undefined, readBytes: number): SocketStream {
    return new SocketStream(() => accepted, { ...ways, reuseReadBuffer: false }, unix, readBytes);
  }

  /** An accepted socket of which nobody has made a net.Socket. */
  static onHandle(
    handle: AcceptedHandle,
    ways: SocketWays,
    unix: UnixPaths | undefined,
    readBytes: number,
  ): SocketStream {
    // A server with `noDelay` would have done it.
    handle.setNoDelay?.(true);
    return new SocketStream(
      (onread) => new net.Socket({ handle, onread, allowHalfOpen: true } as net.SocketConstructorOpts),
      ways,
      unix,
      readBytes,
    );
  }

  static connect(target: SocketTarget, ways: SocketWays, readBytes: number): SocketStream {
    return new SocketStream(
      (onread) => {
        const options = { ...target, allowHalfOpen: true, noDelay: true };
        return net.connect(onread === undefined ? options : { ...options, onread });
      },
      ways,
      'path' in target ? { remote: target.path, local: '' } : undefined,
      readBytes,
    );
  }

  /** A socket whose handshake is done. What has come behind it waits. */
  static secured(socket: TLSSocket, addresses: ConnectionAddresses, readBytes: number): SocketStream {
    const stream = new SocketStream(() => socket, AS_DOCUMENTED, undefined, readBytes);
    stream.#addresses = { ...addresses, encrypted: true };
    // A listener for 'data' has set it flowing, from the next tick on.
    socket.pause();
    return stream;
  }

  /** Of one that is connected. */
  get addresses(): ConnectionAddresses {
    this.#addresses ??= addressesOf(this.socket, this.#unix, false);
    return this.#addresses;
  }

  /** Undefined without TLS. */
  get tls(): TlsInfo | undefined {
    return this.socket instanceof TLSSocket ? tlsInfoOf(this.socket) : undefined;
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /**
   * Writes the chunks with one call to the kernel. True: it took them all. False: `onWritten` follows; until then no other
   * write may be made.
   */
  write(chunks: readonly Chunk[]): boolean {
    const { socket } = this;
    const handle = this.#mayWriteDirectly ? (socket as unknown as HandleHolder)._handle : null;
    if (handle !== null) {
      this.#canWriteDirectly ??= canWriteDirectly(handle);
      if (this.#canWriteDirectly) return this.#writeDirectly(handle as object as WriteHandle, chunks);
    }
    const last = chunks.length - 1;
    if (last > 0) socket.cork();
    for (let i = 0; i <= last; i++) {
      const { buffer, start, end } = chunks[i] as Chunk;
      socket.write(buffer.subarray(start, end), i === last ? (error) => this.#onWritten(error) : undefined);
    }
    if (last > 0) socket.uncork();
    // A write that the kernel refuses at once leaves nothing waiting either; its error comes in a later tick.
    this.#writing = socket.writableLength > 0 || socket.errored !== null;
    return !this.#writing;
  }

  /** Bytes of the present write that the kernel does not have; undefined if this Node does not tell, or TLS is in between. */
  get pendingBytes(): number | undefined {
    if (this.socket.errored !== null || this.socket instanceof TLSSocket) return undefined;
    const size = (this.socket as unknown as HandleHolder)._handle?.writeQueueSize;
    return typeof size === 'number' ? size : undefined;
  }

  /** The end of what has been written, as FIN; with TLS, close_notify before it. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.listener = undefined;
    this.socket.destroy();
  }

  #onData(bytes: Buffer, most: number): void {
    const length = Math.min(bytes.length, most);
    this.listener?.onData(bytes, length);
    // If it has been paused by now, the rest waits for it; otherwise it comes from here.
    if (length < bytes.length && !this.socket.destroyed) this.socket.unshift(bytes.subarray(length));
  }

  #writeDirectly(handle: WriteHandle, chunks: readonly Chunk[]): boolean {
    const status = writeDirectly(handle, chunks, this);
    if (status === 'done') return true;
    this.#writing = true;
    if (status !== 'pending') this.onWriteDone(status);
    return false;
  }

  /** See writeDirectly. */
  onWriteDone(status: number): void {
    if (status === 0) {
      this.#writing = false;
      this.listener?.onWritten();
    } else this.socket.destroy(writeError(status));
  }

  #onWritten(error: Error | null | undefined): void {
    // The callback of a write that the kernel took at once comes late, when the next one may already be under way.
    if (!this.#writing || this.socket.writableLength > 0 || error) return;
    this.#writing = false;
    this.listener?.onWritten();
  }
}

// The same functions for all sockets: a closure each would cost memory.

function onEnd(this: StreamedSocket): void {
  const listener = this[STREAM]?.listener;
  if (isCutOff(this)) listener?.onError(readError());
  else listener?.onEnd();
}

function onError(this: StreamedSocket, error: Error): void {
  this[STREAM]?.listener?.onError(error);
}

function onClose(this: StreamedSocket): void {
  this[STREAM]?.listener?.onClose();
}

/**
 * Whether a reset looks like an end. The kernel reports it once: to whatever TLS was writing of its own, which keeps it to itself, and
 * what is written from then on is never done. After this side's own end the kernel has given up an orderly connection, too.
 */
function isCutOff(socket: net.Socket): boolean {
  if (!(socket instanceof TLSSocket) || socket.writableFinished) return false;
  const handle = (socket as unknown as { _handle: NamedHandle | null })._handle;
  return handle?.getpeername?.({}) === -constants.errno.ENOTCONN;
}

function readError(): Error {
  return Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', syscall: 'read' });
}
