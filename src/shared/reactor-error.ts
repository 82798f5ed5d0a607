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
  ERR_REACTOR_LOG_FAILED: 'The log cannot be written, or a full file of it not deleted; cause has the error',
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
  /** Of what a module of the user's threw: the line to look at is there. */
  readonly stack?: string;
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
/** Of a stack, besides the message that it begins with; of causes it is as short as their messages. */
const MAX_STACK = 4096;
/** As JSON. An error that takes more with its stacks goes without them: some characters take six bytes. */
const MAX_BYTES_WITH_STACKS = 64 * 1024;

/** Their causes were thrown by modules of the user's. */
const aboutModules: ReadonlySet<unknown> = new Set<ReactorErrorCode>([
  'ERR_REACTOR_CODEC_FAILED',
  'ERR_REACTOR_SERVICE_FAILED',
  'ERR_REACTOR_LOGIC_FAILED',
]);

export function toErrorData(error: unknown): ErrorData {
  return bounded(dataOf(error, 0, 0));
}

/** Of something that a module of the user's threw: with its stack, and those of its causes. */
export function thrownErrorData(thrown: unknown): ErrorData {
  return bounded(dataOf(thrown, 0, MAX_STACK));
}

/** @param mostStack characters of its stack; 0: it goes without */
function dataOf(error: unknown, depth: number, mostStack: number): ErrorData {
  const most = depth === 0 ? MAX_MESSAGE : MAX_CAUSE;
  if (!(error instanceof Error)) return { name: 'Error', message: cut(String(error), most) };
  const { name, code, syscall, errno, address, port, cause } = error as NodeJS.ErrnoException & {
    address?: string;
    port?: number;
  };
  const message = cut(messageOf(error), most);
  const stack = mostStack === 0 ? undefined : stackOf(error, message, mostStack);
  const mostBelow = aboutModules.has(code) ? MAX_STACK : Math.min(mostStack, MAX_CAUSE);
  return {
    name: cut(String(name), MAX_FIELD),
    message,
    ...(typeof code === 'string' && { code: cut(code, MAX_FIELD) }),
    ...(syscall !== undefined && { syscall: cut(String(syscall), MAX_FIELD) }),
    ...(typeof errno === 'number' && { errno }),
    ...(address !== undefined && { address: cut(String(address), MAX_FIELD) }),
    ...(typeof port === 'number' && { port }),
    ...(cause !== undefined && depth < MAX_CAUSES && { cause: dataOf(cause, depth + 1, mostBelow) }),
    ...(stack !== undefined && { stack }),
  };
}

/** It has the whole message in front, which may be long; its end is what is wanted. */
function stackOf(error: Error, message: string, most: number): string | undefined {
  const { stack } = error;
  if (typeof stack !== 'string') return undefined;
  const whole = messageOf(error);
  const shorter = whole === message ? stack : stack.replace(whole, () => message);
  return cut(shorter, message.length + most);
}

function bounded(data: ErrorData): ErrorData {
  if (!hasStack(data)) return data;
  return Buffer.byteLength(JSON.stringify(data)) <= MAX_BYTES_WITH_STACKS ? data : withoutStacks(data);
}

function hasStack({ stack, cause }: ErrorData): boolean {
  return stack !== undefined || (cause !== undefined && hasStack(cause));
}

function withoutStacks({ stack: _, cause, ...data }: ErrorData): ErrorData {
  return { ...data, ...(cause !== undefined && { cause: withoutStacks(cause) }) };
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most - 3)}...`;
}

/** Of several addresses that were tried, each has an error of its own, and the one around them has no message. */
function messageOf(error: Error): string {
  if (error.message !== '' || !(error instanceof AggregateError)) return String(error.message);
  return error.errors.map((each) => (each instanceof Error ? each.message : String(each))).join('; ');
}

/** The same error again in this thread: a ReactorError if it was one, otherwise an Error with the system's fields. */
export function fromErrorData(data: ErrorData): Error {
  const { name, message, code, cause, stack, ...system } = data;
  const options: ErrorOptions = cause === undefined ? {} : { cause: fromErrorData(cause) };
  const error = isReactorCode(code) ? new ReactorError(code, message, options) : new Error(message, options);
  if (!(error instanceof ReactorError)) Object.assign(error, system, { name }, code !== undefined && { code });
  if (stack !== undefined) error.stack = stack;
  return error;
}

export function isReactorCode(code: unknown): code is ReactorErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorCodes, code);
}
