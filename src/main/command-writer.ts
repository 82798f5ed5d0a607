import { type CloseReason, closeReasonCode } from '../shared/close-reason.js';
import { type CommandKind, commandKind, REASON_BYTES } from '../shared/command-record.js';
import type { ConnectionTable } from '../shared/connection-table.js';
import type { Doorbell } from '../shared/doorbell.js';
import { FRAME_HEADER_BYTES, FRAME_OVERHEAD_IN_LENGTH, frameKind, frameOffset } from '../shared/frame-format.js';
import type { RingProducer } from '../shared/ring-producer.js';

/** A command that did not fit into the ring. */
interface Waiting {
  readonly kind: CommandKind;
  readonly slot: number;
  readonly generation: number;
  readonly payload: Uint8Array;
  /** What of the payload is in the ring already. */
  done: number;
}

const NOTHING = new Uint8Array(0);

/**
 * Puts commands into the command ring, in the order of the calls. What does not fit waits here, still in order: its bytes
 * are under the connections' credit like those in the ring, which is what bounds this queue.
 */
export class CommandWriter {
  readonly #ring: RingProducer;
  readonly #table: ConnectionTable;
  readonly #doorbell: Doorbell;
  #waiting: Waiting[] = [];
  /** How many commands of each slot wait: most connections that close have none. */
  readonly #waitingOf = new Map<number, number>();
  /** Bytes in the queue. */
  queuedBytes = 0;

  readonly #onWaiting: () => void;

  /** @param onWaiting called when a command has to wait: from then on `retry` must be called until it has gone */
  constructor(ring: RingProducer, table: ConnectionTable, doorbell: Doorbell, onWaiting: () => void) {
    this.#ring = ring;
    this.#table = table;
    this.#doorbell = doorbell;
    this.#onWaiting = onWaiting;
  }

  get ringUsedBytes(): number {
    return this.#ring.usedBytes();
  }

  /** Sends `length` bytes of a message, with a frame header in front if `framed`. They have been charged. */
  send(slot: number, generation: number, data: Uint8Array | string, length: number, framed: boolean): void {
    const header = framed ? FRAME_HEADER_BYTES : 0;
    const bytes = header + length;
    const offset = this.#waiting.length > 0 ? -1 : this.#place(slot, generation, data, bytes, header);
    if (offset === -1) {
      const payload = Buffer.allocUnsafeSlow(bytes);
      if (framed) writeFrameHeader(payload, length);
      if (typeof data === 'string') payload.write(data, header);
      else payload.set(data, header);
      this.#enqueue(commandKind.SEND, slot, generation, payload);
      return;
    }
    const { memory } = this.#ring;
    if (framed) memory.writeFrameHeader(offset, length + FRAME_OVERHEAD_IN_LENGTH, frameKind.DATA, 0);
    if (typeof data === 'string') memory.writeUtf8(offset + header, data, length);
    else memory.copyIn(offset + header, data, 0, length);
    this.#ring.publish();
    this.#doorbell.ring();
  }

  shutdown(slot: number, generation: number, reason: CloseReason): void {
    this.#command(commandKind.SHUTDOWN, slot, generation, reasonPayload(reason));
  }

  destroy(slot: number, generation: number, reason: CloseReason): void {
    this.#command(commandKind.DESTROY, slot, generation, reasonPayload(reason));
  }

  pause(slot: number, generation: number): void {
    this.#command(commandKind.PAUSE, slot, generation, NOTHING);
  }

  resume(slot: number, generation: number): void {
    this.#command(commandKind.RESUME, slot, generation, NOTHING);
  }

  flush(slot: number, generation: number): void {
    this.#command(commandKind.FLUSH, slot, generation, NOTHING);
  }

  /** Moves waiting commands into the ring. True if any moved. */
  retry(): boolean {
    let moved = false;
    let count = 0;
    for (const waiting of this.#waiting) {
      const before = waiting.done;
      const finished = this.#move(waiting);
      if (finished || waiting.done > before) moved = true;
      if (!finished) break;
      count++;
    }
    for (const { slot } of this.#waiting.splice(0, count)) this.#countWaiting(slot, -1);
    if (this.#waiting.length === 0 && moved) this.#ring.spaceFound();
    if (moved) this.#doorbell.ring();
    return moved;
  }

  /** True if there is nothing to do until the io worker has made room and rings. */
  isIdle(): boolean {
    return this.#waiting.length === 0 || !this.#ring.wantSpace(this.#ring.capacity / 2);
  }

  /** Forgets what waits for a connection that has closed, and gives its credit back. */
  forget(slot: number, generation: number): void {
    if (!this.#waitingOf.has(slot)) return;
    this.#waiting = this.#waiting.filter((waiting) => {
      if (waiting.slot !== slot || waiting.generation !== generation) return true;
      this.#countWaiting(slot, -1);
      const left = waiting.payload.length - waiting.done;
      this.queuedBytes -= left;
      if (waiting.kind === commandKind.SEND) this.#table.uncharge(slot, left);
      return false;
    });
    if (this.#waiting.length === 0) this.#ring.spaceFound();
  }

  #countWaiting(slot: number, by: number): void {
    const count = (this.#waitingOf.get(slot) ?? 0) + by;
    if (count === 0) this.#waitingOf.delete(slot);
    else this.#waitingOf.set(slot, count);
  }

  #place(slot: number, generation: number, data: Uint8Array | string, bytes: number, header: number): number {
    if (bytes > this.#ring.maxPayload) return -1;
    const offset = this.#ring.extend(commandKind.SEND, slot, generation, bytes);
    if (offset !== -1) return offset;
    const pad = typeof data === 'string' ? 0 : (data.byteOffset - header) & 7;
    return this.#ring.claim(commandKind.SEND, slot, generation, bytes, pad, true);
  }

  #command(kind: CommandKind, slot: number, generation: number, payload: Uint8Array): void {
    if (this.#waiting.length > 0 || !this.#put(kind, slot, generation, payload, 0, payload.length)) {
      this.#enqueue(kind, slot, generation, payload);
      return;
    }
    this.#doorbell.ring();
  }

  #enqueue(kind: CommandKind, slot: number, generation: number, payload: Uint8Array): void {
    // The last word on reading counts: a loop of pause() and resume() must not fill memory.
    if (isAboutReading(kind) && this.#waitingOf.has(slot)) {
      this.#waiting = this.#waiting.filter((of) => {
        if (of.slot !== slot || of.generation !== generation || !isAboutReading(of.kind)) return true;
        this.#countWaiting(slot, -1);
        return false;
      });
    }
    this.#waiting.push({ kind, slot, generation, payload, done: 0 });
    this.#countWaiting(slot, 1);
    this.queuedBytes += payload.length;
    // A message longer than a record always comes this way; it can start at once if nothing is in front of it.
    if (this.#waiting.length === 1) this.retry();
    if (this.#waiting.length > 0) this.#onWaiting();
  }

  #move(waiting: Waiting): boolean {
    const { kind, slot, generation, payload } = waiting;
    const { maxPayload } = this.#ring;
    if (payload.length <= maxPayload) {
      if (!this.#put(kind, slot, generation, payload, 0, payload.length)) return false;
      this.queuedBytes -= payload.length;
      return true;
    }
    while (waiting.done < payload.length) {
      const until = Math.min(payload.length, waiting.done + maxPayload);
      const piece = until === payload.length ? commandKind.SEND_LAST : commandKind.SEND_PART;
      if (!this.#put(piece, slot, generation, payload, waiting.done, until)) return false;
      this.queuedBytes -= until - waiting.done;
      waiting.done = until;
    }
    return true;
  }

  #put(kind: CommandKind, slot: number, generation: number, bytes: Uint8Array, start: number, end: number): boolean {
    const pad = (bytes.byteOffset + start) & 7;
    const offset = this.#ring.claim(kind, slot, generation, end - start, pad);
    if (offset === -1) return false;
    this.#ring.memory.copyIn(offset, bytes, start, end);
    this.#ring.publish();
    return true;
  }
}

function isAboutReading(kind: CommandKind): boolean {
  return kind === commandKind.PAUSE || kind === commandKind.RESUME;
}

function reasonPayload(reason: CloseReason): Uint8Array {
  const payload = Buffer.alloc(REASON_BYTES);
  payload.writeUInt32LE(closeReasonCode(reason));
  return payload;
}

function writeFrameHeader(target: Buffer, length: number): void {
  target.writeUInt32LE(length + FRAME_OVERHEAD_IN_LENGTH, frameOffset.LENGTH);
  target[frameOffset.KIND] = frameKind.DATA;
  target[frameOffset.FLAGS] = 0;
}
