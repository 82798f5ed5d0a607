import { numberAt } from './resp-codec.js';

const OK = '+OK\r\n';
const PONG = '+PONG\r\n';
const NIL = '$-1\r\n';
const EMPTY = Buffer.alloc(0);

/**
 * What some commands do to the store.
 * @type {Record<string, (store: Map<string, Buffer>, args: Buffer[]) => string | Buffer>}
 */
const commands = {
  PING: (_store, [text]) => (text === undefined ? PONG : bulk(text)),
  ECHO: (_store, [text = EMPTY]) => bulk(text),
  SET: (store, [key, value]) => {
    if (value === undefined) return error("wrong number of arguments for 'set'");
    store.set(String(key), value);
    return OK;
  },
  GET: (store, [key]) => {
    const value = store.get(String(key));
    return value === undefined ? NIL : bulk(value);
  },
  DEL: (store, keys) => `:${keys.filter((key) => store.delete(String(key))).length}\r\n`,
  EXISTS: (store, keys) => `:${keys.filter((key) => store.has(String(key))).length}\r\n`,
  INCR: (store, [key]) => {
    const value = Number(store.get(String(key)) ?? 0) + 1;
    if (!Number.isSafeInteger(value)) return error('value is not an integer or out of range');
    store.set(String(key), Buffer.from(String(value)));
    return `:${value}\r\n`;
  },
  DBSIZE: (store) => `:${store.size}\r\n`,
  // What redis-cli and redis-benchmark ask when they connect.
  COMMAND: () => '*0\r\n',
  CONFIG: (_store, [, name = EMPTY]) => Buffer.concat([Buffer.from('*2\r\n'), bulk(name), bulk(EMPTY)]),
  CLIENT: () => OK,
};

/**
 * A Redis of a few commands: `redis-cli -p PORT` and `redis-benchmark -t set,get,ping -p PORT` work with it.
 * @param {import('simple-reactor').Reactor} reactor
 * @param {number} port
 */
export async function startServer(reactor, port) {
  /** @type {Map<string, Buffer>} */
  const store = new Map();
  const server = await reactor.listen({
    host: '127.0.0.1',
    port,
    codec: { module: new URL('./resp-codec.js', import.meta.url) },
  });
  server.on('message', (connection, command) => {
    const [name = EMPTY, ...args] = argumentsOf(command);
    const upper = String(name).toUpperCase();
    if (upper === 'QUIT') {
      connection.send(OK);
      connection.shutdown();
      return;
    }
    const run = Object.hasOwn(commands, upper) ? commands[upper] : undefined;
    connection.send(run === undefined ? error(`unknown command '${upper}'`) : run(store, args));
  });
  return server;
}

/**
 * The arguments of a command that the codec has found whole. They are copies: some are kept.
 * @param {Buffer} command
 */
function argumentsOf(command) {
  if (command[0] !== 42)
    return command
      .toString()
      .trim()
      .split(/\s+/)
      .map((word) => Buffer.from(word));
  /** @type {Buffer[]} */
  const args = [];
  let at = command.indexOf('\r\n') + 2;
  while (at < command.length) {
    const start = command.indexOf('\r\n', at) + 2;
    const end = start + numberAt(command, at + 1, command.length);
    args.push(Buffer.from(command.subarray(start, end)));
    at = end + 2;
  }
  return args;
}

/** @param {Buffer} value */
function bulk(value) {
  return Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')]);
}

/** @param {string} text */
function error(text) {
  return `-ERR ${text}\r\n`;
}
