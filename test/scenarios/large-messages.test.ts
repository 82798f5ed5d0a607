import { echoLargeMessages } from './large-messages.js';

const MIB = 1024 * 1024;

describe('messages from 1 KiB to 16 MiB', () => {
  it("arrive as they were sent, codec 'frame'", async () => {
    await echoLargeMessages(16 * MIB, {});
  });

  it('arrive as they were sent, compressed', async () => {
    await echoLargeMessages(16 * MIB, { compression: true });
  });
});
