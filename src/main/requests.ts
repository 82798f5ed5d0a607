import type { ConnectionId } from '../shared/connection-id.js';
import type { PartHeader } from '../shared/event-record.js';
import {
  FRAME_HEADER_BYTES,
  FRAME_LENGTH_BYTES,
  frameKind,
  frameOffset,
  REQUEST_ID_BYTES,
} from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import { readU32 } from '../shared/shared-memory.js';
import { MessageAssembly } from './message-assembly.js';
import { abortError, onAbort } from './waiters.js';

/** A request that waits for its answer. */
interface Pending {
  readonly resolve: (answer: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** How a request may end before its answer comes. */
export interface RequestLimits {
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** How many of the connection may wait at once. */
  readonly most: number;
}

/** The requests of this thread, on connections of one io worker, that wait for an answer. Each settles exactly once. */
export class Requests {
  readonly #pending = new Map<ConnectionId, Map<number, Pending>>();
  /** Long answers, of which the first piece has come. */
  readonly #assemblies = new Map<ConnectionId, { readonly kind: number; readonly assembly: MessageAssembly }>();

  isWaiting(connection: ConnectionId): boolean {
    return this.#pending.has(connection);
  }

  /**
   * Sends a request and waits for its answer. Rejects with ERR_REACTOR_TOO_MANY_REQUESTS, ERR_REACTOR_REQUEST_TIMEOUT,
   * ERR_REACTOR_REQUEST_FAILED, ERR_REACTOR_ABORTED, what `close` is called with, and what `send` throws.
   * @param nextId gives an id that has not been used for long
   * @param send puts the request into the ring, or throws
   */
  ask(
    connection: ConnectionId,
    limits: RequestLimits,
    nextId: () => number,
    send: (id: number) => void,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const pending = this.#pending.get(connection) ?? new Map<number, Pending>();
      const { timeoutMs, signal, most } = limits;
      if (pending.size >= most) {
        const message = `request(): ${most} requests of this thread wait for an answer already (limits.maxRequests)`;
        throw new ReactorError('ERR_REACTOR_TOO_MANY_REQUESTS', message);
      }
      let id = nextId();
      while (pending.has(id)) id = nextId();
      send(id);
      const timeout = setTimeout(() => {
        const message = `request(): no answer within ${timeoutMs} ms`;
        settle(() => reject(new ReactorError('ERR_REACTOR_REQUEST_TIMEOUT', message)));
      }, timeoutMs);
      const abort = (): void => settle(() => reject(abortError('request()', signal as AbortSignal)));
      const settle = (how: () => void): void => {
        clearTimeout(timeout);
        signal?.removeEventListener('abort', abort);
        pending.delete(id);
        if (pending.size === 0) {
          this.#pending.delete(connection);
          this.#assemblies.delete(connection);
        }
        how();
      };
      onAbort(signal, abort);
      pending.set(id, {
        resolve: (answer) => settle(() => resolve(answer)),
        reject: (error) => settle(() => reject(error)),
      });
      this.#pending.set(connection, pending);
    });
  }

  /** Whole frames have come. Of an answer to what nobody waits for any more nothing is said. */
  answered(connection: ConnectionId, frames: Buffer): void {
    for (let at = 0; at < frames.length; ) {
      const end = at + FRAME_LENGTH_BYTES + readU32(frames, at);
      this.#settle(connection, frames[at + frameOffset.KIND] as number, frames.subarray(at + FRAME_HEADER_BYTES, end));
      at = end;
    }
  }

  /** A piece of a long answer has come. */
  answeredInPart(connection: ConnectionId, piece: Uint8Array, header: PartHeader | undefined): void {
    // Nothing is put together that nobody waits for: a peer may send answers to what was never asked.
    if (header !== undefined && this.#pending.get(connection)?.has(readU32(piece, 0)) === true) {
      this.#assemblies.set(connection, { kind: header.kind, assembly: new MessageAssembly(header.length) });
    }
    const begun = this.#assemblies.get(connection);
    const body = begun?.assembly.add(piece);
    if (begun === undefined || body === undefined) return;
    this.#assemblies.delete(connection);
    this.#settle(connection, begun.kind, body);
  }

  /** No answer will come any more. */
  close(connection: ConnectionId, makeError: () => ReactorError): void {
    this.#assemblies.delete(connection);
    const pending = this.#pending.get(connection);
    if (pending === undefined) return;
    const error = makeError();
    for (const { reject } of [...pending.values()]) reject(error);
  }

  #settle(connection: ConnectionId, kind: number, body: Buffer): void {
    const pending = this.#pending.get(connection)?.get(readU32(body, 0));
    const answer = body.subarray(REQUEST_ID_BYTES);
    if (kind === frameKind.RESPONSE) pending?.resolve(answer);
    else pending?.reject(new ReactorError('ERR_REACTOR_REQUEST_FAILED', `request(): the peer answered: ${answer}`));
  }
}
