import { closeReasonOf } from '../shared/close-reason.js';
import { commandKind, decodeBroadcast, decodeGroupMessage, decodeOvertaken } from '../shared/command-record.js';
import { type ConnectionTable, MAX_LANES, NO_COUNTS } from '../shared/connection-table.js';
import type { SleepWord } from '../shared/doorbell.js';
import { encodeClose, eventKind } from '../shared/event-record.js';
import { ReactorError } from '../shared/reactor-error.js';
import type { RingConsumer } from '../shared/ring-consumer.js';
import { boardCounter, type StatusBoard } from '../shared/status-board.js';
import { AnswerSpin } from './answer-spin.js';
import { AppStalls } from './app-stalls.js';
import { Broadcast } from './broadcast.js';
import { ChunkPool } from './chunk-pool.js';
import { DirtyConnections } from './dirty-connections.js';
import type { EventLane } from './event-lane.js';
import { Groups } from './groups.js';
import { type IoLog, SILENT } from './io-log.js';
import { LaneTimers } from './lane-timers.js';
import type { Origin } from './origin.js';
import { RetrySchedule } from './retry-schedule.js';
import { Slots } from './slots.js';
import type { TcpConnection } from './tcp-connection.js';
import { TimingWheel } from './timing-wheel.js';

/** What one lane may bring into one turn. A broadcast counts for each connection that gets it. */
const BYTES_PER_TURN = 256 * 1024;
const RECORDS_PER_TURN = 1024;

/** What may be taken out of one lane at once for the sake of a slot: a ring of the usual size, a few times over. */
const SETTLING_TURNS = 16;

/** If a thread comes to no end of its batch, a timer writes what waits for it. */
const DOZE_MS = 1;

/** Turns with nothing to do before the io worker goes to sleep. */
const IDLE_TURNS = 2;

/** The answer to who asks about a connection that nobody knows any more. */
const FORGOTTEN: Buffer = encodeClose(
  {
    reason: 'local-destroy',
    unsentBytes: 0,
    counts: NO_COUNTS,
  },
  new ReactorError('ERR_REACTOR_CONNECTION_CLOSED', 'It had been closed before this thread asked about it'),
);

/**
 * The io worker's loop. libuv reads the sockets in its poll phase; a turn runs in the check phase right behind it:
 *
 *   (the answer to a single event, answer-spin.ts ->)
 *   commands of every lane -> events that did not fit earlier -> one write for every connection with output
 *
 * While there is work, each turn schedules the next. After a few idle ones the loop sleeps: no turn, no timer; a doorbell
 * or a socket wakes it.
 */
export class EventLoop {
  readonly worker: number;
  readonly board: StatusBoard;
  readonly table: ConnectionTable;
  readonly slots: Slots<TcpConnection>;
  readonly chunkPool: ChunkPool = new ChunkPool();
  /** Where the io worker's parts write what happens. */
  log: IoLog = SILENT;
  /** All deadlines of connections. */
  readonly wheel: TimingWheel = new TimingWheel();
  /** The threads that make no progress, as connections with heartbeats see them. */
  readonly appStalls: AppStalls = new AppStalls(this);
  /** Attempts to connect again. */
  readonly retries: RetrySchedule = new RetrySchedule(this.wheel);
  readonly groups: Groups = new Groups();
  /** Servers, and clients that have connections here. */
  readonly origins: Map<number, Origin> = new Map();
  readonly #sleepWord: SleepWord;
  readonly #lanes: EventLane[] = [];
  /** Of those lanes whose threads have had some. */
  readonly #timers = new Map<EventLane, LaneTimers>();
  readonly #dirty = new DirtyConnections();
  #dozeTimer: NodeJS.Timeout | undefined;
  readonly #answerSpin = new AnswerSpin();
  /** They are not read for now. */
  readonly #resting = new Set<TcpConnection>();
  #turns = 0;
  #scheduled = false;
  #idleTurns = 0;

  constructor(worker: number, board: StatusBoard, table: ConnectionTable, sleepWord: SleepWord) {
    this.worker = worker;
    this.board = board;
    this.table = table;
    this.slots = new Slots(table, (isSettled) => {
      for (const lane of this.#lanes) {
        for (let turns = 0; turns < SETTLING_TURNS && !isSettled() && this.#takeCommands(lane); turns++);
      }
      // What they have brought may wait for the end of a batch, and nobody has woken the loop for it.
      this.wake();
    });
    this.#sleepWord = sleepWord;
  }

  /** The lowest number that no lane has, or undefined if there are as many as there may be. */
  freeLaneIndex(): number | undefined {
    for (let index = 0; index < MAX_LANES; index++) {
      if (this.#lanes.every((lane) => lane.index !== index)) return index;
    }
    return undefined;
  }

  /** The lane of that number, if there is one. */
  lane(index: number): EventLane | undefined {
    return this.#lanes.find((lane) => lane.index === index);
  }

  addLane(lane: EventLane): void {
    this.#lanes.push(lane);
    lane.onBlocked = () => this.wake();
    lane.onEvent = () => {
      if (this.#answerSpin.noteEvent()) this.wake();
    };
    lane.onCrowded = () => {
      for (const connection of lane.involved) connection.updateLanePause();
    };
    this.wake();
  }

  /**
   * The lane's thread has ended. What it had sent is sent, what it had begun is taken back, and what it had not finished goes to
   * others.
   */
  removeLane(lane: EventLane): void {
    while (this.#takeCommands(lane));
    this.#lanes.splice(this.#lanes.indexOf(lane), 1);
    lane.retire();
    this.#timers.get(lane)?.clear();
    this.#timers.delete(lane);
    for (const { slot, bytes } of lane.ledger.owed()) {
      const connection = this.slots.get(slot);
      if (connection === undefined) this.table.uncharge(slot, bytes);
      else connection.uncharge(bytes);
    }
    const origins = [...this.origins.values()];
    for (const origin of origins) origin.forget(lane);
    for (const connection of [...lane.involved]) connection.laneDied(lane);
    for (const origin of origins) origin.noteDeparted(lane);
    this.board.closeLane(lane.index);
    this.board.count(boardCounter.RECLAIMED_LANES);
    this.wake();
  }

  /** The connection is over. */
  forget(connection: TcpConnection): void {
    this.#resting.delete(connection);
    for (const lane of this.#lanes) lane.involved.delete(connection);
  }

  /** The lanes of a set of bits, as the connection table has them. */
  lanesOf(bits: number): EventLane[] {
    return bits === 0 ? [] : this.#lanes.filter(({ index }) => (bits & (1 << index)) !== 0);
  }

  /** There may be something to do. */
  wake(): void {
    this.#idleTurns = 0;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#sleepWord.awake();
    setImmediate(this.#turn);
  }

  /** The connection has output: it is flushed at the end of the turn, or of the batch that it is of. */
  markDirty(connection: TcpConnection): void {
    if (this.#dirty.add(connection)) this.wake();
  }

  /** The number of the present turn. */
  get turn(): number {
    return this.#turns;
  }

  /** The connection is not read any more in this turn: `endRest` is called from the next one on. */
  rest(connection: TcpConnection): void {
    this.#resting.add(connection);
    this.wake();
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.#turns++;
    this.#answerSpin.spin(this.#isAnswered);
    this.#endRests();
    this.board.count(boardCounter.TURNS);
    let busy = false;
    for (const lane of this.#lanes) {
      // Commands first: answers that they bring along leave in this turn's writes.
      if (this.#takeCommands(lane) && !this.#dirty.hasBatched) busy = true;
      if (lane.retryBlocked()) busy = true;
    }
    if (this.#dirty.hasBatched) this.#dirty.endBatch(!this.#isSomeInBatch);
    if (!this.#dirty.isEmpty) {
      busy = true;
      this.#dirty.flush();
    }
    this.#idleTurns = busy ? 0 : this.#idleTurns + 1;
    if (this.#idleTurns < IDLE_TURNS || !this.#dirty.isEmpty || !this.#fallAsleep()) this.#scheduleNext();
  };

  /** Some thread has sent something, and is through with its batch. */
  readonly #isAnswered = (): boolean => this.#lanes.some((lane) => !lane.isInBatch && !lane.commands.isEmpty());

  #endRests(): void {
    for (const connection of this.#resting) if (connection.endRest()) this.#resting.delete(connection);
  }

  get #isSomeInBatch(): boolean {
    return this.#lanes.some((lane) => lane.isInBatch);
  }

  readonly #onDozed = (): void => {
    if (this.#dirty.hasBatched) this.wake();
  };

  #scheduleNext(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  #fallAsleep(): boolean {
    const isDoze = this.#dirty.hasBatched;
    if (isDoze) this.#sleepWord.announceDoze();
    else this.#sleepWord.announceSleep();
    const isIdle = this.#lanes.every((lane) => lane.isIdle()) && (!isDoze || this.#isSomeInBatch);
    if (!isIdle) this.#sleepWord.awake();
    else if (isDoze) {
      this.#dozeTimer ??= setTimeout(this.#onDozed, DOZE_MS);
      this.#dozeTimer.refresh();
    }
    return isIdle;
  }

  #takeCommands(lane: EventLane): boolean {
    const { commands } = lane;
    let records = 0;
    let bytes = 0;
    this.#dirty.isInBatch = lane.isInBatch;
    while (records < RECORDS_PER_TURN && bytes < BYTES_PER_TURN && commands.next()) {
      bytes += this.#execute(lane, commands);
      commands.release();
      records++;
    }
    this.#dirty.isInBatch = false;
    if (records > 0) lane.ringIfSpaceWanted();
    return records > 0;
  }

  /** Returns for how many bytes it counts. */
  #execute(lane: EventLane, record: RingConsumer): number {
    const { kind, slot, generation, length } = record;
    if (kind === commandKind.BROADCAST || kind === commandKind.BROADCAST_PART) return this.#broadcast(lane, record);
    if (kind === commandKind.GROUP_SEND || kind === commandKind.GROUP_PART) return this.#sendToGroup(lane, record);
    if (kind === commandKind.TIMER_ADD || kind === commandKind.TIMER_REMOVE) return this.#setTimers(lane, record);
    const connection = this.slots.get(slot);
    if (connection === undefined || connection.generation !== generation || connection.isClosed) {
      this.#executeClosed(lane, record, connection?.generation === generation ? connection : undefined);
    } else this.#executeOpen(lane, record, connection);
    return length;
  }

  #executeOpen(lane: EventLane, record: RingConsumer, connection: TcpConnection): void {
    const { kind, offset, length, memory } = record;
    switch (kind) {
      case commandKind.SEND:
        connection.send(memory, offset, length);
        break;
      case commandKind.SEND_PART:
      case commandKind.SEND_LAST:
        connection.sendPart(lane, memory, offset, length, kind === commandKind.SEND_LAST);
        break;
      case commandKind.SHUTDOWN: {
        const reason = closeReasonOf(memory.readU32(offset));
        if (reason === 'local-shutdown') connection.shutdown(reason);
        else connection.shutdownWhenDone(lane, reason);
        break;
      }
      case commandKind.DESTROY:
        connection.destroy(closeReasonOf(memory.readU32(offset)));
        break;
      case commandKind.PAUSE:
        connection.setPausedBy(lane, true);
        break;
      case commandKind.RESUME:
        connection.setPausedBy(lane, false);
        break;
      case commandKind.FLUSH:
        connection.notifyFlushed(lane);
        break;
      case commandKind.GROUP_JOIN:
        this.groups.join(copyOf(record).toString(), connection);
        break;
      case commandKind.GROUP_LEAVE:
        this.groups.leave(copyOf(record).toString(), connection);
        break;
      default:
        this.#executeInput(lane, record, connection);
    }
  }

  /** What is about the events of a connection, open or closed. */
  #executeInput(lane: EventLane, record: RingConsumer, connection: TcpConnection): void {
    switch (record.kind) {
      case commandKind.WATCH:
        connection.watch(lane);
        break;
      case commandKind.SETTLED:
        connection.input.recipients.settled(lane);
        break;
      case commandKind.RELEASED:
        connection.released(lane, decodeOvertaken(copyOf(record)));
        break;
      case commandKind.CLOSE_DONE:
        connection.input.closeDone(lane);
        break;
    }
  }

  /** @param connection if it is closed and there are threads that have not heard of it */
  #executeClosed(lane: EventLane, record: RingConsumer, connection: TcpConnection | undefined): void {
    const { kind, slot, generation, length } = record;
    switch (kind) {
      case commandKind.SEND:
      case commandKind.SEND_PART:
      case commandKind.SEND_LAST:
        // All that is left to do is to give its credit back.
        this.table.uncharge(slot, length);
        break;
      case commandKind.FLUSH:
      case commandKind.WATCH:
        if (connection !== undefined) connection.watch(lane);
        else lane.notices.send(eventKind.CLOSE, slot, generation, FORGOTTEN);
        break;
      default:
        if (connection !== undefined) this.#executeInput(lane, record, connection);
    }
  }

  /** Returns for how many bytes it counts. */
  #setTimers(lane: EventLane, record: RingConsumer): number {
    let timers = this.#timers.get(lane);
    if (timers === undefined) {
      timers = new LaneTimers(lane, this.wheel, this.board);
      this.#timers.set(lane, timers);
    }
    if (record.kind === commandKind.TIMER_ADD) timers.add(copyOf(record));
    else timers.remove(copyOf(record));
    return record.length;
  }

  /** Returns for how many bytes it counts. */
  #broadcast(lane: EventLane, record: RingConsumer): number {
    const { kind, slot: id, length } = record;
    lane.broadcastParts.push(copyOf(record));
    if (kind === commandKind.BROADCAST_PART) return length;
    const { except, message } = decodeBroadcast(Buffer.concat(lane.broadcastParts));
    lane.broadcastParts = [];
    const origin = this.origins.get(id);
    if (origin === undefined) return length;
    const broadcast = new Broadcast(message, origin.codec, this.#countEncoding);
    const excepted = new Set(except);
    for (const connection of origin.connections) if (!excepted.has(connection.id)) connection.broadcast(broadcast);
    return Math.max(length, broadcast.plainBytes * origin.connections.size);
  }

  /** Returns for how many bytes it counts. */
  #sendToGroup(lane: EventLane, record: RingConsumer): number {
    const { kind, length } = record;
    lane.broadcastParts.push(copyOf(record));
    if (kind === commandKind.GROUP_PART) return length;
    const { group, except, message } = decodeGroupMessage(Buffer.concat(lane.broadcastParts));
    lane.broadcastParts = [];
    const members = this.groups.send(
      group,
      new Set(except),
      ({ codec }) => new Broadcast(message, codec, this.#countEncoding),
    );
    return Math.max(length, message.length * members);
  }

  readonly #countEncoding = (): void => this.board.count(boardCounter.BROADCAST_ENCODINGS);
}

function copyOf({ memory, offset, length }: RingConsumer): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  memory.copyOut(offset, length, copy, 0);
  return copy;
}
