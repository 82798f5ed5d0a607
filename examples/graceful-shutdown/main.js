// @ts-check
// Starts server.js, connects three clients to it, sends it SIGTERM, and prints what each side sees.
// Run: node examples/graceful-shutdown/main.js. Exits with code 1 if anything was lost that need not be.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Reactor } from 'simple-reactor';

const file = fileURLToPath(new URL('server.js', import.meta.url));
const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
const lines = createInterface(child.stdout);
/** @type {string[]} */
const said = [];
lines.on('line', (line) => {
  said.push(line);
  console.log(`server: ${line}`);
});
const ended = once(child, 'exit');
await once(lines, 'line');
const port = Number(said[0]?.split(' ').at(-1));

const reactor = await Reactor.spawn();
const client = reactor.client();
client.on('goodbye', (_connection, reason) => console.log(`client: the server says goodbye (${reason})`));
client.on('disconnect', (_connection, reason, { goodbye }) =>
  console.log(`client: closed (${reason}, after goodbye ${goodbye})`),
);
const idle = await client.connect({ host: '127.0.0.1', port });
const busy = await client.connect({ host: '127.0.0.1', port });
const idleEnd = once(idle, 'close');

// A plain socket that asks for much and never reads: a frame is length, kind, flags, body.
const deaf = net.connect(port, '127.0.0.1').on('error', () => undefined);
await once(deaf, 'connect');
deaf.pause();
deaf.write(Buffer.from([6, 0, 0, 0, 0, 0, ...Buffer.from('much')]));

const answer = busy.request('a long question');
// One that is answered at once shows that the question in front of it has arrived.
await Promise.all([idle.request('a short question'), new Promise((resolve) => setTimeout(resolve, 100))]);
const last = busy.request('a question just before the end');
await busy.flush();
await new Promise((resolve) => setTimeout(resolve, 50));
child.kill('SIGTERM');

console.log(`client: ${await answer}`);
console.log(`client: ${await last}`);
await idleEnd;
const [code] = await ended;
deaf.destroy();
await reactor.close();

console.log(`server: exit code ${code}`);
if (code !== 0) throw new Error(`server.js should end with code 0, and ended with ${code}`);
if (!said.at(-1)?.startsWith('closed 3 connections, 1 of them cut')) {
  throw new Error(`One connection of three should be cut, and the server says '${said.at(-1)}'`);
}
