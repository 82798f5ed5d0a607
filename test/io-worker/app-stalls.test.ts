import { expect } from 'chai';
import { FrameCodec } from '../../src/io-worker/frame-codec.js';
import type { HeartbeatSettings } from '../../src/shared/heartbeat-settings.js';
import { HandIoWorker } from '../fixtures/hand-io-worker.js';

const HOUR_MS = 3_600_000;
const KIB = 1024;

describe('AppStalls', () => {
  it('forgets a server or client with its last connection, however far away its next look is', () => {
    const io = new HandIoWorker();
    const { wheel } = io.loop;
    const heartbeat: HeartbeatSettings = {
      intervalMs: HOUR_MS,
      timeoutMs: 2 * HOUR_MS,
      stallAfterMs: 24 * HOUR_MS,
      stallAction: 'report',
    };
    const before = wheel.size;
    for (let round = 0; round < 100; round++) {
      // Each of a server of its own.
      const { connection } = io.open(new FrameCodec(64 * KIB), { heartbeat });
      expect(wheel.size).to.be.greaterThan(before);
      connection.destroy('local-destroy');
      io.consume();
      connection.input.closeDone(io.lane);
      expect(wheel.size).to.equal(before);
    }
  });
});
