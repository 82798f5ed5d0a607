import { connectAndClose } from './cycles.js';

describe('connections that come and go', () => {
  it('leave no slot, descriptor or memory behind', async () => {
    await connectAndClose(2000, 1000);
  });
});
