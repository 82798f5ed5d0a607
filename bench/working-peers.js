// @ts-check
/** `node working-peers.js NAME PORT MICROSECONDS`: an echo server that works on each message. Says 'listening' when it does. */
import net from 'node:net';
import { LogicPool, Reactor } from 'simple-reactor';
import { work } from './working-logic.js';

const [name = '', port = '', microseconds = ''] = process.argv.slice(2);
const HEADER = 6;

if (name === 'net') {
  const server = net.createServer({ noDelay: true }, (socket) => {
    /** @type {Buffer | undefined} */
    let rest;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      let position = 0;
      socket.cork();
      while (bytes.length - position >= HEADER) {
        const end = position + 4 + bytes.readUInt32LE(position);
        if (end > bytes.length) break;
        work(Number(microseconds));
        socket.write(Buffer.from(bytes.subarray(position, end)));
        position = end;
      }
      socket.uncork();
      rest = position < bytes.length ? bytes.subarray(position) : undefined;
    });
  });
  await new Promise((resolve) => server.listen(Number(port), '127.0.0.1', () => resolve(undefined)));
} else {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: Number(port), dispatch: 'balance' });
  const filename = new URL('./working-logic.js', import.meta.url);
  await LogicPool.start(server, { filename, threads: Number(name.at(-1)), data: Number(microseconds) });
}
process.send?.('listening');
process.on('disconnect', () => process.exit());
