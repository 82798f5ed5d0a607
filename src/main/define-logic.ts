import type { CloseReason } from '../shared/close-reason.js';
import type { CloseDetail, ConnectionInfo, MessageInfo } from './connection-events.js';
import type { Reactor } from './reactor.js';
import type { Reply } from './reply.js';
import type { TcpConnection } from './tcp-connection.js';
import type { TcpServer } from './tcp-server.js';

/** What a logic module knows of its surroundings. */
export interface LogicContext<Data = unknown> {
  /** This thread's own. */
  readonly reactor: Reactor;
  /** The server that the pool was started for. */
  readonly server: TcpServer;
  /** 0 to threads - 1; a thread that replaces another one has its number. */
  readonly index: number;
  /** What was given to `LogicPool.start` as `data`, cloned. */
  readonly data: Data;
}

/**
 * What a pool's threads do. An error that is thrown in any of these, or a promise that rejects, is uncaught: it ends the thread, which is
 * replaced, and its connections go to the others.
 */
export interface Logic<Data = unknown> {
  /** Before the first connection. The pool waits for it. */
  start?(context: LogicContext<Data>): void | Promise<void>;
  /** A connection is this thread's from now on; `info.handedOver` if another thread had it before. */
  onConnection?(connection: TcpConnection, info: ConnectionInfo): void;
  /** A message is done when this returns; if the thread dies in it, another one gets it with `info.redelivered`. */
  onMessage?(connection: TcpConnection, data: Buffer, info: MessageInfo): void;
  /** The peer has called `request()`; `reply` answers, now or later. */
  onRequest?(connection: TcpConnection, data: Buffer, reply: Reply): void;
  onDrain?(connection: TcpConnection): void;
  onDisconnect?(connection: TcpConnection, reason: CloseReason, detail: CloseDetail): void;
  /** After the last one, when the pool closes. The pool waits for it. */
  stop?(context: LogicContext<Data>): void | Promise<void>;
}

/**
 * Types the default export of a module for `LogicPool.start`; it returns what it is given. `Data` is what the pool is started with:
 * `defineLogic<Data>({ ... })`. Thread: any.
 */
export function defineLogic<Data = unknown>(logic: Logic<Data>): Logic<Data> {
  return logic;
}

const members: readonly (keyof Logic)[] = [
  'start',
  'onConnection',
  'onMessage',
  'onRequest',
  'onDrain',
  'onDisconnect',
  'stop',
];

/** Throws a TypeError that names what is wrong with what should be logic. */
export function checkLogic(logic: unknown): asserts logic is Logic {
  if (typeof logic !== 'object' || logic === null) {
    throw new TypeError('it has no logic as its default export: export default defineLogic({ ... })');
  }
  for (const [name, value] of Object.entries(logic)) {
    if (!(members as readonly string[]).includes(name)) {
      throw new TypeError(`its logic has '${name}'; there are ${members.join(', ')}`);
    }
    if (value !== undefined && typeof value !== 'function') throw new TypeError(`its logic's '${name}' is no function`);
  }
}
