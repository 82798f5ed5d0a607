// @ts-check
/** What happens within one thread. */
import { FrameConnection } from '../../build/src/io-worker/frame-codec.js';
import { InflationBudget } from '../../build/src/io-worker/inflation-budget.js';
import { Deadline, TimingWheel } from '../../build/src/io-worker/timing-wheel.js';
import { ConnectionTable } from '../../build/src/shared/connection-table.js';

const SLOTS = 1024;
const CHUNK_BYTES = 64 * 1024;
const BODY_BYTES = 64;
const FRAME_BYTES = BODY_BYTES + 6;
const SET_DEADLINES = 100_000;

/**
 * @param {import('./tasks.js').Tasks} tasks
 * @param {number} batch
 */
export function addMemoryTasks(tasks, batch) {
  const table = ConnectionTable.allocate(SLOTS);
  const generations = Array.from({ length: SLOTS }, (_, slot) => table.open(slot, SETTINGS));
  tasks.add('connection table, state and buffered', batch, () => {
    let sum = 0;
    for (let i = 0; i < batch; i++) {
      const slot = i % SLOTS;
      sum += table.state(slot, generations[slot] ?? 0) + table.buffered(slot);
    }
    return sum;
  });

  const frames = Math.floor(CHUNK_BYTES / FRAME_BYTES);
  const chunk = Buffer.alloc(frames * FRAME_BYTES);
  for (let i = 0; i < frames; i++) chunk.writeUInt32LE(BODY_BYTES + 2, i * FRAME_BYTES);
  const codec = new FrameConnection(takesAll, { maxFrameBytes: 2 ** 24, compression: undefined });
  tasks.add('frame codec, a frame of a 64 KiB chunk', frames, () => {
    if (codec.decode(chunk, 0, chunk.length) !== chunk.length) throw new Error('The codec did not take the chunk');
  });

  const wheel = new TimingWheel();
  for (let i = 0; i < SET_DEADLINES; i++) wheel.set(new Deadline(() => {}), 60_000 + i);
  const deadline = new Deadline(() => {});
  tasks.add('timing wheel, set and clear among 100,000', batch, () => {
    for (let i = 0; i < batch; i++) {
      wheel.set(deadline, 1000 + i);
      wheel.clear(deadline);
    }
  });
}

const SETTINGS = {
  highWaterMark: 2 ** 20,
  overflowLimit: 2 ** 24,
  maxMessageBytes: 2 ** 24,
  minMessageBytes: 0,
  maxRequests: 1024,
  framing: /** @type {const} */ (0),
  hasRequests: true,
  dropOnOverflow: false,
  borrowed: false,
  allowHalfOpen: false,
};

/** @type {import('../../build/src/io-worker/frame-codec.js').FrameChannel} Takes everything and does nothing with it. */
const takesAll = {
  inflationBudget: new InflationBudget(),
  answersPings: false,
  frames: () => true,
  answers: () => true,
  message: () => true,
  partFirst: () => true,
  part: () => true,
  goodbye: () => true,
  busy: () => true,
  writeOwn: () => true,
  ignored: () => {},
  pong: () => {},
  fail: () => {},
  resume: () => {},
};
