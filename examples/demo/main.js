// @ts-check
// The stress test: 100 connections between two processes, 'hello world' to and fro on each, every echo checked; in the
// last run the server's main thread is blocked for 2 s.
// Run: npm run demo. Takes about 10 s; prints a table and what was checked. Exits with code 1 if anything is wrong.
import { once } from 'node:events';
import { inspect, isDeepStrictEqual } from 'node:util';
import { Child } from './channel.js';
import { conclusions, startProgressBar, table } from './report.js';

const CONNECTIONS = 100;
const BLOCK_MS = 2000;
const PATIENCE_MS = 120_000;
const REPORT_IT =
  'Run the demo again; if it happens again, please report it with this text and the output of `node --version`.';
const BUSY_OR_REPORT = `The machine may be too busy, or was asleep. ${REPORT_IT}`;

const server = new Child('server');
const client = new Child('client');
const children = [server, client];
/** Aborted, with an error for the user, as soon as the demo cannot go on. */
const failure = new AbortController();
const { signal } = failure;
let stage = 'starting';
let ending = false;

/**
 * @param {string} cause
 * @param {string} advice  what the user can do next
 */
function fail(cause, advice) {
  failure.abort(new Error(`The demo has failed while ${stage}: ${cause}. ${advice}`));
}

/** @type {Set<string>} */
const causes = new Set();
for (const child of children) {
  child.on('failure', (cause) => {
    causes.add(cause);
    // One failure brings others along, and the first to be told need not be the first that happened: name all.
    // The end of a process speaks for itself, and does not wait.
    setTimeout(() => fail([...causes].slice(0, 4).join('; '), REPORT_IT), 500).unref();
  });
  child.on('ended', (how) => {
    if (ending && how === 'code 0') return;
    const advice = how.startsWith('code')
      ? 'Its own error is above: for ERR_MODULE_NOT_FOUND run `npm install`, which builds the package; report others.'
      : 'Somebody ended it; SIGKILL may come from the kernel for lack of memory, see its log. Then run the demo again.';
    fail(`the ${child.name} process ended (${how})`, advice);
  });
}
for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM'])) {
  process.once(name, () => fail(`${name} was received`, 'Nothing is left running; start it again whenever you like.'));
}
const watchdog = setTimeout(() => {
  fail(`no progress for ${PATIENCE_MS / 1000} s`, BUSY_OR_REPORT);
}, PATIENCE_MS);

try {
  await demo();
} catch (error) {
  console.error(signal.aborted ? signal.reason.message : error);
  process.exitCode = 1;
} finally {
  clearTimeout(watchdog);
  await Promise.all(children.map((child) => child.kill()));
}

async function demo() {
  const [[port]] = await Promise.all([once(server, 'listening', { signal }), once(client, 'ready', { signal })]);
  client.command('connect', { port, connections: CONNECTIONS });
  await once(client, 'connected', { signal });

  console.log(`${CONNECTIONS} connections to 127.0.0.1:${port}, 'hello world' to and fro on each of them:`);

  const results = [await run('short', 10_000), await run('long', 200_000)];
  const blocked = await run('blocked', 200_000, BLOCK_MS);
  results.push(blocked);
  console.log(`\n${table(results)}\n`);

  stage = 'checking the counts';
  const messages = results.reduce((sum, { roundTrips }) => sum + roundTrips, 0);
  const expected = { open: CONNECTIONS, opened: CONNECTIONS, sent: messages, received: messages };
  for (const child of children) {
    child.command('finish');
    const [counts] = await once(child, 'counts', { signal });
    if (!isDeepStrictEqual(counts, expected)) {
      fail(`the ${child.name} counts ${inspect(counts)}, and should count ${inspect(expected)}`, REPORT_IT);
    }
  }
  if (blocked.longest < 0.9 * BLOCK_MS || blocked.longest > 2 * BLOCK_MS) {
    const cause = `the longest round trip took ${blocked.longest} ms instead of about ${BLOCK_MS} ms`;
    fail(cause, BUSY_OR_REPORT);
  }
  signal.throwIfAborted();
  console.log(conclusions(CONNECTIONS, messages, blocked));

  stage = 'ending';
  ending = true;
  // Nothing forces them to: a process without open connections ends by itself.
  await Promise.all(
    children.map((child) => {
      child.command('close');
      return once(child, 'ended', { signal });
    }),
  );
}

/**
 * @param {string} name
 * @param {number} roundTrips  of all connections together
 * @param {number} [blockMs]  how long to block the server's main thread when a third is done
 */
async function run(name, roundTrips, blockMs = 0) {
  stage = `running '${name}'`;
  const bar = startProgressBar(name, roundTrips);
  let blockPending = blockMs > 0;
  /** @param {number} done */
  const onProgress = (done) => {
    watchdog.refresh();
    bar.update(done);
    if (!blockPending || done < roundTrips / 3) return;
    blockPending = false;
    server.command('block', blockMs);
    bar.update({ note: 'server blocked' });
    server.once('unblocked', () => bar.update({ note: '' }));
  };
  client.on('progress', onProgress);
  try {
    client.command('run', roundTrips);
    const [result] = await once(client, 'result', { signal });
    bar.update(roundTrips);
    return { name, ...result };
  } finally {
    client.off('progress', onProgress);
    bar.stop();
  }
}
