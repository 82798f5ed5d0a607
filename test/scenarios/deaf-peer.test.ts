import { sendToDeafPeer } from './deaf-peer.js';

const MIB = 1024 * 1024;

describe('a peer that never reads', () => {
  it("costs bounded memory, harms nobody else, and ends with 'backpressure'", async () => {
    await sendToDeafPeer(128 * MIB, 'close');
  });

  it("costs bounded memory with overflow 'drop', and what is dropped is counted", async () => {
    await sendToDeafPeer(128 * MIB, 'drop');
  });
});
