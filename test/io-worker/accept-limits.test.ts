import { expect } from 'chai';
import { AcceptLimits } from '../../src/io-worker/accept-limits.js';
import { TokenBucket } from '../../src/io-worker/token-bucket.js';
import { AcceptCounts } from '../../src/shared/accept-counts.js';
import type { AcceptLimitSettings } from '../../src/shared/limit-settings.js';

function settings(limits: Partial<AcceptLimitSettings>): AcceptLimitSettings {
  const none = { maxConnections: undefined, maxConnectionsPerAddress: undefined, maxAcceptsPerSecond: undefined };
  return { ...none, ...limits, counts: AcceptCounts.allocate() };
}

describe('AcceptLimits', () => {
  it('hold for all io workers together', () => {
    const shared = settings({ maxConnections: 3 });
    const [first, second] = [new AcceptLimits(shared, 0), new AcceptLimits(shared, 1)];
    expect(first.admit('a')).to.equal(undefined);
    expect(second.admit('a')).to.equal(undefined);
    expect(second.admit('a')).to.equal(undefined);
    expect(first.admit('a')).to.equal('maxConnections');
    expect(second.admit('a')).to.equal('maxConnections');
    second.release('a');
    expect(first.admit('a')).to.equal(undefined);
    expect(second.admit('a')).to.equal('maxConnections');
  });

  it('forget the connections of an io worker that is started again, and of no other one', () => {
    const shared = settings({ maxConnections: 3 });
    const [first, second] = [new AcceptLimits(shared, 0), new AcceptLimits(shared, 1)];
    first.admit('a');
    second.admit('a');
    second.admit('a');
    const again = new AcceptLimits(shared, 1);
    expect(again.admit('a')).to.equal(undefined);
    expect(again.admit('a')).to.equal(undefined);
    expect(first.admit('a')).to.equal('maxConnections');
  });

  it('count each address for itself, and forget those that have no connection', () => {
    const limits = new AcceptLimits(settings({ maxConnectionsPerAddress: 2 }), 0);
    for (const address of ['a', 'b', 'a', 'b']) expect(limits.admit(address)).to.equal(undefined);
    expect(limits.admit('a')).to.equal('maxConnectionsPerAddress');
    limits.release('a');
    expect(limits.admit('b')).to.equal('maxConnectionsPerAddress');
    expect(limits.admit('a')).to.equal(undefined);
    for (const address of ['a', 'a']) limits.release(address);
    for (const _ of [1, 2]) expect(limits.admit('a')).to.equal(undefined);
    expect(limits.admit('a')).to.equal('maxConnectionsPerAddress');
  });

  it('count accepts in each second, and those that were turned away for something else are not among them', () => {
    const shared = settings({ maxAcceptsPerSecond: 3, maxConnectionsPerAddress: 2 });
    const [first, second] = [new AcceptLimits(shared, 0), new AcceptLimits(shared, 1)];
    const now = 1_900_000_000_000;
    for (const _ of [1, 2]) expect(first.admit('a', now)).to.equal(undefined);
    for (let i = 0; i < 10; i++) expect(first.admit('a', now + 100)).to.equal('maxConnectionsPerAddress');
    expect(second.admit('a', now + 200)).to.equal(undefined);
    expect(second.admit('b', now + 999)).to.equal('maxAcceptsPerSecond');
    for (const address of ['b', 'c', 'd']) expect(first.admit(address, now + 1000)).to.equal(undefined);
    expect(second.admit('b', now + 1001)).to.equal('maxAcceptsPerSecond');
  });
});

describe('TokenBucket', () => {
  it('lets pass what one second brings at once, and then as much as time brings', () => {
    const bucket = new TokenBucket(1000, 0);
    expect(bucket.take(600, 0)).to.equal(400);
    expect(bucket.take(900, 100)).to.equal(-400);
    expect(bucket.waitMs(0)).to.equal(400);
    expect(bucket.waitMs(100)).to.equal(500);
    expect(bucket.level(500)).to.equal(0);
    expect(bucket.level(750)).to.equal(250);
    expect(bucket.level(1_000_000)).to.equal(1000);
    // It will never hold more.
    expect(bucket.waitMs(5000)).to.equal(0);
  });
});
