import * as threads from 'node:worker_threads';
import { expect } from 'chai';
import { LogicPool } from '../../src/index.js';
import { scene } from '../fixtures/scene.js';

describe('what belongs to one thread', () => {
  const stage = scene();

  it('cannot be cloned, where Node can refuse it', async function () {
    if (!('markAsUncloneable' in threads)) this.skip();
    const { server, client, near } = await stage.pair();
    const balanced = await stage.listen({ dispatch: 'balance' });
    const pool = await LogicPool.start(balanced, {
      filename: new URL('../fixtures/thread-logic.js', import.meta.url),
      threads: 1,
      data: {},
    });
    for (const each of [stage.reactor, server, client, near, stage.reactor.group('room'), pool]) {
      expect(() => structuredClone(each), each.constructor.name)
        .to.throw()
        .with.property('name', 'DataCloneError');
      const post = (): threads.Worker => new threads.Worker('', { eval: true, workerData: { each } });
      expect(post, each.constructor.name).to.throw().with.property('name', 'DataCloneError');
    }
    await pool.close();
    // Its handle can.
    expect(structuredClone(stage.reactor.handle).reactor).to.equal(stage.reactor.handle.reactor);
  });
});
