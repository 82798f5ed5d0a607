import type { ConnectionId } from '../shared/connection-id.js';
import { generationOf, slotOf } from '../shared/connection-id.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type Checks, check, excepted, show } from './checks.js';
import type { CommandWriter } from './command-writer.js';
import { type Excepted, idsOf } from './excepted.js';
import { showAs } from './inspection.js';
import { TcpConnection } from './tcp-connection.js';
import { markUncloneable } from './uncloneable.js';

const MAX_NAME_BYTES = 255;

export interface GroupSendOptions {
  /** Members that do not get it: connections, or their ids. */
  readonly except?: Excepted | undefined;
}

const SEND_CHECKS: Checks<GroupSendOptions> = {
  except: excepted,
};

/** @internal What a group needs of its reactor. */
export interface GroupBackend {
  readonly reactor: string;
  /** To the io worker of a connection. Throws ERR_REACTOR_INVALID_ARGUMENT if it cannot be one's id. */
  commandsOf(call: string, id: ConnectionId): CommandWriter;
  /** To all io workers that are there. */
  commands(): CommandWriter[];
}

/**
 * Connections under a name, of any servers and clients of the reactor. Made by `reactor.group()`; the same name is the same group in
 * all threads. A group is there as long as it has members; a connection that closes leaves its groups.
 */
export class Group {
  readonly name: string;
  readonly #bytes: Buffer;
  readonly #backend: GroupBackend;

  static {
    showAs(Group, 'Group', ({ name }) => ({ name }));
  }

  /** @internal */
  constructor(name: unknown, backend: GroupBackend) {
    const bytes = typeof name === 'string' ? Buffer.from(name) : Buffer.alloc(0);
    if (bytes.length < 1 || bytes.length > MAX_NAME_BYTES) {
      const message = `group() takes a name of 1 to ${MAX_NAME_BYTES} bytes of UTF-8, got ${show(name)}`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    this.name = bytes.toString();
    this.#bytes = bytes;
    this.#backend = backend;
    markUncloneable(this);
  }

  /**
   * Adds a connection, given as such or by its id. What this thread sends to the group from now on goes to it, too. One that is
   * closed, or a member already, changes nothing. Throws ERR_REACTOR_INVALID_ARGUMENT. Thread: any.
   */
  join(connection: TcpConnection | ConnectionId): void {
    const id = this.#idOf('join()', connection);
    this.#backend.commandsOf('join()', id).joinGroup(slotOf(id), generationOf(id), this.#bytes);
  }

  /** Takes a connection out. One that is no member changes nothing. Throws ERR_REACTOR_INVALID_ARGUMENT. Thread: any. */
  leave(connection: TcpConnection | ConnectionId): void {
    const id = this.#idOf('leave()', connection);
    this.#backend.commandsOf('leave()', id).leaveGroup(slotOf(id), generationOf(id), this.#bytes);
  }

  /**
   * Sends a message to all members, behind what this thread has sent to them before. It goes to each io worker once, and is encoded
   * there once for all members that encode alike. A member on which more than its overflow limit would wait is closed or skipped, as
   * its `overflow` says; one whose codec cannot carry the message is skipped, which counts in its `droppedMessages`. The others are
   * not held up. A group without members gets nothing.
   *
   * Returns false, and sends nothing, if more than 16 MiB of this and of broadcasts wait in this thread already, or if the reactor is
   * closed. Throws ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_INVALID_ARGUMENT. Thread: any.
   */
  send(data: Uint8Array | string, options: GroupSendOptions = {}): boolean {
    check('send()', options, SEND_CHECKS);
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) {
      const message = `send() takes a Uint8Array or a string, got ${show(data)}`;
      throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
    }
    const message = typeof data === 'string' ? Buffer.from(data) : data;
    const except = idsOf('send()', options.except, this.#backend.reactor);
    const writers = this.#backend.commands();
    // To all or to none.
    if (writers.length === 0 || !writers.every((commands) => commands.hasRoomForBroadcast(message.length)))
      return false;
    for (const commands of writers) commands.sendToGroup(this.#bytes, except, message);
    return true;
  }

  #idOf(call: string, connection: unknown): ConnectionId {
    if (typeof connection === 'number') return connection;
    if (connection instanceof TcpConnection && connection.reactor === this.#backend.reactor) return connection.id;
    const message = `${call} takes a connection of this reactor, or its id, got ${show(connection)}`;
    throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
  }
}
