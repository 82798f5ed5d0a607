// @ts-check
// The pool's task: computes, and answers the peer from its own thread.
import { threadId } from 'node:worker_threads';
import { attach } from 'simple-reactor';

/**
 * @param {{ handle: import('simple-reactor').ReactorHandle, id: import('simple-reactor').ConnectionId, below: number }} task
 * @returns {Promise<number>} the thread that has answered
 */
export async function answer({ handle, id, below }) {
  // The first task of a thread attaches it; for all others this is the same reactor, at once.
  const reactor = await attach(handle);
  const connection = reactor.connection(id);
  // The peer may have gone while the task waited for a thread.
  if (connection.state !== 'open') return threadId;
  // Answers of several threads to one peer come in no particular order, so each says what it answers.
  connection.send(`${below} ${countPrimes(below)}`);
  return threadId;
}

/** Slow on purpose. @param {number} below */
function countPrimes(below) {
  let count = 0;
  for (let n = 2; n < below; n++) {
    let divisor = 2;
    while (divisor * divisor <= n && n % divisor !== 0) divisor++;
    if (divisor * divisor > n) count++;
  }
  return count;
}
