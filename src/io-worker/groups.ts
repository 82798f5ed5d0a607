import type { Broadcast } from './broadcast.js';
import type { Origin } from './origin.js';
import type { TcpConnection } from './tcp-connection.js';

/** Which connections are in which groups. A group is there as long as it has members; a connection that closes leaves all of its. */
export class Groups {
  readonly #members = new Map<string, Set<TcpConnection>>();
  readonly #joined = new Map<TcpConnection, Set<string>>();

  join(name: string, connection: TcpConnection): void {
    add(this.#members, name, connection);
    add(this.#joined, connection, name);
  }

  leave(name: string, connection: TcpConnection): void {
    remove(this.#members, name, connection);
    remove(this.#joined, connection, name);
  }

  /** The connection is closed. */
  drop(connection: TcpConnection): void {
    for (const name of this.#joined.get(connection) ?? []) remove(this.#members, name, connection);
    this.#joined.delete(connection);
  }

  /**
   * Sends to all members but those. Members of several servers and clients that encode alike share one encoding.
   * Returns how many members there are.
   */
  send(name: string, except: ReadonlySet<number>, broadcastFor: (origin: Origin) => Broadcast): number {
    const members = this.#members.get(name);
    if (members === undefined) return 0;
    const broadcasts = new Map<string, Broadcast>();
    // One that overflows closes, and leaves: a set may shrink meanwhile.
    for (const connection of members) {
      if (except.has(connection.id)) continue;
      const { origin } = connection;
      let broadcast = broadcasts.get(origin.encodingKey);
      if (broadcast === undefined) {
        broadcast = broadcastFor(origin);
        broadcasts.set(origin.encodingKey, broadcast);
      }
      connection.broadcast(broadcast);
    }
    return members.size;
  }
}

function add<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}

function remove<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set?.delete(value) === true && set.size === 0) sets.delete(key);
}
