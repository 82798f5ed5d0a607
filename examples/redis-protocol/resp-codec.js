import { decodeFrames, defineCodec, ReactorError } from 'simple-reactor';

/** RESP, the protocol of Redis: https://redis.io/docs/latest/develop/reference/protocol-spec/ */
const CR = 13;
const STAR = '*'.charCodeAt(0);
const DOLLAR = '$'.charCodeAt(0);

const MAX_ARGUMENTS = 1024;
const MAX_LENGTH_DIGITS = 10;

/**
 * A message is one whole command as it came: an array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\na\r\n`), or a line of text (`PING\r\n`).
 * What is sent are replies that are encoded already.
 */
export default defineCodec({
  /** @param {{ maxCommandBytes?: number } | undefined} options */
  create: (options, { maxFrameBytes }) => ({
    maxMessageBytes: maxFrameBytes,
    open: (channel) => ({
      ...decodeFrames(channel, { maxBytes: options?.maxCommandBytes ?? 1024 * 1024, frameLength }),
      encode: (reply, output) => output.write(reply),
      // A reply is the same for every connection: a broadcast is encoded once.
      sharedEncoding: 'resp',
    }),
  }),
});

/**
 * How long the command at the front is, or undefined if that cannot be told yet.
 * @param {Buffer} bytes
 */
function frameLength(bytes) {
  if (bytes[0] !== STAR) return lineEnd(bytes, 0);
  let at = lineEnd(bytes, 0);
  if (at === undefined) return undefined;
  for (let left = numberAt(bytes, 1, MAX_ARGUMENTS); left > 0; left--) {
    const next = lineEnd(bytes, at);
    if (next === undefined) return undefined;
    if (bytes[at] !== DOLLAR) throw wrong('an argument of a command must be a bulk string');
    at = next + numberAt(bytes, at + 1, Number.MAX_SAFE_INTEGER) + 2;
  }
  return at;
}

/**
 * Where the line that begins at `start` ends, its CR LF included.
 * @param {Buffer} bytes
 * @param {number} start
 */
function lineEnd(bytes, start) {
  if (start >= bytes.length) return undefined;
  const end = bytes.indexOf('\r\n', start);
  return end === -1 ? undefined : end + 2;
}

/**
 * @param {Buffer} bytes
 * @param {number} start
 * @param {number} most
 */
export function numberAt(bytes, start, most) {
  let value = 0;
  for (let at = start; bytes[at] !== CR; at++) {
    const digit = (bytes[at] ?? 0) - 48;
    if (!(digit >= 0 && digit <= 9) || at - start >= MAX_LENGTH_DIGITS) throw wrong('a length must be a number');
    value = value * 10 + digit;
  }
  if (value > most) throw wrong(`a length of ${value}, the most is ${most}`);
  return value;
}

/**
 * What a client does wrong is no fault of the codec: the connection closes with `protocol-error`, which is nothing to be warned of.
 * @param {string} what
 */
function wrong(what) {
  return new ReactorError('ERR_REACTOR_PROTOCOL', what);
}
