import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { FrameCodec } from '../../src/io-worker/frame-codec.js';
import { RawCodec } from '../../src/io-worker/raw-codec.js';
import { until } from '../fixtures/events.js';
import { HandIoWorker } from '../fixtures/hand-io-worker.js';

const KIB = 1024;
const READ = Buffer.alloc(64 * KIB);
const READS_PER_TURN = 4;

describe('TcpConnection, reading', () => {
  let io: HandIoWorker;

  beforeEach(() => {
    io = new HandIoWorker();
  });

  it('rests until the next turn when it has brought enough into this one', async () => {
    const { connection, socket } = io.open(new RawCodec());
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
    const { connection, socket } = io.open(new RawCodec());
    for (let turns = 0; turns < 5; turns++) {
      connection.onData(READ, READ.length);
      expect(socket.isPaused).to.equal(false);
      io.consume();
      await turn();
    }
    connection.destroy('local-destroy');
  });

  it('stays paused behind its rest if the application wants so', async () => {
    const { connection, socket } = io.open(new RawCodec());
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
      const { connection, socket } = io.open(new FrameCodec(16 * 1024 * KIB));
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
    const { connection, socket } = io.open(new FrameCodec(16 * 1024 * KIB));
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
