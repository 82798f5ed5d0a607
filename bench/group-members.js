// @ts-check
/**
 * The members of bench/group-broadcast.js, in a process of their own: `node group-members.js PORT MEMBERS DEAF`. Connects MEMBERS
 * sockets that read and DEAF that never do, one after the other. Told `{ bytes }`, it says 'received' when each that reads has got
 * so many more.
 */
import { once } from 'node:events';
import net from 'node:net';

const [port = 0, members = 0, deaf = 0] = process.argv.slice(2).map(Number);
const buffer = Buffer.alloc(64 * 1024);
/** That its sender can take compressed frames. */
const hello = Buffer.from([18, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
let total = 0;
let expected = 0;

/** @param {boolean} reads */
async function connect(reads) {
  const onread = {
    buffer,
    callback: (/** @type {number} */ length) => {
      total += length;
      if (expected > 0 && total >= expected) {
        expected = 0;
        process.send?.('received');
      }
      return true;
    },
  };
  const socket = net.connect({ port, host: '127.0.0.1', ...(reads && { onread }) });
  socket.on('error', () => socket.destroy());
  if (!reads) socket.pause();
  await once(socket, 'connect');
  socket.write(hello);
}

for (let i = 0; i < members; i++) await connect(true);
for (let i = 0; i < deaf; i++) await connect(false);
process.on('message', (/** @type {{ bytes: number }} */ { bytes }) => {
  expected = bytes * members;
  total = 0;
  process.send?.('ready');
});
process.on('disconnect', () => process.exit());
process.send?.('connected');
