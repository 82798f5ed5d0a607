// @ts-check
/**
 * The attack of slowloris.js: `node slowloris-attack.js PORT HALF_OPEN PER_SECOND`, from 127.0.0.2. Keeps HALF_OPEN connections on which the
 * first frame never becomes whole, anew whenever one is cut, and says 'ready' when so many stand. From the first byte on its stdin on, it
 * tries PER_SECOND connections more; when that ends, it says how many of the first were cut, how many of the others it tried, and how many
 * of these were closed again: `CUT TRIED REFUSED`.
 */
import net from 'node:net';
import os from 'node:os';

// An attack comes from other machines: it is not to take the processor from those that are measured.
os.setPriority(os.constants.priority.PRIORITY_LOW);

const [port = 0, halfOpen = 0, perSecond = 0] = process.argv.slice(2).map(Number);
const TICK_MS = 10;
const counts = { cut: 0, storm: 0, refused: 0 };
let over = false;
/** @type {Set<net.Socket>} */
const sockets = new Set();

/** @param {() => void} onConnect @param {() => void} onClose */
function connect(onConnect, onClose) {
  const socket = net.connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
  sockets.add(socket);
  socket.on('connect', onConnect);
  socket.on('error', () => undefined);
  socket.resume();
  socket.on('close', () => {
    sockets.delete(socket);
    onClose();
  });
  return socket;
}

let standing = 0;
function hold() {
  // Three bytes of a header of six.
  const socket = connect(
    () => {
      if (++standing === halfOpen) console.log('ready');
      socket.write(Buffer.from([64, 0, 0]));
    },
    () => {
      counts.cut++;
      // Not all at the same moment, as those that are cut have come.
      if (!over) setTimeout(() => !over && hold(), 1000 * Math.random());
    },
  );
}

function storm() {
  counts.storm++;
  connect(
    () => undefined,
    () => void counts.refused++,
  );
}

for (let i = 0; i < halfOpen; i++) setTimeout(hold, (i % 100) * TICK_MS);
process.stdin.once('data', () => {
  const ticks = setInterval(() => {
    for (let i = 0; i < (perSecond * TICK_MS) / 1000; i++) storm();
  }, TICK_MS);
  process.stdin.once('end', () => {
    over = true;
    clearInterval(ticks);
    for (const socket of sockets) socket.destroy();
    console.log(`${counts.cut} ${counts.storm} ${counts.refused}`);
  });
});
