import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { RotatingFile } from '../../src/io-worker/rotating-file.js';
import type { RotationSettings } from '../../src/shared/log-protocol.js';
import { next } from '../fixtures/events.js';

const DAY_MS = 24 * 3_600_000;
/** Far from the edges of days and hours. */
const NOON = new Date(2026, 4, 17, 12, 30).getTime();
/** Of 100 bytes, with its end. */
const LINE = `${'x'.repeat(99)}\n`;

describe('A file that rotates', () => {
  let folder: string;
  let now: number;
  let undeleted: Error[];
  let opened: RotatingFile[];

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'simple-reactor-log-'));
    now = NOON;
    undeleted = [];
    opened = [];
  });

  afterEach(async () => {
    for (const file of opened) await close(file);
    await rm(folder, { recursive: true });
  });

  function open(rotate: Partial<RotationSettings>, name = 'app.log'): RotatingFile {
    const rotation = { frequency: undefined, sizeBytes: undefined, keep: undefined, ...rotate };
    const file = new RotatingFile(
      join(folder, name),
      rotation,
      (error) => undeleted.push(error),
      () => now,
    );
    opened.push(file);
    return file;
  }

  async function close(file: RotatingFile): Promise<void> {
    opened = opened.filter((each) => each !== file);
    const gone = next(file, 'close');
    file.end();
    await gone;
  }

  async function write(file: RotatingFile, ...texts: string[]): Promise<void> {
    for (const text of texts) {
      const drained = next(file, 'drain');
      file.write(text);
      await drained;
    }
  }

  /** As it was left at a time. */
  async function leave(name: string, text: string, at = NOON): Promise<void> {
    await writeFile(join(folder, name), text);
    await utimes(join(folder, name), at / 1000, at / 1000);
  }

  async function contents(): Promise<Record<string, string>> {
    const names = (await readdir(folder)).sort();
    const texts = names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const);
    return Object.fromEntries(await Promise.all(texts));
  }

  const names = async (): Promise<string[]> => (await readdir(folder)).sort();

  it('goes on in the next one when one is full, and makes none before there is something to write', async () => {
    const file = open({ sizeBytes: 200 });
    await write(file, LINE, LINE);
    expect(await names()).to.deep.equal(['app.1.log']);
    await write(file, 'a\n', LINE, LINE, 'b\n');
    expect(await contents()).to.deep.equal({
      'app.1.log': LINE + LINE,
      'app.2.log': `a\n${LINE}${LINE}`,
      'app.3.log': 'b\n',
    });
  });

  it('counts bytes, not characters', async () => {
    const file = open({ sizeBytes: 1024 });
    await write(file, `${'ü'.repeat(512)}\n`, 'a\n');
    expect(await names()).to.deep.equal(['app.1.log', 'app.2.log']);
  });

  for (const keep of [1, 3]) {
    it(`keeps ${keep} full besides the current one, the newest`, async () => {
      const file = open({ sizeBytes: 100, keep });
      for (let number = 1; number <= 12; number++) await write(file, LINE);
      const kept = Array.from({ length: keep + 1 }, (_, index) => `app.${12 - index}.log`);
      expect(await names()).to.deep.equal(kept.sort());
      expect(undeleted).to.deep.equal([]);
    });
  }

  it('keeps all of them if it is not told how many', async () => {
    const file = open({ sizeBytes: 100 });
    for (let number = 1; number <= 12; number++) await write(file, LINE);
    expect((await names()).length).to.equal(12);
  });

  it('deletes and counts only what is its own, however alike other names are', async () => {
    const foreign = [
      ...['app.log', 'app2.log', 'apps.log', 'app-1.log', 'app_1.log', 'app-20261129.log', 'other.7.log'],
      ...['app..log', 'app.1.log.gz', 'app.007.log', 'app.0.log', 'app.1e3.log', 'app.+1.log', 'app.1.2.log'],
      ...['app.1', 'xapp.1.log', 'appx1.log', 'app.1xlog', 'app.20261129104512123456.log'],
      'dump-20261129104512123456.log',
    ];
    for (const name of foreign) await writeFile(join(folder, name), 'foreign');
    const file = open({ sizeBytes: 100, keep: 2 });
    for (let number = 1; number <= 40; number++) await write(file, LINE);
    await close(file);
    const all = await contents();
    expect(Object.keys(all).filter((name) => all[name] !== 'foreign')).to.deep.equal([
      'app.38.log',
      'app.39.log',
      'app.40.log',
    ]);
    expect(Object.keys(all).length).to.equal(foreign.length + 3);
  });

  it('takes names literally, and those without an extension as .log', async () => {
    for (const name of ['a+(b)[c].$1', 'why?"<x>|*:.log']) {
      const file = open({ sizeBytes: 100, keep: 1 }, name);
      await write(file, LINE, LINE, LINE);
    }
    await write(open({ sizeBytes: 100 }, 'plain'), LINE);
    expect(await names()).to.have.members([
      ...['a+(b)[c].2.$1', 'a+(b)[c].3.$1', 'why?"<x>|*:.2.log', 'why?"<x>|*:.3.log'],
      'plain.1.log',
    ]);
  });

  it('goes on in the highest one, as far as it is not full', async () => {
    await leave('app.2.log', LINE);
    await leave('app.10.log', LINE);
    const file = open({ sizeBytes: 200 });
    await write(file, 'a\n', LINE, 'b\n');
    expect(await contents()).to.deep.equal({
      'app.10.log': `${LINE}a\n${LINE}`,
      'app.11.log': 'b\n',
      'app.2.log': LINE,
    });
  });

  it('never goes on in a full one', async () => {
    await leave('app.1.log', LINE + LINE);
    await write(open({ sizeBytes: 200 }), 'a\n');
    expect(await contents()).to.deep.equal({ 'app.1.log': LINE + LINE, 'app.2.log': 'a\n' });
  });

  it('does not append to one that has come meanwhile', async () => {
    const file = open({ sizeBytes: 100 });
    await write(file, LINE);
    await leave('app.2.log', 'not mine\n');
    await write(file, 'a\n');
    expect(await contents()).to.deep.equal({ 'app.1.log': LINE, 'app.2.log': 'not mine\n', 'app.3.log': 'a\n' });
  });

  it('deletes when it starts what is too much by then', async () => {
    for (const number of [3, 4, 5, 10]) await leave(`app.${number}.log`, LINE);
    open({ sizeBytes: 200, keep: 1 });
    expect(await names()).to.deep.equal(['app.10.log', 'app.5.log']);
  });

  it('a failing delete is told of, and does not stop it', async () => {
    await mkdir(join(folder, 'app.1.log'));
    await leave('app.2.log', LINE);
    const file = open({ sizeBytes: 100, keep: 1 });
    await write(file, LINE, LINE, LINE);
    await rm(join(folder, 'app.1.log'), { recursive: true });
    expect(await names()).to.deep.equal(['app.4.log', 'app.5.log']);
    expect(undeleted[0]?.message).to.include(join(folder, 'app.1.log'));
  });

  for (const [frequency, periodMs] of [
    ['daily', DAY_MS],
    ['hourly', 3_600_000],
    [1000, 1000],
    [30 * DAY_MS, 30 * DAY_MS],
  ] as const) {
    describe(`with a frequency: ${frequency}`, () => {
      const start = typeof frequency === 'number' ? NOON - (NOON % frequency) : undefined;
      const first = start ?? (frequency === 'daily' ? new Date(2026, 4, 17).getTime() : NOON - 30 * 60_000);

      it('goes on in the next one with the first line of a period, and makes none in a period without', async () => {
        now = first;
        const file = open({ frequency });
        await write(file, 'a\n');
        now = first + periodMs - 1;
        await write(file, 'b\n');
        now = first + periodMs;
        await write(file, 'c\n');
        await write(file, 'd\n');
        now = first + 5 * periodMs;
        await write(file, 'e\n');
        expect(await contents()).to.deep.equal({ 'app.1.log': 'a\nb\n', 'app.2.log': 'c\nd\n', 'app.3.log': 'e\n' });
      });

      it('a restart in the same period goes on in the same one', async () => {
        await leave('app.1.log', 'old\n', first - 1);
        await leave('app.2.log', 'a\n', first);
        now = first + periodMs - 1;
        await write(open({ frequency }), 'b\n');
        expect(await contents()).to.deep.equal({ 'app.1.log': 'old\n', 'app.2.log': 'a\nb\n' });
      });

      it('a restart in a later period goes on in a new one, and what is deleted is the oldest', async () => {
        for (const number of [1, 2, 3]) await leave(`app.${number}.log`, `${number}\n`, first + periodMs - 1);
        now = first + 2 * periodMs;
        const file = open({ frequency, sizeBytes: 1024, keep: 2 });
        await write(file, 'a\n', 'b\n');
        expect(await contents()).to.deep.equal({ 'app.2.log': '2\n', 'app.3.log': '3\n', 'app.4.log': 'a\nb\n' });
      });
    });
  }

  it('an empty one is of every period', async () => {
    await leave('app.1.log', '', NOON - DAY_MS);
    const file = open({ frequency: 'daily' });
    now += DAY_MS;
    await write(file, 'a\n');
    now += DAY_MS;
    await write(file, 'b\n');
    expect(await contents()).to.deep.equal({ 'app.1.log': 'a\n', 'app.2.log': 'b\n' });
  });

  it('the first line may come while it is being opened, and be one of the next period', async () => {
    await leave('app.1.log', 'a\n');
    const file = open({ frequency: 'daily' });
    now += DAY_MS;
    await write(file, 'b\n', 'c\n');
    expect(await contents()).to.deep.equal({ 'app.1.log': 'a\n', 'app.2.log': 'b\nc\n' });
  });

  it('a clock that is set back ends no period', async () => {
    const file = open({ frequency: 'daily' });
    await write(file, 'a\n');
    now -= 3 * DAY_MS;
    await write(file, 'b\n');
    expect(await names()).to.deep.equal(['app.1.log']);
  });

  it('one that cannot be opened is an error', async () => {
    await mkdir(join(folder, 'app.1.log'));
    const file = open({ sizeBytes: 100 });
    opened = [];
    const [error] = await next<[Error]>(file, 'error');
    expect(error.message).to.match(/^EISDIR.*app\.1\.log/);
  });

  it('a folder that is gone is an error, not an exception', async () => {
    const file = open({ sizeBytes: 100 });
    await write(file, LINE);
    await rm(folder, { recursive: true });
    const failed = next<[Error]>(file, 'error');
    file.write(LINE);
    expect((await failed)[0].message).to.match(/^ENOENT/);
    await mkdir(folder);
  });
});
