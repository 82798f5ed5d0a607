import { sendToDeafPeer } from './deaf-peer.js';

const GIB = 1024 ** 3;

describe('a peer that never reads while 1 GiB is sent to it', () => {
  for (const overflow of ['close', 'drop'] as const) {
    it(`costs less than 64 MiB, overflow '${overflow}'`, async () => {
      await sendToDeafPeer(GIB, overflow);
    });
  }
});
