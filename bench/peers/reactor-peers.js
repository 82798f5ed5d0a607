// @ts-check
/** Echo servers on a reactor. */
import { LogicPool, Reactor } from 'simple-reactor';
import { work } from './work.js';

/** @type {import('../peers.js').Serve} */
export function copying({ port, workUs }) {
  return inThisThread(port, workUs, 'copy');
}

/** @type {import('../peers.js').Serve} */
export function borrowing({ port, workUs }) {
  return inThisThread(port, workUs, 'borrow');
}

/** @type {import('../peers.js').Serve} It never leaves the io worker. */
export async function service({ port }) {
  const reactor = await Reactor.spawn();
  const services = [new URL('./echo-service.js', import.meta.url)];
  await reactor.listen({ host: '127.0.0.1', port, services });
}

/** @type {(threads: number) => import('../peers.js').Serve} Handlers run in so many threads. */
export function pool(threads) {
  return async ({ port, workUs }) => {
    const reactor = await Reactor.spawn();
    const server = await reactor.listen({ host: '127.0.0.1', port, dispatch: 'balance' });
    await LogicPool.start(server, { filename: new URL('./echo-logic.js', import.meta.url), threads, data: workUs });
  };
}

/**
 * @param {number} port
 * @param {number} workUs
 * @param {'copy' | 'borrow'} messages
 */
async function inThisThread(port, workUs, messages) {
  const reactor = await Reactor.spawn();
  const server = await reactor.listen({ host: '127.0.0.1', port, messages });
  server.on('message', (connection, data) => {
    work(workUs);
    connection.send(data);
  });
}
