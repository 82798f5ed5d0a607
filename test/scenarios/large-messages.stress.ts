import { echoLargeMessages } from './large-messages.js';

const MIB = 1024 * 1024;

describe('messages from 1 KiB to 256 MiB', () => {
  for (const [name, options] of [
    ["codec 'frame'", {}],
    ['compressed', { compression: true }],
    ["codec 'length-field'", { codec: { type: 'length-field', bytes: 4 } }],
  ] as const) {
    it(`arrive as they were sent, ${name}`, async () => {
      await echoLargeMessages(256 * MIB, options);
    });
  }
});
