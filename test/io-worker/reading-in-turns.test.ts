import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import type { Codec } from '../../src/io-worker/codec.js';
import { EventLane } from '../../src/io-worker/event-lane.js';
import { EventLoop } from '../../src/io-worker/event-loop.js';
import { FrameCodec } from '../../src/io-worker/frame-codec.js';
import { Origin } from '../../src/io-worker/origin.js';
import { RawCodec } from '../../src/io-worker/raw-codec.js';
import type { SocketStream } from '../../src/io-worker/socket-stream.js';
import { TcpConnection } from '../../src/io-worker/tcp-connection.js';
import { ConnectionTable } from '../../src/shared/connection-table.js';
import type { ConnectionSettings, ListenRequest } from '../../src/shared/control-protocol.js';
import { Doorbell, SleepWord } from '../../src/shared/doorbell.js';
import { allocateLane, allocateThreadWords, threadWord } from '../../src/shared/lane.js';
import { Ledger } from '../../src/shared/ledger.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';
import { boardCounter, StatusBoard } from '../../src/shared/status-board.js';
import { until } from '../fixtures/events.js';

const KIB = 1024;
const READ = Buffer.alloc(64 * KIB);
const READS_PER_TURN = 4;

/** A socket that the test reads, as libuv would: as long as it is not paused. */
class Socket {
  readonly addresses = {
    remoteAddress: '127.0.0.1',
    remotePort: 1,
    remoteFamily: 'IPv4',
    localAddress: '127.0.0.1',
    localPort: 2,
    encrypted: false,
  } as const;
  isPaused = false;
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  write(): boolean {
    return true;
  }
  destroy(): void {}
}

/** An io worker with one thread, whose ring the test empties. */
class IoWorker {
  readonly board = StatusBoard.allocate();
  readonly loop: EventLoop;
  readonly lane: EventLane;
  readonly events: RingConsumer;

  constructor() {
    const words = allocateThreadWords();
    const sleepWord = new SleepWord(SharedMemory.allocate(64), 0);
    this.loop = new EventLoop(0, this.board, ConnectionTable.allocate(8), sleepWord);
    const memory = allocateLane({ commandRingBytes: 512 * KIB, eventRingBytes: 1024 * KIB, slots: 8 });
    this.lane = new EventLane({
      index: 0,
      threadId: 1,
      commands: new SharedMemory(memory.commands),
      events: new SharedMemory(memory.events),
      ledger: new Ledger(new SharedMemory(memory.ledger)),
      thread: words,
      doorbell: new Doorbell(words, threadWord.ASLEEP, () => undefined),
      board: this.board,
      chunkPool: this.loop.chunkPool,
      workers: { own: 0, count: 1 },
    });
    this.events = new RingConsumer(new SharedMemory(memory.events));
    this.loop.addLane(this.lane);
  }

  open(codec: Codec, type: 'raw' | 'frame'): { connection: TcpConnection; socket: Socket } {
    const settings = {
      codec: { type },
      maxRequests: 8,
      highWaterMark: 64 * KIB,
      overflowLimit: 1024 * KIB,
      dropOnOverflow: false,
      borrowed: false,
      allowHalfOpen: false,
      shutdownTimeoutMs: 1000,
      limits: {},
      heartbeat: undefined,
    } as unknown as ConnectionSettings;
    const request = { server: 1, dispatch: 'owner', orphanTimeoutMs: 0, connection: settings } as ListenRequest;
    const origin = Origin.server(request, codec, this.loop);
    origin.audience.add(this.lane, 0, []);
    const socket = new Socket();
    const connection = TcpConnection.open(this.loop, socket as unknown as SocketStream, origin, {
      attempt: 0,
    }) as TcpConnection;
    return { connection, socket };
  }

  consume(): void {
    while (this.events.next()) this.events.release();
  }

  get readPauses(): number {
    return this.board.counter(boardCounter.READ_PAUSES);
  }
}

describe('TcpConnection, reading', () => {
  let io: IoWorker;

  beforeEach(() => {
    io = new IoWorker();
  });

  it('rests until the next turn when it has brought enough into this one', async () => {
    const { connection, socket } = io.open(new RawCodec(), 'raw');
    const { readPauses } = io;
    for (let turns = 0; turns < 5; turns++) {
      for (let reads = 0; reads < READS_PER_TURN; reads++) {
        expect(socket.isPaused).to.equal(false);
        connection.onData(READ, READ.length);
      }
      expect(socket.isPaused).to.equal(true);
      io.consume();
      await turn();
    }
    expect(socket.isPaused).to.equal(false);
    // It is not the thread that holds it up.
    expect(io.readPauses).to.equal(readPauses);
    connection.destroy('local-destroy');
  });

  it('counts what it brings anew in each turn', async () => {
    const { connection, socket } = io.open(new RawCodec(), 'raw');
    for (let turns = 0; turns < 5; turns++) {
      connection.onData(READ, READ.length);
      expect(socket.isPaused).to.equal(false);
      io.consume();
      await turn();
    }
    connection.destroy('local-destroy');
  });

  it('stays paused behind its rest if the application wants so', async () => {
    const { connection, socket } = io.open(new RawCodec(), 'raw');
    for (let reads = 0; reads < READS_PER_TURN; reads++) connection.onData(READ, READ.length);
    const { readPauses } = io;
    connection.setPausedBy(io.lane, true);
    expect(io.readPauses).to.equal(readPauses + 1);
    await turn();
    expect(socket.isPaused).to.equal(true);
    connection.setPausedBy(io.lane, false);
    expect(socket.isPaused).to.equal(false);
    connection.destroy('local-destroy');
  });

  for (const [others, rests] of [
    [1, true],
    [0, false],
  ] as const) {
    it(`${rests ? 'rests' : 'goes on'} in a long message that fills the ring of a thread with ${others} other connections`, async () => {
      const { connection, socket } = io.open(new FrameCodec(16 * 1024 * KIB), 'frame');
      for (let i = 0; i < others; i++) io.lane.countConnection(1);
      const head = Buffer.alloc(6);
      head.writeUInt32LE(2 + 8 * 1024 * KIB);
      connection.onData(Buffer.concat([head, READ.subarray(6)]), READ.length);
      // One read a turn, so that it is not the turn that makes it rest; and fewer than would fill the ring.
      for (let turns = 0; turns < 6 && !socket.isPaused; turns++) {
        connection.onData(READ, READ.length);
        await turn();
      }
      expect(socket.isPaused).to.equal(rests);
      io.consume();
      io.loop.wake();
      await turn();
      expect(socket.isPaused).to.equal(false);
      connection.destroy('local-destroy');
    });
  }

  it('goes on after its rest without anything else that wakes the io worker', async () => {
    const { connection, socket } = io.open(new FrameCodec(16 * 1024 * KIB), 'frame');
    io.lane.countConnection(1);
    const head = Buffer.alloc(6);
    head.writeUInt32LE(2 + 8 * 1024 * KIB);
    connection.onData(Buffer.concat([head, READ.subarray(6)]), READ.length);
    while (!socket.isPaused) {
      connection.onData(READ, READ.length);
      await turn();
    }
    // Until it sleeps.
    for (let turns = 0; turns < 5; turns++) await turn();
    io.consume();
    expect(socket.isPaused).to.equal(true);
    await until(() => !socket.isPaused);
    connection.destroy('local-destroy');
  });
});
