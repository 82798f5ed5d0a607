import type { ConnectionId } from '../shared/connection-id.js';
import { ReactorError } from '../shared/reactor-error.js';
import { show } from './checks.js';
import { TcpConnection } from './tcp-connection.js';

/** Who does not get a message that goes to many: a connection, its id, or several of them. */
export type Excepted = TcpConnection | ConnectionId | Iterable<TcpConnection | ConnectionId>;

/** @param reactor whose connections they must be. Throws ERR_REACTOR_INVALID_OPTION. */
export function idsOf(call: string, except: Excepted | undefined, reactor: string): ConnectionId[] {
  if (except === undefined) return [];
  const isSeveral = typeof except === 'object' && Symbol.iterator in except && !(except instanceof TcpConnection);
  const each: readonly unknown[] = isSeveral ? [...except] : [except];
  return each.map((one) => {
    if (typeof one === 'number') return one;
    if (one instanceof TcpConnection && one.reactor === reactor) return one.id;
    const message = `${call}: option 'except' must be connections of this reactor, or their ids`;
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', `${message}, got ${show(one)}`);
  });
}
