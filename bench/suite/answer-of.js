// @ts-check
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The one message of a process that measures something in itself and then ends.
 * @param {URL} file
 * @param {readonly string[]} args
 */
export async function answerOf(file, args) {
  const child = fork(file, args);
  /** @type {unknown[]} */
  const answers = [];
  child.on('message', (answer) => answers.push(answer));
  const [code, signal] = await once(child, 'exit');
  if (answers.length > 0) return answers[0];
  const name = [basename(fileURLToPath(file)), ...args].join(' ');
  throw new Error(`${name} has ended (${signal ?? `code ${code}`}) without an answer`);
}
