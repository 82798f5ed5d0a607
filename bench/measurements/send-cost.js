// @ts-check
/** What it costs the calling thread to send 64 bytes. The peer, in another process, reads and does nothing with it. */
import { answerOf } from '../suite/answer-of.js';

export const id = 'send-cost';
export const title = 'Cost of sending 64 bytes in the calling thread';
export const columns = ['ns in the call', 'ns of the thread'];

const SENDER_FILE = new URL('./send-process.js', import.meta.url);

/** @param {{ seconds: number }} options */
export async function round({ seconds }) {
  return {
    'socket.write()': await figures('net', seconds),
    'socket.write(), corked': await figures('net-cork', seconds),
    'connection.send()': await figures('reactor', seconds),
  };
}

/**
 * @param {'net' | 'net-cork' | 'reactor'} kind
 * @param {number} seconds
 */
async function figures(kind, seconds) {
  return /** @type {number[]} */ (await answerOf(SENDER_FILE, [kind, String(seconds)]));
}
