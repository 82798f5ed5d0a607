// @ts-check
// How main.js talks to the processes of the demo: commands go to them, events come back.
import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';

/**
 * What a run came to; times in ms.
 * @typedef {object} RunResult
 * @property {number} roundTrips
 * @property {number} seconds
 * @property {number} p50
 * @property {number} p99
 * @property {number} p999
 * @property {number} longest
 * @property {number} aboveOneSecond  how many round trips took longer than that
 */

/**
 * What one side has counted since it started.
 * @typedef {object} Counts
 * @property {number} open      connections that are open
 * @property {number} opened    connections that have ever been opened
 * @property {number} sent      messages
 * @property {number} received  messages
 */

/**
 * What the peers of one server have seen; times in ms.
 * @typedef {object} Life
 * @property {number} connections  that were made
 * @property {number} open         of them still are
 * @property {number} timedOut     of them ended with 'heartbeat-timeout'
 * @property {number} otherEnds    of them ended with another reason
 * @property {number} signs        signs of life that came since the last 'count'
 * @property {number} silence      the longest that a connection was silent since then, until its end if it has ended
 * @property {number | undefined} roundTrip  the median of all open connections
 */

/** @typedef {'reactor' | 'net'} ServerKind */

/** @typedef {'server' | 'client' | 'heartbeat-reactor' | 'heartbeat-net' | 'heartbeat-peers'} ChildName  its file */

/**
 * What a child tells.
 * @typedef {object} ChildEvents
 * @property {[port: number]} listening   a server: ready
 * @property {[]} ready                   client and peers: ready to connect
 * @property {[]} connected               client and peers: all connections are open
 * @property {[done: number]} progress    the client: round trips of this run so far, whenever there are more
 * @property {[result: RunResult]} result the client: the run is over
 * @property {[]} blocking                a server: its main thread is about to be blocked
 * @property {[]} unblocked               a server: its main thread runs again
 * @property {[lives: Record<ServerKind, Life>]} lives  the peers, ten times a second
 * @property {[counts: Counts]} counts    server and client
 * @property {[cause: string]} failure    all: something happened that must not happen
 * @property {[how: string]} ended        the process has ended
 */

/**
 * Main's end: a child process that runs one of the files here.
 * @extends {EventEmitter<ChildEvents>}
 */
export class Child extends EventEmitter {
  #process;

  /** @param {ChildName} name */
  constructor(name) {
    super();
    this.name = name;
    this.#process = fork(new URL(`${name}.js`, import.meta.url));
    this.#process.on('message', (/** @type {any} */ { event, data }) => this.emit(event, data));
    this.#process.on('error', (error) => this.emit('failure', error.message));
    this.#process.on('exit', (code, signal) => this.emit('ended', signal ?? `code ${code}`));
  }

  get isRunning() {
    const { pid, exitCode, signalCode } = this.#process;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /**
   * @param {string} command
   * @param {unknown} [data]
   */
  command(command, data) {
    // A child that has just died says so by 'ended': the error of this write has nothing to add.
    this.#process.send({ command, data }, () => {});
  }

  async kill() {
    if (!this.isRunning) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}

/**
 * The child's end: does what main says, for as long as main lives.
 * @param {Record<string, (data: any) => void | Promise<void>>} commands
 */
export function handleCommands(commands) {
  process.on('message', async (/** @type {any} */ { command, data }) => {
    try {
      await commands[command]?.(data);
    } catch (error) {
      tellMain('failure', String(error));
    }
  });
  // Ctrl-C goes to all processes of the terminal; what it means is up to main.
  process.on('SIGINT', () => {});
  // Main has ended, in whatever way: nobody is left behind.
  process.on('disconnect', () => process.exit(1));
  if (!process.connected) {
    console.error('This process works for main.js, which is not there (any more): run `npm run demo`.');
    process.exit(1);
  }
}

/**
 * @template {keyof ChildEvents} E
 * @param {E} event
 * @param {ChildEvents[E][0]} [data]
 */
export function tellMain(event, data) {
  process.send?.({ event, data });
}

/**
 * Computes something for so long, and tells before and behind.
 * @param {number} milliseconds
 */
export function block(milliseconds) {
  process.send?.({ event: 'blocking' }, () => {
    const end = performance.now() + milliseconds;
    while (performance.now() < end);
    tellMain('unblocked');
  });
}

/** From now on main does not keep this process alive: it ends when it has nothing else to do. */
export function letProcessEnd() {
  process.channel?.unref();
}
