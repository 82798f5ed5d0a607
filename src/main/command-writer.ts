import { type CloseReason, closeReasonCode } from '../shared/close-reason.js';
import {
  type CommandKind,
  commandKind,
  encodeBroadcast,
  encodeGroupMessage,
  encodeOvertaken,
  REASON_BYTES,
} from '../shared/command-record.js';
import { type ConnectionTable, type Credit, NOT_OPEN } from '../shared/connection-table.js';
import type { Doorbell } from '../shared/doorbell.js';
import {
  FRAME_HEADER_BYTES,
  FRAME_OVERHEAD_IN_LENGTH,
  frameKind,
  frameOffset,
  REQUEST_ID_BYTES,
} from '../shared/frame-format.js';
import type { Ledger } from '../shared/ledger.js';
import { ReactorError } from '../shared/reactor-error.js';
import { MIN_RING_CAPACITY, ringBytes } from '../shared/ring-layout.js';
import { RingProducer } from '../shared/ring-producer.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { encodeTimerIds, encodeTimers, type TimerTimes } from '../shared/timer-record.js';
import { SpareBuffers } from './spare-buffers.js';

/** A command that did not fit into the ring. */
interface Waiting {
  readonly kind: CommandKind;
  readonly slot: number;
  readonly generation: number;
  readonly payload: Uint8Array;
  /** What of the payload is in the ring already. */
  done: number;
  /** It is the rest of a message whose first pieces are in the ring. */
  readonly isRest: boolean;
  /** What the payload lies in, if it is to be used again. */
  readonly spare: Buffer | undefined;
  readonly sequence: number;
}

/** Messages that are done as soon as the commands up to `after` have left this thread. */
interface Done {
  readonly slot: number;
  readonly messages: number;
  readonly after: number;
}

/** What goes in front of a message (frame-format.ts). */
export interface MessageHeader {
  readonly bytes: number;
  readonly kind: number;
  /** Of a request or an answer. */
  readonly id: number;
}

export const NO_HEADER: MessageHeader = { bytes: 0, kind: frameKind.DATA, id: 0 };
export const DATA_HEADER: MessageHeader = { bytes: FRAME_HEADER_BYTES, kind: frameKind.DATA, id: 0 };

export function headerWithId(kind: number, id: number): MessageHeader {
  return { bytes: FRAME_HEADER_BYTES + REQUEST_ID_BYTES, kind, id };
}

const NOTHING = new Uint8Array(0);

/** Broadcasts are under no connection's credit until the io worker has them: this is what bounds those that wait here. */
const MAX_BROADCAST_BYTES = 16 * 1024 * 1024;

/**
 * Puts commands into the command ring, in the order of the calls. What does not fit waits here, still in order: its bytes
 * are under the connections' credit like those in the ring, which is what bounds this queue. The lane's ledger says how many
 * they are, so that the io worker can give them back if this thread dies.
 */
export class CommandWriter {
  #ring: RingProducer;
  readonly #table: ConnectionTable;
  readonly #ledger: Ledger;
  readonly #doorbell: Doorbell;
  #waiting: Waiting[] = [];
  /** How many commands of each slot wait: most connections that close have none. */
  readonly #waitingOf = new Map<number, number>();
  /** Bytes in the queue, and those of them that are broadcasts'. */
  queuedBytes = 0;
  #broadcastBytes = 0;

  readonly #onWaiting: () => void;
  readonly #onQueue: () => void;
  #hadWaiting = false;
  #isRetired = false;
  #isInBatch = false;
  #sequence = 0;
  #done: Done[] = [];
  readonly #spares = new SpareBuffers();

  /**
   * @param onWaiting called when a command has to wait: from then on `retry` must be called until it has gone
   * @param onQueue called when commands begin or cease to wait
   */
  constructor(
    ring: RingProducer,
    table: ConnectionTable,
    ledger: Ledger,
    doorbell: Doorbell,
    onWaiting: () => void,
    onQueue: () => void,
  ) {
    this.#ring = ring;
    this.#table = table;
    this.#ledger = ledger;
    this.#doorbell = doorbell;
    this.#onWaiting = onWaiting;
    this.#onQueue = onQueue;
  }

  /** Events are being handed out: commands are likely to follow each other. */
  beginBatch(): void {
    this.#isInBatch = true;
    this.#ring.setBatch(true);
  }

  /** The io worker need not wait for more of the batch than there has been by now. */
  ringForBatch(): void {
    this.#doorbell.endBatch();
  }

  /** @param isUrgent the io worker is to hear of it now, and not when it looks by itself */
  endBatch(isUrgent: boolean): void {
    this.#isInBatch = false;
    this.#ring.setBatch(false);
    if (isUrgent) this.#doorbell.endBatch();
  }

  #ringDoorbell(): void {
    if (this.#isInBatch) this.#doorbell.ringInBatch();
    else this.#doorbell.ring();
  }

  get ringUsedBytes(): number {
    return this.#ring.usedBytes();
  }

  /**
   * Sends `length` bytes of a message behind a header, and charges for both. Returns what was buffered before;
   * NOT_OPEN or TOO_MUCH: then nothing has been sent.
   */
  send(
    slot: number,
    generation: number,
    credit: Credit,
    data: Uint8Array | string,
    length: number,
    header: MessageHeader,
  ): number {
    const bytes = header.bytes + length;
    if (this.#isRetired) return NOT_OPEN;
    // In a thread that does not yield nobody else does it.
    if (this.#waiting.length > 0) this.retry();
    if (bytes > this.#ring.maxPayload) return this.#sendLong(slot, generation, credit, data, bytes, header);
    const offset = this.#waiting.length > 0 ? -1 : this.#place(slot, generation, data, bytes, header.bytes);
    if (offset === -1) {
      const payload = Buffer.allocUnsafeSlow(bytes);
      writeHeader(payload, length, header);
      if (typeof data === 'string') payload.write(data, header.bytes);
      else payload.set(data, header.bytes);
      const before = this.#ledger.charge(slot, credit, bytes);
      if (before >= 0) this.#enqueue(commandKind.SEND, slot, generation, payload);
      return before;
    }
    const { memory } = this.#ring;
    this.#writeHeader(offset, length, header);
    if (typeof data === 'string') memory.writeUtf8(offset + header.bytes, data, length);
    else memory.copyIn(offset + header.bytes, data, 0, length);
    const before = this.#ledger.charge(slot, credit, bytes);
    if (before < 0) {
      this.#ring.cancel();
      return before;
    }
    this.#ring.publishCharged(this.#ledger, bytes);
    this.#ringDoorbell();
    return before;
  }

  /**
   * A message that needs more than one record: as many pieces as fit go into the ring straight away, and only the rest is kept. Memory that
   * is touched for the first time costs more than the copy.
   */
  #sendLong(
    slot: number,
    generation: number,
    credit: Credit,
    data: Uint8Array | string,
    bytes: number,
    header: MessageHeader,
  ): number {
    // In front of the charge: for a string there may not be memory enough.
    const body = typeof data === 'string' ? Buffer.from(data) : data;
    const buffered = this.#ledger.charge(slot, credit, bytes);
    if (buffered < 0) return buffered;
    const { memory, maxPayload } = this.#ring;
    let done = 0;
    while (this.#waiting.length === 0 && done < bytes) {
      const until = Math.min(bytes, done + maxPayload);
      const from = Math.max(0, done - header.bytes);
      const before = done === 0 ? header.bytes : 0;
      const kind = until < bytes ? commandKind.SEND_PART : commandKind.SEND_LAST;
      const pad = (body.byteOffset + from - before) & 7;
      const offset = this.#ring.claim(kind, slot, generation, until - done, pad);
      if (offset === -1) break;
      if (done === 0) this.#writeHeader(offset, bytes - header.bytes, header);
      memory.copyIn(offset + before, body, from, until - header.bytes);
      this.#ring.publishCharged(this.#ledger, until - done);
      done = until;
    }
    if (done > 0) this.#ringDoorbell();
    if (done === bytes) return buffered;
    const spare = this.#spares.take(bytes - done);
    const rest = spare.subarray(0, bytes - done);
    if (done === 0) writeHeader(rest, bytes - header.bytes, header);
    rest.set(done === 0 ? body : body.subarray(done - header.bytes), done === 0 ? header.bytes : 0);
    this.#enqueue(commandKind.SEND, slot, generation, rest, done > 0, spare);
    return buffered;
  }

  #writeHeader(offset: number, length: number, header: MessageHeader): void {
    if (header.bytes === 0) return;
    const { memory } = this.#ring;
    const after = header.bytes - FRAME_HEADER_BYTES;
    memory.writeFrameHeader(offset, after + length + FRAME_OVERHEAD_IN_LENGTH, header.kind, 0);
    if (after > 0) memory.writeU32(offset + FRAME_HEADER_BYTES, header.id);
  }

  /** False: too much of broadcasts waits already. A longer one must be possible when nothing else waits. */
  hasRoomForBroadcast(bytes: number): boolean {
    return this.#broadcastBytes === 0 || this.#broadcastBytes + bytes <= MAX_BROADCAST_BYTES;
  }

  /** Sends to all connections of a server. */
  broadcast(server: number, except: readonly number[], message: Uint8Array): void {
    if (this.#isRetired) return;
    const payload = encodeBroadcast(except, message);
    this.#broadcastBytes += payload.length;
    this.#enqueue(commandKind.BROADCAST, server, 0, payload);
  }

  joinGroup(slot: number, generation: number, group: Uint8Array): void {
    this.#command(commandKind.GROUP_JOIN, slot, generation, group);
  }

  leaveGroup(slot: number, generation: number, group: Uint8Array): void {
    this.#command(commandKind.GROUP_LEAVE, slot, generation, group);
  }

  /** Sends to all members of a group; its bytes wait with those of broadcasts. */
  sendToGroup(group: Uint8Array, except: readonly number[], message: Uint8Array): void {
    if (this.#isRetired) return;
    const payload = encodeGroupMessage(group, except, message);
    this.#broadcastBytes += payload.length;
    this.#enqueue(commandKind.GROUP_SEND, 0, 0, payload);
  }

  addTimers(timers: readonly TimerTimes[]): void {
    this.#command(commandKind.TIMER_ADD, 0, 0, encodeTimers(timers));
  }

  removeTimers(ids: readonly number[]): void {
    this.#command(commandKind.TIMER_REMOVE, 0, 0, encodeTimerIds(ids));
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

  watch(slot: number, generation: number): void {
    this.#command(commandKind.WATCH, slot, generation, NOTHING);
  }

  settled(slot: number, generation: number): void {
    this.#command(commandKind.SETTLED, slot, generation, NOTHING);
  }

  /** @param overtaken see command-record.ts */
  released(slot: number, generation: number, overtaken: readonly number[]): void {
    this.#command(commandKind.RELEASED, slot, generation, encodeOvertaken(overtaken));
  }

  closeDone(slot: number, generation: number): void {
    this.#command(commandKind.CLOSE_DONE, slot, generation, NOTHING);
  }

  /**
   * The application has done with messages of a connection. What it has answered may still wait here, and would be lost with this
   * thread: only when it is in the ring do the messages count as done, and would not be handed to another thread.
   * @param threw the handler of the last of them has thrown
   */
  noteDone(slot: number, messages: number, threw: boolean): void {
    // It may be another thread's to count by now.
    if (this.#isRetired) return;
    // The next thread would meet the same message, and die of it, too: it counts, unless others in front of it do not yet.
    const isFirst = threw && this.#done.every((done) => done.slot !== slot);
    if (this.#waiting.length === 0 || isFirst) this.#table.noteDone(slot, messages);
    else this.#done.push({ slot, messages, after: this.#sequence });
  }

  /** @param before what is in front of that command has left */
  #settleDone(before: number): void {
    for (let first = this.#done[0]; first !== undefined && first.after < before; first = this.#done[0]) {
      this.#done.shift();
      this.#table.noteDone(first.slot, first.messages);
    }
  }

  /** No command waits for room in the ring. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** Moves waiting commands into the ring. True if any moved. */
  retry(): boolean {
    let moved = false;
    let count = 0;
    for (const waiting of this.#waiting) {
      // Before it leaves: it may be what lets the slot go to another connection.
      this.#settleDone(waiting.sequence);
      const before = waiting.done;
      const finished = this.#move(waiting);
      if (finished || waiting.done > before) moved = true;
      if (!finished) break;
      count++;
    }
    for (const { slot, spare } of this.#waiting.splice(0, count)) {
      this.#countWaiting(slot, -1);
      if (spare !== undefined) this.#spares.giveBack(spare);
    }
    if (this.#waiting.length === 0 && moved) this.#ring.spaceFound();
    if (moved) this.#ringDoorbell();
    this.#noteQueue();
    return moved;
  }

  /** True if there is nothing to do until the io worker has made room and rings. */
  isIdle(): boolean {
    return this.#waiting.length === 0 || !this.#ring.wantSpace(this.#ring.capacity / 2);
  }

  /** The io worker is gone, or this thread leaves it: commands go nowhere, and the ring and the ledger are another's. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#ring = new RingProducer(SharedMemory.allocate(ringBytes(MIN_RING_CAPACITY)));
    this.#waiting = [];
    this.#waitingOf.clear();
    this.#done = [];
    this.queuedBytes = 0;
    this.#broadcastBytes = 0;
    this.#noteQueue();
  }

  /** Forgets what waits for a connection that has closed, and gives its credit back. */
  forget(slot: number, generation: number): void {
    if (!this.#waitingOf.has(slot)) return;
    this.#waiting = this.#waiting.filter((waiting) => {
      if (waiting.slot !== slot || waiting.generation !== generation || isAboutEvents(waiting.kind)) return true;
      this.#countWaiting(slot, -1);
      const left = waiting.payload.length - waiting.done;
      this.queuedBytes -= left;
      if (waiting.spare !== undefined) this.#spares.giveBack(waiting.spare);
      if (waiting.kind === commandKind.SEND) {
        this.#ledger.giveBack(slot, this.#table.credit(slot, generation), left);
      }
      return false;
    });
    if (this.#waiting.length === 0) this.#ring.spaceFound();
    this.#noteQueue();
  }

  #noteQueue(): void {
    const hasWaiting = this.#waiting.length > 0;
    if (!hasWaiting) this.#settleDone(Number.POSITIVE_INFINITY);
    if (hasWaiting === this.#hadWaiting) return;
    this.#hadWaiting = hasWaiting;
    this.#onQueue();
  }

  #countWaiting(slot: number, by: number): void {
    const count = (this.#waitingOf.get(slot) ?? 0) + by;
    if (count === 0) this.#waitingOf.delete(slot);
    else this.#waitingOf.set(slot, count);
  }

  #place(slot: number, generation: number, data: Uint8Array | string, bytes: number, header: number): number {
    const offset = this.#ring.extend(commandKind.SEND, slot, generation, bytes);
    if (offset !== -1) return offset;
    const pad = typeof data === 'string' ? 0 : (data.byteOffset - header) & 7;
    return this.#ring.claim(commandKind.SEND, slot, generation, bytes, pad, true);
  }

  #command(kind: CommandKind, slot: number, generation: number, payload: Uint8Array): void {
    if (this.#isRetired) return;
    const { maxPayload } = this.#ring;
    // All that comes this way has a bound below that. Pieces of it would be taken for pieces of a message.
    if (payload.length > maxPayload) {
      const message = `A command of kind ${kind} has ${payload.length} bytes, of which a record holds ${maxPayload}`;
      throw new ReactorError('ERR_REACTOR_INTERNAL', message);
    }
    if (this.#waiting.length > 0) this.retry();
    if (this.#waiting.length > 0 || !this.#put(kind, slot, generation, payload, 0, payload.length)) {
      this.#enqueue(kind, slot, generation, payload);
      return;
    }
    this.#ringDoorbell();
  }

  #enqueue(
    kind: CommandKind,
    slot: number,
    generation: number,
    payload: Uint8Array,
    isRest = false,
    spare?: Buffer,
  ): void {
    // The last word on reading counts: a loop of pause() and resume() must not fill memory.
    if (isAboutReading(kind) && this.#waitingOf.has(slot)) {
      this.#waiting = this.#waiting.filter((of) => {
        if (of.slot !== slot || of.generation !== generation || !isAboutReading(of.kind)) return true;
        this.#countWaiting(slot, -1);
        return false;
      });
    }
    this.#waiting.push({ kind, slot, generation, payload, done: 0, isRest, spare, sequence: ++this.#sequence });
    this.#countWaiting(slot, 1);
    this.queuedBytes += payload.length;
    // A broadcast always comes this way; it can start at once if nothing is in front of it.
    if (this.#waiting.length === 1) this.retry();
    if (this.#waiting.length > 0) this.#onWaiting();
    this.#noteQueue();
  }

  #move(waiting: Waiting): boolean {
    const { kind, slot, generation, payload, isRest } = waiting;
    const { maxPayload } = this.#ring;
    const [part, last] = piecesOf(kind);
    do {
      const { done } = waiting;
      const until = Math.min(payload.length, done + maxPayload);
      const piece = until < payload.length ? part : done > 0 || isRest ? last : kind;
      const isCharged = kind === commandKind.SEND;
      if (!this.#put(piece, slot, generation, payload, done, until, isCharged)) return false;
      this.queuedBytes -= until - done;
      if (isToMany(kind)) this.#broadcastBytes -= until - done;
      waiting.done = until;
    } while (waiting.done < payload.length);
    return true;
  }

  /** @param isCharged the ledger has these bytes */
  #put(
    kind: CommandKind,
    slot: number,
    generation: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    isCharged = false,
  ): boolean {
    const pad = (bytes.byteOffset + start) & 7;
    const offset = this.#ring.claim(kind, slot, generation, end - start, pad);
    if (offset === -1) return false;
    this.#ring.memory.copyIn(offset, bytes, start, end);
    if (isCharged) this.#ring.publishCharged(this.#ledger, end - start);
    else this.#ring.publish();
    return true;
  }
}

function isToMany(kind: CommandKind): boolean {
  return kind === commandKind.BROADCAST || kind === commandKind.GROUP_SEND;
}

/** The kinds of the pieces, and of the last one, of a command that does not fit into one record. All others do: see `#command`. */
function piecesOf(kind: CommandKind): readonly [CommandKind, CommandKind] {
  if (kind === commandKind.BROADCAST) return [commandKind.BROADCAST_PART, kind];
  if (kind === commandKind.GROUP_SEND) return [commandKind.GROUP_PART, kind];
  if (kind === commandKind.SEND) return [commandKind.SEND_PART, commandKind.SEND_LAST];
  return [kind, kind];
}

function isAboutReading(kind: CommandKind): boolean {
  return kind === commandKind.PAUSE || kind === commandKind.RESUME;
}

/** The io worker waits for these also when the connection is closed. */
function isAboutEvents(kind: CommandKind): boolean {
  return kind === commandKind.RELEASED || kind === commandKind.CLOSE_DONE;
}

function reasonPayload(reason: CloseReason): Uint8Array {
  const payload = Buffer.alloc(REASON_BYTES);
  payload.writeUInt32LE(closeReasonCode(reason));
  return payload;
}

function writeHeader(target: Buffer, length: number, { bytes, kind, id }: MessageHeader): void {
  if (bytes === 0) return;
  const after = bytes - FRAME_HEADER_BYTES;
  target.writeUInt32LE(after + length + FRAME_OVERHEAD_IN_LENGTH, frameOffset.LENGTH);
  target[frameOffset.KIND] = kind;
  target[frameOffset.FLAGS] = 0;
  if (after > 0) target.writeUInt32LE(id, frameOffset.BODY);
}
