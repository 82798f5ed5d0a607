import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { PinoSink } from '../../src/io-worker/pino-sink.js';
import { logNumbered, numbersIn } from '../fixtures/numbered-lines.js';

const LINES = 1_000_000;
const MIB = 1024 * 1024;

describe('1,000,000 lines in files that rotate', () => {
  it('are all there, each whole, and need no more memory than the first 100,000', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'simple-reactor-log-'));
    const rotate = { frequency: undefined, sizeBytes: 10 * MIB, keep: undefined };
    const sink = new PinoSink({ to: join(folder, 'a.log'), rotate }, { redact: [], worker: 0 }, (error) => {
      throw error;
    });
    await logNumbered(sink, LINES / 10);
    const before = process.memoryUsage().rss;
    await logNumbered(sink, (LINES * 9) / 10);
    const grown = process.memoryUsage().rss - before;
    await sink.close(60_000);
    try {
      const numbers = await numbersIn(folder);
      expect(numbers.length).to.equal(LINES);
      // Both times they begin with 0.
      const missing = numbers.findIndex((number, at) => number !== (at < LINES / 5 ? at >> 1 : at - LINES / 10));
      expect(missing, 'the first that is not in its place').to.equal(-1);
      expect((await readdir(folder)).length).to.be.greaterThan(5);
      expect(grown / MIB).to.be.lessThan(64);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
