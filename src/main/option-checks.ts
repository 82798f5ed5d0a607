import { MAX_SLOTS } from '../shared/connection-id.js';
import { MAX_LANES } from '../shared/connection-table.js';
import { MIN_LANE_RING_BYTES } from '../shared/lane.js';
import { ReactorError } from '../shared/reactor-error.js';
import { MAX_RING_CAPACITY } from '../shared/ring-layout.js';
import {
  type Check,
  type Checks,
  check,
  DAY_MS,
  excepted,
  flag,
  integer,
  need,
  nested,
  oneOf,
  powerOfTwo,
  show,
  text,
} from './checks.js';
import { checkCodec, codec, compression } from './codec-checks.js';
import { heartbeat } from './heartbeat-options.js';
import { checkLog, log, logger } from './log-options.js';
import type {
  AddressOptions,
  BroadcastOptions,
  ClientOptions,
  CloseOptions,
  ConnectionOptions,
  ConnectOptions,
  DuplexOptions,
  LimitOptions,
  ListenOptions,
  LogicPoolCloseOptions,
  LogicPoolOptions,
  ReactorCloseOptions,
  RequestOptions,
  ServerLimitOptions,
  SpawnOptions,
  WaitOptions,
} from './options.js';
import { reconnect } from './reconnect-options.js';
import { services } from './service-options.js';
import { unixPath } from './unix-path.js';

const MIB = 1024 * 1024;
/** As many as there are lanes: more than a thread could reasonably serve. */
const MAX_SPAWNED_IO_WORKERS = 32;

const abortSignal: Check = (value) => (value instanceof AbortSignal ? undefined : 'an AbortSignal');

/** More than any network brings; less than what a number holds exactly, also in thousandths. */
const MAX_BYTES_PER_SECOND = 2 ** 40;
const MAX_COUNT = 2 ** 31 - 1;

const limits: Checks<LimitOptions> = {
  maxFrameBytes: integer(256, 512 * MIB),
  maxRequests: integer(1, 1_000_000),
  firstFrameTimeoutMs: integer(1, DAY_MS),
  idleTimeoutMs: integer(1, DAY_MS),
  maxReceiveBytesPerSecond: integer(1024, MAX_BYTES_PER_SECOND),
  maxSendBytesPerSecond: integer(1024, MAX_BYTES_PER_SECOND),
  overRate: oneOf('throttle', 'close'),
};

const serverLimits: Checks<ServerLimitOptions> = {
  ...limits,
  maxConnections: integer(1, MAX_COUNT),
  maxConnectionsPerAddress: integer(1, MAX_COUNT),
  maxAcceptsPerSecond: integer(1, MAX_COUNT),
};

const connection: Checks<ConnectionOptions> = {
  codec,
  compression,
  messages: oneOf('copy', 'borrow'),
  highWaterMark: integer(1, 32 * MIB),
  overflow: oneOf('close', 'drop'),
  limits: nested(limits),
  heartbeat,
  services,
  shutdownTimeoutMs: integer(1, DAY_MS),
  allowHalfOpen: flag,
};

const spawn: Checks<SpawnOptions> = {
  ioWorkers: integer(1, MAX_SPAWNED_IO_WORKERS),
  respawn: flag,
  stallAfterMs: integer(10, DAY_MS),
  maxConnections: integer(1, MAX_SLOTS),
  commandRingBytes: powerOfTwo(MIN_LANE_RING_BYTES, MAX_RING_CAPACITY),
  eventRingBytes: powerOfTwo(MIN_LANE_RING_BYTES, MAX_RING_CAPACITY),
  reuseReadBuffer: flag,
  directWrites: flag,
  log,
  logger,
};

/** tls-options.ts looks into it. */
const tls: Check = () => undefined;

const client: Checks<ClientOptions> = { ...connection, tls, reconnect };

const listen: Checks<ListenOptions> = {
  ...connection,
  limits: nested(serverLimits),
  host: text,
  port: integer(0, 65_535),
  path: unixPath,
  mode: integer(0, 0o777),
  tls,
  backlog: integer(1, 65_535),
  dispatch: oneOf('owner', 'balance', 'all'),
  orphanTimeoutMs: integer(0, DAY_MS),
};

const address: Checks<AddressOptions> = { host: text, port: integer(1, 65_535), path: unixPath };

const MAX_ADDRESSES = 64;

const addresses: Check = (value, path, call) => {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_ADDRESSES) {
    return `an array of 1 to ${MAX_ADDRESSES} addresses`;
  }
  for (const [at, each] of value.entries()) {
    check(call, each, address, `${path}[${at}].`);
    needAddress(call, each, `${path}[${at}].`);
  }
  return undefined;
};

const connect: Checks<ConnectOptions> = {
  ...address,
  addresses,
  timeoutMs: integer(1, DAY_MS),
  signal: abortSignal,
};

const close: Checks<CloseOptions> = { drainMs: integer(0, DAY_MS) };
const reactorClose: Checks<ReactorCloseOptions> = { timeoutMs: integer(0, DAY_MS) };
const duplex: Checks<DuplexOptions> = { allowHalfOpen: flag };
const wait: Checks<WaitOptions> = { signal: abortSignal };
const request: Checks<RequestOptions> = { timeoutMs: integer(1, DAY_MS), signal: abortSignal };
const logicPool: Checks<LogicPoolOptions> = {
  filename: (value) => (value instanceof URL || text(value, '', '') === undefined ? undefined : 'a URL or a path'),
  threads: integer(1, MAX_LANES - 1),
  data: () => undefined,
};
const broadcast: Checks<BroadcastOptions> = {
  except: excepted,
};

/** A port and perhaps a host, or a path. */
function needAddress(call: string, options: AddressOptions, prefix = ''): void {
  if (options.path === undefined) {
    need(call, options, 'port', prefix);
    return;
  }
  if (options.host === undefined && options.port === undefined) return;
  const message = `${call}: option '${prefix}path' takes the place of 'host' and 'port', and cannot be given with them`;
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

// Each throws ERR_REACTOR_INVALID_OPTION, before anything has been started.

export function checkSpawn(options: SpawnOptions): void {
  check('Reactor.spawn()', options, spawn);
  checkLog('Reactor.spawn()', options);
}

export function checkListen(options: ListenOptions): void {
  check('listen()', options, listen);
  checkCodec('listen()', options);
  needAddress('listen()', options);
  if (options.path !== undefined && options.limits?.maxConnectionsPerAddress !== undefined) {
    const message =
      "listen(): option 'limits.maxConnectionsPerAddress' cannot be given with 'path': there are no addresses";
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
  }
  if (options.mode === undefined || (options.path !== undefined && !options.path.startsWith('\0'))) return;
  const message = "listen(): option 'mode' goes with 'path', and a name that begins with '\\0' is no file";
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

export function checkClient(options: ClientOptions): void {
  check('client()', options, client);
  checkCodec('client()', options);
}

/** One address, or several. */
function needAddresses(options: ConnectOptions): void {
  if (options.addresses === undefined) {
    needAddress('connect()', options);
    return;
  }
  if (options.host === undefined && options.port === undefined && options.path === undefined) return;
  const message =
    "connect(): option 'addresses' takes the place of 'host', 'port' and 'path', and cannot be given with them";
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

export function checkConnect(options: ConnectOptions): void {
  check('connect()', options, connect);
  needAddresses(options);
}

/** `reactor.connect()` takes a client's options and a connect's in one. */
export function checkShorthandConnect(options: ConnectOptions & ClientOptions): void {
  check('connect()', options, { ...client, ...connect });
  checkCodec('connect()', options);
  needAddresses(options);
  if (options.reconnect === undefined || options.reconnect === false) return;
  const message =
    "connect(): option 'reconnect' needs a client, which tells of each new connection: reactor.client({ reconnect }).connect()";
  throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
}

export function checkServerClose(options: CloseOptions): void {
  check('close()', options, close);
}

export function checkReactorClose(options: ReactorCloseOptions): void {
  check('close()', options, reactorClose);
}

/** @param dispatch the server's, undefined if it is none of this thread's */
export function checkLogicPool(dispatch: string | undefined, options: LogicPoolOptions): void {
  const call = 'LogicPool.start()';
  if (dispatch !== 'balance' && dispatch !== 'all') {
    const given = dispatch === undefined ? '' : `, this one has '${dispatch}'`;
    const message = `${call} takes a server of this thread that listens with dispatch 'balance' or 'all'${given}`;
    throw new ReactorError('ERR_REACTOR_INVALID_OPTION', message);
  }
  check(call, options, logicPool);
  need(call, options, 'filename');
}

export function checkLogicPoolClose(options: LogicPoolCloseOptions): void {
  check('close()', options, reactorClose);
}

export function checkBroadcast(options: BroadcastOptions): void {
  check('broadcast()', options, broadcast);
}

export function checkPoll(timeoutMs: unknown): void {
  if (typeof timeoutMs === 'number' && timeoutMs >= 0) return;
  const message = `pollSync() takes a number of milliseconds, 0 or more, got ${show(timeoutMs)}`;
  throw new ReactorError('ERR_REACTOR_INVALID_ARGUMENT', message);
}

export function checkRequest(options: RequestOptions): void {
  check('request()', options, request);
}

export function checkDuplex(options: DuplexOptions): void {
  check('toDuplex()', options, duplex);
}

export function checkWait(call: string, options: WaitOptions): void {
  check(call, options, wait);
}
