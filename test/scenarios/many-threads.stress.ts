import { sendFromManyThreads } from './many-threads.js';

describe('8 threads that send 100,000 messages each on each of the same 50 connections', () => {
  it('get all of them to every peer, each thread in its order', async () => {
    await sendFromManyThreads({ threads: 8, connections: 50, count: 100_000, longEvery: 25_000 });
  });
});
