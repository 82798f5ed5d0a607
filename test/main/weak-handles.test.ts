import { expect } from 'chai';
import { WeakHandles } from '../../src/main/weak-handles.js';
import { collectGarbage } from '../fixtures/scenario-tools.js';

describe('WeakHandles', () => {
  it('has what somebody has in hand, and nothing else', async () => {
    const handles = new WeakHandles<number, { name: string }>();
    const kept = { name: 'kept' };
    handles.set(1, kept);
    handles.set(2, { name: 'dropped' });
    expect(handles.get(1)).to.equal(kept);
    expect(handles.get(3)).to.equal(undefined);
    // A WeakRef holds on until the end of the turn.
    await new Promise((resolve) => setImmediate(resolve));
    await collectGarbage();
    expect(handles.get(2)).to.equal(undefined);
    expect([...handles.values()]).to.deep.equal([kept]);
    handles.delete(1);
    expect([...handles.values()]).to.deep.equal([]);
  });
});
