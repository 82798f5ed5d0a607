// @ts-check
// Server and client in one go: starts server.js on a free port and runs client.js against it.
// Run: node examples/echo/main.js. Prints what they print; exits with code 1 if that is not the echo.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const serverFile = fileURLToPath(new URL('server.js', import.meta.url));
const clientFile = fileURLToPath(new URL('client.js', import.meta.url));

const server = spawn(process.execPath, [serverFile, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const serverEnd = once(server, 'exit').then(([code]) => {
  throw new Error(`server.js ended with code ${code} before it listened; its own error is above`);
});
try {
  const [greeting] = await Promise.race([once(server.stdout.setEncoding('utf8'), 'data'), serverEnd]);
  const port = greeting.trim().split(':').at(-1);
  const { stdout: echo } = await promisify(execFile)(process.execPath, [clientFile, port], { timeout: 10_000 });
  process.stdout.write(greeting + echo);
  if (echo !== 'hello world\n') throw new Error(`client.js should print the echo 'hello world', and printed '${echo}'`);
} finally {
  server.kill();
}
