import { sendFromManyThreads } from './many-threads.js';

describe('8 threads that send on the same 50 connections', () => {
  it('get all their messages to every peer, each thread in its order', async () => {
    await sendFromManyThreads({ threads: 8, connections: 50, count: 2000, longEvery: 1500 });
  });
});
