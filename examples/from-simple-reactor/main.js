// @ts-check
// Server and client in one go: starts server.js on a free port and runs client.js against it.
// Run: node examples/from-simple-reactor/main.js. Prints what they print; exits with code 1 if messages are missing.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const serverFile = fileURLToPath(new URL('server.js', import.meta.url));
const clientFile = fileURLToPath(new URL('client.js', import.meta.url));

const server = spawn(process.execPath, [serverFile, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const serverEnd = once(server, 'exit').then(([code]) => {
  throw new Error(`server.js ended with code ${code} before the client did; its own error is above`);
});
try {
  const [greeting] = await Promise.race([once(server.stdout.setEncoding('utf8'), 'data'), serverEnd]);
  const port = greeting.trim().split(':').at(-1);
  const clientEnd = promisify(execFile)(process.execPath, [clientFile, port], { timeout: 30_000 });
  const { stdout } = await Promise.race([clientEnd, serverEnd]);
  process.stdout.write(greeting + stdout);
  if (!stdout.startsWith('done: 10000 messages, 110000 bytes, 100 connections')) {
    throw new Error('client.js should have counted 10000 messages of 11 bytes');
  }
} finally {
  serverEnd.catch(() => {});
  server.kill();
}
