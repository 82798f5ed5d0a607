import { blockApplication } from './blocked-app.js';

describe('an application thread that is blocked', () => {
  it('finds every message afterwards, in order, and no connection lost', async () => {
    await blockApplication({ ms: 1000, peers: 20, bytes: 200 });
  });

  it('does so with so many peers that all of their sockets are paused', async () => {
    await blockApplication({ ms: 700, peers: 200, bytes: 2000 });
  });
});
