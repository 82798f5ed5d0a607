// @ts-check
/** How long it takes in a fresh process until a server listens, from the first call on: modules are loaded by then. */
import { answerOf } from '../suite/answer-of.js';

export const id = 'spawn-to-listening';
export const title = 'From Reactor.spawn() to listening, in a fresh process';
export const columns = ['ms'];

const PROCESS_FILE = new URL('./listening-process.js', import.meta.url);

export async function round() {
  return { net: [await msUntilListening('net')], reactor: [await msUntilListening('reactor')] };
}

/** @param {'net' | 'reactor'} kind */
async function msUntilListening(kind) {
  return Number(await answerOf(PROCESS_FILE, [kind]));
}
