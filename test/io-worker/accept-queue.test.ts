import { setImmediate as nextIteration } from 'node:timers/promises';
import { expect } from 'chai';
import { AcceptQueue } from '../../src/io-worker/accept-queue.js';

describe('AcceptQueue', () => {
  let now = 0;
  let opened: string[] = [];

  beforeEach(() => {
    now = 0;
    opened = [];
  });

  function queueOf(limit: number): AcceptQueue<string> {
    return new AcceptQueue<string>(
      limit,
      () => now,
      (socket, waitedMs) => opened.push(`${socket} ${waitedMs}`),
    );
  }

  it('opens at once what comes alone, each time', async () => {
    const queue = queueOf(10);
    queue.add('a');
    expect(opened).to.deep.equal(['a 0']);
    await nextIteration();
    await nextIteration();
    now = 5;
    queue.add('b');
    expect(opened).to.deep.equal(['a 0', 'b 0']);
  });

  it('lets others wait as long as one comes in each iteration, and opens them in order, with how long they waited', async () => {
    const queue = queueOf(10);
    for (const socket of ['a', 'b', 'c']) {
      queue.add(socket);
      await nextIteration();
      now += 2;
    }
    expect(opened).to.deep.equal(['a 0']);
    await nextIteration();
    expect(opened).to.deep.equal(['a 0', 'b 4', 'c 2']);
  });

  it('opens the first of those that are more than may wait', async () => {
    const queue = queueOf(2);
    for (const socket of ['a', 'b', 'c', 'd', 'e']) {
      queue.add(socket);
      await nextIteration();
    }
    expect(opened).to.deep.equal(['a 0', 'b 0', 'c 0']);
    await nextIteration();
    expect(opened).to.deep.equal(['a 0', 'b 0', 'c 0', 'd 0', 'e 0']);
  });

  it('opens a few in one iteration, until none is left', async () => {
    const queue = queueOf(100);
    for (let i = 0; i < 20; i++) queue.add(String(i));
    const counts = [];
    for (let i = 0; i < 5; i++) {
      await nextIteration();
      counts.push(opened.length);
    }
    expect(counts).to.deep.equal([1, 9, 17, 20, 20]);
    expect(opened).to.deep.equal(Array.from({ length: 20 }, (_, i) => `${i} 0`));
  });

  it('gives up those that wait, and opens what comes then', async () => {
    const queue = queueOf(100);
    for (const socket of ['a', 'b', 'c']) queue.add(socket);
    expect(queue.takeAll()).to.deep.equal(['b', 'c']);
    expect(queue.takeAll()).to.deep.equal([]);
    await nextIteration();
    await nextIteration();
    queue.add('d');
    expect(opened).to.deep.equal(['a 0', 'd 0']);
  });
});
