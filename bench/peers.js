// @ts-check
/** `node peers.js NAME PORT`: one echo server, the reactor or what it is measured against. Says 'listening' when it does. */
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const [name = '', port = ''] = process.argv.slice(2);

/** @param {'copy' | 'borrow'} messages */
async function reactor(messages) {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: Number(port), messages });
  server.on('message', (connection, data) => connection.send(data));
}

/** The same as a service: it never leaves the io worker. */
async function service() {
  const reactor = await Reactor.spawn();
  const services = [new URL('./echo-service.js', import.meta.url)];
  await reactor.listen({ host: '127.0.0.1', port: Number(port), services });
}

/** The best that one writes by hand on `net`: whole frames of a chunk, answered in one corked write. */
async function netCork() {
  const server = net.createServer({ noDelay: true }, (socket) => {
    /** @type {Buffer | undefined} */
    let rest;
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      const bytes = rest === undefined ? chunk : Buffer.concat([rest, chunk]);
      let position = 0;
      socket.cork();
      while (bytes.length - position >= 6) {
        const end = position + 4 + bytes.readUInt32LE(position);
        if (end > bytes.length) break;
        const answer = Buffer.allocUnsafe(end - position);
        bytes.copy(answer, 0, position, end);
        socket.write(answer);
        position = end;
      }
      socket.uncork();
      rest = position < bytes.length ? bytes.subarray(position) : undefined;
    });
  });
  await new Promise((resolve) =>
    server.listen({ port: Number(port), host: '127.0.0.1', backlog: 4096 }, () => resolve(undefined)),
  );
}

/** @type {Record<string, () => Promise<void>>} */
const peers = {
  'net, cork': netCork,
  'reactor, copy': () => reactor('copy'),
  'reactor, borrow': () => reactor('borrow'),
  'reactor, service': service,
};
const peer = peers[name];
if (peer === undefined) throw new Error(`There is no peer '${name}'; there are ${Object.keys(peers).join(' | ')}`);
await peer();
process.send?.('listening');
process.on('disconnect', () => process.exit());
