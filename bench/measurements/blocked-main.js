// @ts-check
/** A service on the io worker echoes. What do its peers notice when the main thread of the server stands still? */
import { putLoad } from '../suite/load.js';
import { startPeer } from '../suite/peer-process.js';

export const id = 'blocked-main';
export const title = 'Echo by a service while the main thread is blocked';
export const columns = ['messages/s', 'p50 us', 'p99 us', 'p99.9 us', 'lost'];

const LOAD = { connections: 10, bytes: 64, window: 1 };
/** Of the seconds of other scenarios: 5 s by default. */
const LENGTH = 2.5;

/** @param {{ seconds: number }} options */
export async function round({ seconds }) {
  const long = seconds * LENGTH;
  const peer = await startPeer('reactor-service');
  try {
    const free = await putLoad(peer, { ...LOAD, seconds: long });
    // It is asked for its CPU time behind that, so that the load is over when it answers.
    const blocked = await putLoad(peer, { ...LOAD, seconds: long }, () => peer.block?.(long * 1000));
    return { 'main thread free': figures(free), [`blocked for ${long} s`]: figures(blocked) };
  } finally {
    await peer.stop();
  }
}

/** @param {import('../suite/load.js').LoadResult} result */
function figures({ rate, p50, p99, p999, lost }) {
  return [rate, p50, p99, p999, lost];
}
