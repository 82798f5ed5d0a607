import { connectAndClose } from './cycles.js';

describe('10,000 connections that come and go', () => {
  it('leave no slot, descriptor or memory behind', async () => {
    await connectAndClose(10_000, 30_000);
  });
});
