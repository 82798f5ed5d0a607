// @ts-check
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const CLIENTS_FILE = fileURLToPath(new URL('../clients.js', import.meta.url));

/**
 * Connects so many clients, `batch` of them at a time, and calls `whileConnected` as long as they are there.
 * @template T
 * @param {import('./peer-process.js').Peer} peer
 * @param {{ count: number, batch: number }} clients
 * @param {(report: import('../clients.js').ClientsReport) => Promise<T>} whileConnected
 */
export async function withClients({ name, port }, { count, batch }, whileConnected) {
  const child = fork(CLIENTS_FILE, [port, count, batch].map(String));
  const exit = once(child, 'exit');
  const ended = exit.then(([code, signal]) => {
    throw new Error(`The clients of ${name} have ended with ${signal ?? `code ${code}`}`);
  });
  ended.catch(() => {});
  try {
    const [report] = await Promise.race([once(child, 'message'), ended]);
    return await whileConnected(report);
  } finally {
    if (child.connected) child.disconnect();
    await exit;
  }
}
