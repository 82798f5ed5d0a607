/** What runs in the threads of a LogicPool: one task that lasts as long as the thread. */
import type { MessagePort } from 'node:worker_threads';
import { attach } from './attach.js';
import type { Logic, LogicContext } from './define-logic.js';
import type { ReactorHandle } from './reactor-handle.js';

export interface LogicTask {
  readonly handle: ReactorHandle;
  readonly server: number;
  /** A URL. */
  readonly filename: string;
  readonly index: number;
  readonly data: unknown;
  /** Tells LOGIC_READY, and that the thread is to stop. */
  readonly port: MessagePort;
}

export const LOGIC_READY = 'ready';

export async function runLogic(task: LogicTask): Promise<void> {
  const { handle, filename, index, data, port } = task;
  const logic = logicOf(await import(filename), filename);
  const reactor = await attach(handle);
  const server = reactor.server(task.server);
  const context: LogicContext = { reactor, server, index, data };

  const stopped = new Promise<void>((resolve) => {
    port.once('message', () => resolve());
    port.once('close', () => resolve());
    server.once('close', () => resolve());
  });
  await logic.start?.(context);
  server.on('connection', (connection, info) => logic.onConnection?.(connection, info));
  server.on('message', (connection, message, info) => logic.onMessage?.(connection, message, info));
  server.on('drain', (connection) => logic.onDrain?.(connection));
  server.on('disconnect', (connection, reason, detail) => logic.onDisconnect?.(connection, reason, detail));
  await server.subscribe();
  port.postMessage(LOGIC_READY);
  await stopped;
  await server.unsubscribe();
  await logic.stop?.(context);
  await reactor.close();
  port.close();
}

function logicOf(module: { default?: unknown }, filename: string): Logic {
  const logic = module.default;
  if (typeof logic === 'object' && logic !== null) return logic;
  throw new TypeError(`${filename} has no logic as its default export: export default defineLogic({ ... })`);
}
