import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { GatedLog } from '../../src/io-worker/gated-log.js';
import { PinoSink } from '../../src/io-worker/pino-sink.js';
import { logLevels } from '../../src/shared/log-protocol.js';
import { boardCounter, StatusBoard } from '../../src/shared/status-board.js';
import { logNumbered, numbersIn } from '../fixtures/numbered-lines.js';

const CLOSE_MS = 10_000;

describe('the log of an io worker', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'simple-reactor-log-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  const NO_FAILURE = (error: Error): void => {
    throw error;
  };

  function sinkTo(to: string, redact: readonly string[] = []): PinoSink {
    return new PinoSink({ to, rotate: undefined }, { redact, worker: 3 }, NO_FAILURE);
  }

  async function linesOf(file: string): Promise<Record<string, unknown>[]> {
    const text = await readFile(file, 'utf8');
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  it('has the level, the time, the io worker, the fields and the message in a line', async () => {
    const file = join(folder, 'a.log');
    const sink = sinkTo(file);
    sink.write('error', { connection: 7 }, 'Something');
    await sink.close(CLOSE_MS);
    const [line] = await linesOf(file);
    expect(line).to.include({ level: 50, pid: process.pid, ioWorker: 3, connection: 7, msg: 'Something' });
    expect(line?.['time']).to.be.closeTo(Date.now(), 60_000);
  });

  it('writes lines of the level and above, whatever it is at the time', async () => {
    const file = join(folder, 'a.log');
    const threshold = { logThreshold: 3 };
    const log = new GatedLog(sinkTo(file), threshold, StatusBoard.allocate(), 0);
    for (const level of logLevels) log.write(level, {}, `${level} at warn`);
    expect(log.isEnabled('info')).to.equal(false);
    threshold.logThreshold = 0;
    for (const level of logLevels) log.write(level, {}, `${level} at trace`);
    threshold.logThreshold = 6;
    for (const level of logLevels) log.write(level, {}, `${level} at silent`);
    await log.close(CLOSE_MS);
    const expected = [
      ...['warn', 'error', 'fatal'].map((level) => `${level} at warn`),
      ...logLevels.map((level) => `${level} at trace`),
    ];
    expect((await linesOf(file)).map((line) => line['msg'])).to.deep.equal(expected);
  });

  it('hides payloads, or shows as many bytes as it is told to', async () => {
    const file = join(folder, 'a.log');
    const payload = Buffer.from('secret');
    for (const bytes of [0, 2, 6]) {
      const log = new GatedLog(sinkTo(file), { logThreshold: 0 }, StatusBoard.allocate(), bytes);
      log.write('info', { payload }, 'Received');
      await log.close(CLOSE_MS);
    }
    const shown = (await linesOf(file)).map((line) => line['payload']);
    expect(shown).to.deep.equal(['[6 bytes]', '7365... [6 bytes]', '736563726574']);
  });

  it('hides the fields that it is told to', async () => {
    const file = join(folder, 'a.log');
    const sink = sinkTo(file, ['remoteAddress', 'tls.peer']);
    sink.write('info', { remoteAddress: '10.0.0.1', remotePort: 5, tls: { peer: 'CN' } }, 'Opened');
    await sink.close(CLOSE_MS);
    const [line] = await linesOf(file);
    expect(line).to.deep.include({ remoteAddress: '[redacted]', remotePort: 5, tls: { peer: '[redacted]' } });
  });

  it('loses no line and cuts none when files rotate by size', async () => {
    const rotate = { frequency: undefined, sizeBytes: 65_536, keep: undefined };
    const sink = new PinoSink({ to: join(folder, 'a.log'), rotate }, { redact: [], worker: 0 }, NO_FAILURE);
    await logNumbered(sink, 20_000);
    await sink.close(CLOSE_MS);
    expect((await readdir(folder)).length).to.be.greaterThan(5);
    expect(await numbersIn(folder)).to.deep.equal(Array.from({ length: 20_000 }, (_, number) => number));
  });

  it('keeps so many full files, and the current one', async () => {
    const rotate = { frequency: undefined, sizeBytes: 65_536, keep: 2 };
    const sink = new PinoSink({ to: join(folder, 'a.log'), rotate }, { redact: [], worker: 0 }, NO_FAILURE);
    await logNumbered(sink, 20_000);
    await sink.close(CLOSE_MS);
    expect((await readdir(folder)).length).to.equal(3);
    const numbers = await numbersIn(folder);
    expect(numbers.at(-1)).to.equal(19_999);
    expect(numbers).to.deep.equal(numbers.map((_, index) => 20_000 - numbers.length + index));
  });

  it('goes on in the same file when it is started again, and loses no line', async () => {
    const rotate = { frequency: 30 * 24 * 3_600_000, sizeBytes: 1024 * 1024, keep: 1 };
    for (let start = 0; start < 3; start++) {
      const sink = new PinoSink({ to: join(folder, 'a.log'), rotate }, { redact: [], worker: 0 }, NO_FAILURE);
      await logNumbered(sink, 100);
      await sink.close(CLOSE_MS);
    }
    expect(await readdir(folder)).to.deep.equal(['a.1.log']);
    expect(await numbersIn(folder)).to.deep.equal(Array.from({ length: 300 }, (_, index) => Math.floor(index / 3)));
  });

  it('tells of a full file that cannot be deleted, and goes on', async () => {
    await mkdir(join(folder, 'a.1.log'));
    await writeFile(join(folder, 'a.2.log'), '');
    const told: string[] = [];
    const rotate = { frequency: undefined, sizeBytes: 65_536, keep: 1 };
    const sink = new PinoSink({ to: join(folder, 'a.log'), rotate }, { redact: [], worker: 0 }, ({ message }, what) =>
      told.push(`${what} ${message}`),
    );
    await logNumbered(sink, 5000);
    await sink.close(CLOSE_MS);
    expect(told[0]).to.match(/^undeleted E.*a\.1\.log/);
    await rm(join(folder, 'a.1.log'), { recursive: true });
    expect((await numbersIn(folder)).at(-1)).to.equal(4999);
  });

  it('two write to one file, and no line is cut', async () => {
    const file = join(folder, 'a.log');
    const sinks = [sinkTo(file), sinkTo(file)];
    await Promise.all(sinks.map((sink) => logNumbered(sink, 5000)));
    await Promise.all(sinks.map((sink) => sink.close(CLOSE_MS)));
    const numbers = await numbersIn(folder);
    expect(numbers).to.deep.equal(Array.from({ length: 10_000 }, (_, index) => index >> 1));
  });

  it('drops lines beyond what may wait, counts them, and says in the next line how many', async () => {
    const file = join(folder, 'a.log');
    const board = StatusBoard.allocate();
    const log = new GatedLog(sinkTo(file), { logThreshold: 0 }, board, 0);
    const text = 'x'.repeat(4000);
    // In one go: nothing of it can leave meanwhile.
    for (let number = 0; number < 5000; number++) log.write('info', { text }, 'Line');
    const dropped = board.counter(boardCounter.DROPPED_LOG_LINES);
    expect(dropped).to.be.within(1000, 4000);
    while (board.counter(boardCounter.DROPPED_LOG_LINES) > 0) {
      const before = board.counter(boardCounter.DROPPED_LOG_LINES);
      await new Promise((resolve) => setImmediate(resolve));
      log.write('info', {}, 'Behind');
      if (board.counter(boardCounter.DROPPED_LOG_LINES) === before) break;
    }
    await log.close(CLOSE_MS);
    const lines = await linesOf(file);
    const all = board.counter(boardCounter.DROPPED_LOG_LINES);
    expect(lines.filter((line) => line['msg'] === 'Line').length).to.equal(5000 - dropped);
    expect(lines.at(-1)).to.include({ msg: 'Behind', droppedLines: all });
  });

  it('tells once that it cannot be written, and goes on without', async () => {
    const failures: Error[] = [];
    let told: () => void = () => undefined;
    const failed = new Promise<void>((resolve) => {
      told = resolve;
    });
    const settings = { to: join(folder, 'no-such-folder', 'a.log'), rotate: undefined };
    const sink = new PinoSink(settings, { redact: [], worker: 0 }, (error) => {
      failures.push(error);
      told();
    });
    const board = StatusBoard.allocate();
    const log = new GatedLog(sink, { logThreshold: 0 }, board, 0);
    log.write('info', {}, 'Lost');
    await failed;
    log.write('info', {}, 'Lost, too');
    log.write('info', {}, 'Lost, too');
    await log.close(CLOSE_MS);
    expect(failures.map(({ message }) => message.split(':')[0])).to.deep.equal(['ENOENT']);
    expect(board.counter(boardCounter.DROPPED_LOG_LINES)).to.equal(2);
  });
});
