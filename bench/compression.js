// What LZ4 makes of messages of several lengths, with and without a dictionary, and what it costs. Run: node bench/compression.js
import { compressSync, uncompressSync } from 'lz4-napi';

const ROUNDS = 5;
const MS_A_ROUND = 100;

/** A stream of events as JSON, none like the other. */
function events(bytes, seed) {
  let text = '';
  for (let i = 0; text.length < bytes; i++) {
    const n = Math.imul(seed + i, 2654435761) >>> 0;
    text += JSON.stringify({
      id: n,
      type: ['created', 'updated', 'deleted', 'moved'][n % 4],
      user: `user-${n % 1000}`,
      at: new Date(1_700_000_000_000 + (n % 1e9)).toISOString(),
      position: { x: (n % 10_007) / 100, y: (n % 9973) / 100 },
    });
  }
  return Buffer.from(text.slice(0, bytes));
}

/** Microseconds a call: the median of a few rounds. */
function time(call) {
  const rounds = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    let calls = 0;
    while (performance.now() - start < MS_A_ROUND) {
      call(calls);
      calls++;
    }
    rounds.push(((performance.now() - start) * 1000) / calls);
  }
  return rounds.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)];
}

const dictionary = events(4096, 999_999);
const rows = [];
for (const bytes of [64, 256, 1024, 4096, 16_384, 65_536]) {
  const messages = Array.from({ length: 64 }, (_, i) => events(bytes, i * 1000));
  for (const [name, dict] of [
    ['none', undefined],
    ['4 KiB', dictionary],
  ]) {
    const blocks = messages.map((message) => compressSync(message, dict));
    const mean = blocks.reduce((sum, { length }) => sum + length, 0) / blocks.length;
    rows.push({
      bytes,
      dictionary: name,
      compressed: Math.round(mean),
      ratio: Number((bytes / mean).toFixed(2)),
      'compress us': Number(time((i) => compressSync(messages[i % 64], dict)).toFixed(1)),
      'decompress us': Number(time((i) => uncompressSync(blocks[i % 64], dict)).toFixed(1)),
    });
  }
}
console.table(rows);
