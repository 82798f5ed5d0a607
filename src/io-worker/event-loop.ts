import { closeReasonOf } from '../shared/close-reason.js';
import { commandKind } from '../shared/command-record.js';
import type { ConnectionTable } from '../shared/connection-table.js';
import type { SleepWord } from '../shared/doorbell.js';
import type { Registry } from '../shared/registry.js';
import { registryCounter } from '../shared/registry.js';
import type { RingConsumer } from '../shared/ring-consumer.js';
import { ChunkPool } from './chunk-pool.js';
import type { EventLane } from './event-lane.js';
import { Slots } from './slots.js';
import type { TcpConnection } from './tcp-connection.js';

/** What one lane may bring into one turn. */
const BYTES_PER_TURN = 256 * 1024;
const RECORDS_PER_TURN = 1024;

/** Turns with nothing to do before the io worker goes to sleep. */
const IDLE_TURNS = 2;

/**
 * The io worker's loop. libuv reads the sockets in its poll phase; a turn runs in the check phase right behind it:
 *
 *   commands of every lane -> events that did not fit earlier -> one write for every connection with output
 *
 * While there is work, each turn schedules the next. After a few idle ones the loop sleeps: no turn, no timer; a doorbell
 * or a socket wakes it.
 */
export class EventLoop {
  readonly worker: number;
  readonly registry: Registry;
  readonly table: ConnectionTable;
  readonly slots: Slots<TcpConnection>;
  readonly chunkPool: ChunkPool = new ChunkPool();
  readonly #sleepWord: SleepWord;
  readonly #lanes: EventLane[] = [];
  #dirty: TcpConnection[] = [];
  #scheduled = false;
  #idleTurns = 0;

  constructor(worker: number, registry: Registry, table: ConnectionTable, sleepWord: SleepWord) {
    this.worker = worker;
    this.registry = registry;
    this.table = table;
    this.slots = new Slots(table, (slot) => {
      for (const lane of this.#lanes) while (table.buffered(slot) !== 0 && this.#takeCommands(lane));
    });
    this.#sleepWord = sleepWord;
  }

  addLane(lane: EventLane): void {
    this.#lanes.push(lane);
    lane.onCrowded = (crowded) => {
      for (const connection of this.slots) if (connection.lane === lane) connection.setPausedWithLane(crowded);
    };
    this.wake();
  }

  lane(index: number): EventLane | undefined {
    return this.#lanes.find((lane) => lane.index === index);
  }

  /** There may be something to do. */
  wake(): void {
    this.#idleTurns = 0;
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#sleepWord.awake();
    setImmediate(this.#turn);
  }

  /** The connection has output: it is flushed at the end of the turn. */
  markDirty(connection: TcpConnection): void {
    if (connection.dirty) return;
    connection.dirty = true;
    this.#dirty.push(connection);
    this.wake();
  }

  readonly #turn = (): void => {
    this.#scheduled = false;
    this.registry.count(registryCounter.TURNS);
    let busy = false;
    for (const lane of this.#lanes) {
      // Commands first: answers that they bring along leave in this turn's writes.
      if (this.#takeCommands(lane)) busy = true;
      if (lane.retryBlocked()) busy = true;
    }
    if (this.#dirty.length > 0) {
      busy = true;
      this.#flushDirty();
    }
    this.#idleTurns = busy ? 0 : this.#idleTurns + 1;
    if (this.#idleTurns < IDLE_TURNS || this.#dirty.length > 0 || !this.#fallAsleep()) this.#scheduleNext();
  };

  #scheduleNext(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#turn);
  }

  #fallAsleep(): boolean {
    this.#sleepWord.announceSleep();
    for (const lane of this.#lanes) {
      if (lane.isIdle()) continue;
      this.#sleepWord.awake();
      return false;
    }
    return true;
  }

  #flushDirty(): void {
    // Connections that still have output afterwards put themselves into the next list.
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const connection of dirty) {
      connection.dirty = false;
      connection.flush();
    }
  }

  #takeCommands(lane: EventLane): boolean {
    const { commands } = lane;
    let records = 0;
    let bytes = 0;
    while (records < RECORDS_PER_TURN && bytes < BYTES_PER_TURN && commands.next()) {
      this.#execute(lane, commands);
      commands.release();
      records++;
      bytes += commands.length;
    }
    if (records > 0) lane.ringIfSpaceWanted();
    return records > 0;
  }

  #execute(lane: EventLane, record: RingConsumer): void {
    const { kind, slot, generation, offset, length, memory } = record;
    const connection = this.slots.get(slot);
    if (connection === undefined || connection.generation !== generation || connection.isClosed) {
      // It is gone: all that is left to do is to give its credit back.
      const carriesData = kind === commandKind.SEND || kind === commandKind.SEND_PART || kind === commandKind.SEND_LAST;
      if (carriesData) this.table.uncharge(slot, length);
      return;
    }
    switch (kind) {
      case commandKind.SEND:
        connection.send(memory, offset, length);
        break;
      case commandKind.SEND_PART:
      case commandKind.SEND_LAST:
        connection.sendPart(lane, memory, offset, length, kind === commandKind.SEND_LAST);
        break;
      case commandKind.SHUTDOWN:
        connection.shutdown(closeReasonOf(memory.readU32(offset)));
        break;
      case commandKind.DESTROY:
        connection.destroy(closeReasonOf(memory.readU32(offset)));
        break;
      case commandKind.PAUSE:
        connection.setPausedByApp(true);
        break;
      case commandKind.RESUME:
        connection.setPausedByApp(false);
        break;
      case commandKind.FLUSH:
        connection.notifyFlushed();
        break;
    }
  }
}
