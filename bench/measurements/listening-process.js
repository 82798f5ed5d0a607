// @ts-check
/** `node listening-process.js net|reactor`: listens, tells its parent how many ms that took, and ends. */
import { once } from 'node:events';
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const start = performance.now();
if (process.argv[2] === 'net') {
  await once(net.createServer().listen(0, '127.0.0.1'), 'listening');
} else {
  const reactor = await Reactor.spawn();
  await reactor.listen({ host: '127.0.0.1', port: 0 });
}
const ms = performance.now() - start;
process.send?.(ms, () => process.exit());
