/** What runs in the threads of a LogicPool: one task that lasts as long as the thread. */
import type { MessagePort } from 'node:worker_threads';
import { defaultOf } from '../shared/module-default.js';
import { attach } from './attach.js';
import { checkLogic, type LogicContext } from './define-logic.js';
import { ignoreEnd } from './io-links.js';
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
  const logic = defaultOf(await import(filename));
  checkLogic(logic);
  const reactor = await attach(handle);
  const server = reactor.server(task.server);
  const context: LogicContext = { reactor, server, index, data };

  const stopped = new Promise<void>((resolve) => {
    port.once('message', () => resolve());
    port.once('close', () => resolve());
    server.once('close', () => resolve());
  });
  // Whoever has spawned the reactor hears of its end as well; here it is the end of the server.
  reactor.on('error', () => undefined);
  await logic.start?.(context);
  // What nobody asks for is not taken: without onMessage, messages wait for whoever iterates.
  const { onConnection, onMessage, onRequest, onDrain, onDisconnect } = logic;
  if (onConnection) server.on('connection', (...args) => onConnection.apply(logic, args));
  if (onMessage) server.on('message', (...args) => onMessage.apply(logic, args));
  if (onRequest) server.on('request', (...args) => onRequest.apply(logic, args));
  if (onDrain) server.on('drain', (...args) => onDrain.apply(logic, args));
  if (onDisconnect) server.on('disconnect', (...args) => onDisconnect.apply(logic, args));
  await server.subscribe();
  port.postMessage(LOGIC_READY);
  await stopped;
  // With the reactor over there is nothing to leave.
  await server.unsubscribe().catch(ignoreEnd);
  // Nobody takes any more what is left of its connections: they tell of their end now, while there is logic to hear it.
  if (server.isOver) await server.finish(AbortSignal.abort());
  await logic.stop?.(context);
  await reactor.close();
  port.close();
}
