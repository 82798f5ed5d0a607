// @ts-check
/**
 * `node peers.js NAME PORT [MICROSECONDS]`: one echo server, a reactor's or what it is measured against, that works so long on each
 * message. To the process that has forked it, it says 'listening', and then answers what is asked (suite/peer-process.js).
 */
import * as netPeers from './peers/net-peers.js';
import * as reactorPeers from './peers/reactor-peers.js';

/** @typedef {(options: { port: number, workUs: number }) => Promise<void>} Serve  resolves when it listens */

/** @type {Record<string, Serve>} */
const servers = {
  net: netPeers.plain,
  'net-cork': netPeers.corked,
  'net-postmessage': netPeers.posted,
  'net-comlink': netPeers.called,
  'reactor-copy': reactorPeers.copying,
  'reactor-borrow': reactorPeers.borrowing,
  'reactor-service': reactorPeers.service,
  'reactor-pool-1': reactorPeers.pool(1),
  'reactor-pool-2': reactorPeers.pool(2),
};

const [name = '', port = '', workUs = '0'] = process.argv.slice(2);
const serve = servers[name];
if (serve === undefined) {
  throw new Error(`There is no peer '${name}'; there are ${Object.keys(servers).join(', ')}`);
}
await serve({ port: Number(port), workUs: Number(workUs) });

process.on('message', (/** @type {import('./suite/peer-process.js').Question} */ question) => {
  if (question.what === 'usage') {
    const { user, system } = process.cpuUsage();
    process.send?.({ cpuSeconds: (user + system) / 1e6, atMs: performance.now(), rssBytes: process.memoryUsage.rss() });
  } else {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, question.ms);
  }
});
process.on('disconnect', () => process.exit());
process.send?.('listening');
