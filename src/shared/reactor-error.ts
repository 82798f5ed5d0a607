/** Every code that a ReactorError can have, with what it means. docs/errors.md says what to do about each. */
export const errorCodes = {
  ERR_REACTOR_INVALID_OPTION: 'An option is unknown or has a value that is not allowed',
  ERR_REACTOR_INVALID_ARGUMENT: 'A method was called with an argument of the wrong type',
  ERR_REACTOR_MESSAGE_TOO_LARGE: 'A message is longer than this connection may carry',
  ERR_REACTOR_LISTEN_FAILED: 'The address cannot be listened on; cause has the system error',
  ERR_REACTOR_CONNECT_FAILED: 'No connection could be made; cause has the system error',
  ERR_REACTOR_CONNECT_TIMEOUT: 'No connection was made within timeoutMs',
  ERR_REACTOR_TOO_MANY_CONNECTIONS: 'The reactor has as many connections as its maxConnections allows',
  ERR_REACTOR_TOO_MANY_THREADS: 'The reactor has as many threads attached as it can serve',
  ERR_REACTOR_UNSUPPORTED: 'The codec of the connection does not support this',
  ERR_REACTOR_CONNECTION_CLOSED: 'The connection closed before the operation was done',
  ERR_REACTOR_CONNECTION_LOST: 'The connection broke; cause has the system error',
  ERR_REACTOR_TLS: 'TLS failed: a certificate was refused, or the peer does not speak it; cause has the error',
  ERR_REACTOR_PROTOCOL: 'The peer sent bytes that the codec does not allow',
  ERR_REACTOR_FRAME_TOO_LARGE: 'The peer announced a frame longer than limits.maxFrameBytes',
  ERR_REACTOR_DECOMPRESSION: 'What the peer sent cannot be decompressed, or is too long when it is',
  ERR_REACTOR_HEARTBEAT_TIMEOUT: 'The peer was silent for longer than its heartbeat allows',
  ERR_REACTOR_LIMIT: 'The connection went beyond one of its limits; the message says which',
  ERR_REACTOR_APP_STALLED: 'The thread that gets the events of the connection made no progress',
  ERR_REACTOR_SERVICE_FAILED: 'A service could not be loaded, or it threw; cause has its error',
  ERR_REACTOR_CODEC_FAILED: 'A codec could not be loaded, or it threw; cause has its error',
  ERR_REACTOR_REQUEST_TIMEOUT: 'No answer to a request came within timeoutMs',
  ERR_REACTOR_REQUEST_FAILED: 'The peer answered a request with a failure; the message has its text',
  ERR_REACTOR_TOO_MANY_REQUESTS: 'As many requests as are allowed are waiting for an answer',
  ERR_REACTOR_ALREADY_ANSWERED: 'A request was answered twice',
  ERR_REACTOR_OVERFLOW: 'More waits to be sent than the overflow limit allows, and the message was dropped',
  ERR_REACTOR_ABORTED: 'The AbortSignal was aborted; cause has its reason',
  ERR_REACTOR_CLOSED: 'The reactor, server or client has been closed',
  ERR_REACTOR_NO_SUCH_SERVER: 'There is no server of that id, or it has been closed',
  ERR_REACTOR_LOGIC_FAILED:
    'A logic module could not be loaded or started, or its thread has failed; cause has its error',
  ERR_REACTOR_LOG_FAILED: 'The log cannot be written; cause has the error',
  ERR_REACTOR_IO_WORKER_CRASH: 'The io worker ended unexpectedly; cause has its error if there was one',
  ERR_REACTOR_INTERNAL: 'A defect in simple-reactor; please report it',
} as const;

export type ReactorErrorCode = keyof typeof errorCodes;

/** An error as plain data, which any port or ring can carry. */
export interface ErrorData {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
  readonly syscall?: string;
  readonly errno?: number;
  readonly address?: string;
  readonly port?: number;
  readonly cause?: ErrorData;
}

/** The one class of errors that simple-reactor makes. Match on `code`, which is stable; messages are for people. */
export class ReactorError extends Error {
  override readonly name = 'ReactorError';
  readonly code: ReactorErrorCode;

  constructor(code: ReactorErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Causes may go in circles. */
const MAX_CAUSES = 8;
/** Characters. What an error says must fit a record of the ring, whoever has made it and of what. */
const MAX_MESSAGE = 4096;
const MAX_CAUSE = 1024;
const MAX_FIELD = 256;

export function toErrorData(error: unknown, depth = 0): ErrorData {
  const most = depth === 0 ? MAX_MESSAGE : MAX_CAUSE;
  if (!(error instanceof Error)) return { name: 'Error', message: cut(String(error), most) };
  const { name, code, syscall, errno, address, port, cause } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  return {
    name: cut(String(name), MAX_FIELD),
    message: cut(messageOf(error), most),
    ...(typeof code === 'string' && { code: cut(code, MAX_FIELD) }),
    ...(syscall !== undefined && { syscall: cut(String(syscall), MAX_FIELD) }),
    ...(errno !== undefined && { errno }),
    ...(address !== undefined && { address: cut(String(address), MAX_FIELD) }),
    ...(port !== undefined && { port }),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: toErrorData(cause, depth + 1) }),
  };
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 3)}...`;
}

/** Of several addresses that were tried, each has an error of its own, and the one around them has no message. */
function messageOf(error: Error): string {
  if (error.message !== '' || !(error instanceof AggregateError)) return error.message;
  return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join('; ');
}

/** The same error again in this thread: a ReactorError if it was one, otherwise an Error with the system's fields. */
export function fromErrorData(data: ErrorData): Error {
  const { name, message, code, cause, ...system } = data;
  const options: ErrorOptions = cause === undefined ? {} : { cause: fromErrorData(cause) };
  if (code !== undefined && Object.hasOwn(errorCodes, code)) {
    return new ReactorError(code as ReactorErrorCode, message, options);
  }
  const error = Object.assign(new Error(message, options), system, code !== undefined && { code });
  error.name = name;
  return error;
}
