// @ts-check
/** What one message costs the thread that sends it, and the wait until the kernel has all of them. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { Reactor } from 'simple-reactor';

const SINK_FILE = new URL('../measurements/send-process.js', import.meta.url);

/**
 * @param {import('./tasks.js').Tasks} tasks
 * @param {number} batch
 */
export async function addSendTasks(tasks, batch) {
  const sink = fork(SINK_FILE, ['sink']);
  const [port] = await once(sink, 'message');
  const reactor = await Reactor.spawn();
  const connection = await reactor.connect({ host: '127.0.0.1', port });
  const message = Buffer.alloc(64, 'x');
  tasks.add('send() of 64 bytes, until flushed', batch, async () => {
    for (let i = 0; i < batch; i++) connection.send(message);
    await connection.flush();
  });
  return async () => {
    await reactor.close();
    sink.disconnect();
  };
}
