// @ts-check
/** The processes of heartbeats.js: `reactor` and `net`, two servers, and `peers PORT CONNECTIONS`. */
import net from 'node:net';
import { Reactor } from 'simple-reactor';

const HEARTBEAT = { intervalMs: 1000, timeoutMs: 2000 };
const [PING, PONG] = [1, 2];
const AT_ONCE = 10;

/** @param {unknown} message */
const tell = (message) => process.send?.(message);

/** @param {() => object} stats what is asked for */
function answer(stats) {
  process.on('message', (/** @type {{ block?: number }} */ { block = 0 }) => {
    const until = performance.now() + block * 1000;
    while (performance.now() < until);
    tell(stats());
  });
  process.on('disconnect', () => process.exit());
}

async function reactorServer() {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port: 0, heartbeat: HEARTBEAT });
  answer(() => reactor.stats());
  tell(server.address.port);
}

/** @param {number} kind @param {Uint8Array} body */
function frame(kind, body) {
  const bytes = Buffer.alloc(6 + body.length);
  bytes.writeUInt32LE(2 + body.length);
  bytes[4] = kind;
  bytes.set(body, 6);
  return bytes;
}

/** Pings each second, answers pings, and closes who was silent for the timeout: as much as heartbeats on `net` can be. */
async function netServer() {
  /** @type {Map<net.Socket, number>} when something last came */
  const heard = new Map();
  const server = net.createServer({ noDelay: true }, (socket) => {
    let rest = Buffer.alloc(0);
    heard.set(socket, performance.now());
    socket.on('error', () => undefined);
    socket.on('close', () => heard.delete(socket));
    socket.on('data', (chunk) => {
      heard.set(socket, performance.now());
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 6 && rest.length >= 4 + rest.readUInt32LE(0)) {
        const end = 4 + rest.readUInt32LE(0);
        if (rest[4] === PING) socket.write(frame(PONG, rest.subarray(6, end)));
        rest = rest.subarray(end);
      }
    });
  });
  setInterval(() => {
    for (const [socket, at] of heard) {
      if (performance.now() - at > HEARTBEAT.timeoutMs) socket.destroy();
      else socket.write(frame(PING, Buffer.alloc(8)));
    }
  }, HEARTBEAT.intervalMs);
  answer(() => ({}));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
    tell(/** @type {net.AddressInfo} */ (server.address()).port);
  });
}

/** @param {number} port @param {number} count */
async function peers(port, count) {
  const reactor = await Reactor.spawn();
  const client = reactor.client({ heartbeat: HEARTBEAT });
  let timedOut = 0;
  client.on('disconnect', (_connection, reason) => {
    if (reason === 'heartbeat-timeout') timedOut++;
  });
  answer(() => {
    const { pings, pingLateness } = reactor.stats();
    return { open: client.connectionCount, timedOut, pings, pingLateness };
  });
  // By and by: what is measured is how late pings are while nothing else goes on.
  for (let left = count; left > 0; left -= AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(left, AT_ONCE) }, () => client.connect({ host: '127.0.0.1', port })),
    );
  }
  tell('connected');
}

const [role = '', port = '', count = ''] = process.argv.slice(2);
if (role === 'reactor') await reactorServer();
else if (role === 'net') await netServer();
else await peers(Number(port), Number(count));
