import { EventEmitter } from 'node:events';
import { threadId } from 'node:worker_threads';
import type { CloseReason } from '../shared/close-reason.js';
import { type ConnectionId, generationOf, MAX_GENERATION, slotOf, workerOf } from '../shared/connection-id.js';
import { ConnectionTable, slotState } from '../shared/connection-table.js';
import type { IoWorkerControl } from '../shared/control-protocol.js';
import { Doorbell, SleepWord } from '../shared/doorbell.js';
import type { CloseEvent, OpenEvent } from '../shared/event-record.js';
import { allocateLane, DEFAULT_RING_BYTES } from '../shared/lane.js';
import { ReactorError } from '../shared/reactor-error.js';
import { IO_SLEEP_WORD, Registry, registryCounter } from '../shared/registry.js';
import { RingConsumer } from '../shared/ring-consumer.js';
import { RingProducer } from '../shared/ring-producer.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { AppLane } from './app-lane.js';
import { CommandWriter } from './command-writer.js';
import type { ConnectionContext } from './connection-host.js';
import { withDeadline } from './deadline.js';
import { type ControlValue, IoWorkerThread } from './io-worker-thread.js';
import { checkClient, checkListen, checkReactorClose, checkShorthandConnect, checkSpawn } from './option-checks.js';
import {
  type ClientOptions,
  type ConnectOptions,
  connectionSettings,
  DEFAULT_BACKLOG,
  DEFAULT_DRAIN_MS,
  DEFAULT_MAX_CONNECTIONS,
  type ListenOptions,
  type ReactorCloseOptions,
  type SpawnOptions,
} from './options.js';
import type { ReactorStats } from './reactor-stats.js';
import { surfaceErrors } from './surface.js';
import { TcpClient } from './tcp-client.js';
import { TcpConnection } from './tcp-connection.js';
import type { TcpHost } from './tcp-host.js';
import { TcpServer } from './tcp-server.js';

export interface ReactorEvents {
  /** The io worker has ended unexpectedly; every connection has closed with 'io-worker-crash'. */
  error: [error: ReactorError];
}

const IO_WORKER = 0;
const LANE = 0;

/**
 * A reactor: an io worker that holds the sockets, and this thread's way to it.
 *
 * Keeps the process alive while it has servers or connections, unless `unref()` says otherwise.
 */
export class Reactor extends EventEmitter<ReactorEvents> {
  readonly #registry: Registry;
  readonly #thread: IoWorkerThread;
  readonly #lane: AppLane;
  readonly #context: ConnectionContext;
  readonly #hosts = new Map<number, TcpHost>();
  readonly #connections = new Map<number, TcpConnection>();
  #calls = 0;
  #servers = 0;
  #referenced = true;
  #closing: Promise<void> | undefined;
  #ended = false;
  #crash: ReactorError | undefined;

  private constructor(
    registry: Registry,
    table: ConnectionTable,
    thread: IoWorkerThread,
    commands: SharedMemory,
    events: SharedMemory,
  ) {
    super();
    this.#registry = registry;
    this.#thread = thread;
    const { doorbellPort } = thread;
    const ioDoorbell = new Doorbell(registry.memory, IO_SLEEP_WORD, () => doorbellPort.postMessage(0));
    const sleepWord = new SleepWord(registry.memory, Registry.laneSleepWord(LANE));
    this.#lane = new AppLane(
      new RingConsumer(events),
      sleepWord,
      () => ioDoorbell.ring(),
      this,
      (onWaiting) => new CommandWriter(new RingProducer(commands), table, ioDoorbell, onWaiting),
    );
    this.#context = { worker: IO_WORKER, lane: LANE, table, commands: this.#lane.commands };
    doorbellPort.on('message', () => this.#lane.rung());
    this.#updateRef();
    this.#lane.wake();
  }

  /**
   * Starts a reactor and its io worker.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, before anything has been started, or ERR_REACTOR_IO_WORKER_CRASH.
   * Thread: any; the io worker ends with the thread that has started it.
   */
  static async spawn(options: SpawnOptions = {}): Promise<Reactor> {
    checkSpawn(options);
    const registry = Registry.allocate();
    registry.startEpoch();
    registry.setLaneThread(LANE, threadId);
    const table = ConnectionTable.allocate(options.maxConnections ?? DEFAULT_MAX_CONNECTIONS);
    const memory = allocateLane(
      options.commandRingBytes ?? DEFAULT_RING_BYTES,
      options.eventRingBytes ?? DEFAULT_RING_BYTES,
    );
    const thread = await IoWorkerThread.start(
      {
        registry: registry.memory.buffer,
        table: table.memory.buffer,
        worker: IO_WORKER,
        lane: { lane: LANE, memory },
        reuseReadBuffer: options.reuseReadBuffer ?? true,
      },
      (error) => reactor.#onCrash(error),
    );
    const reactor = new Reactor(
      registry,
      table,
      thread,
      new SharedMemory(memory.commands),
      new SharedMemory(memory.events),
    );
    return reactor;
  }

  /**
   * Listens. Resolves once the address is bound; add listeners before the next `await`.
   *
   * Rejects with ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_LISTEN_FAILED (`cause` has the system error),
   * ERR_REACTOR_CLOSED, ERR_REACTOR_IO_WORKER_CRASH. Thread: app.
   */
  async listen(options: ListenOptions): Promise<TcpServer> {
    checkListen(options);
    this.#checkOpen('listen()');
    const { host, port, backlog = DEFAULT_BACKLOG } = options;
    const server = new TcpServer(this.#registry.nextId(), options, (self, drainMs) =>
      this.#closeHost(self, 'server-close', drainMs),
    );
    // Known before the call is answered: its first connections may be announced earlier than the answer.
    this.#hosts.set(server.id, server);
    try {
      const request = { server: server.id, host, port, backlog, connection: connectionSettings(options) };
      server.listening(await this.#call('listen', LANE, request));
    } catch (error) {
      this.#hosts.delete(server.id);
      throw error;
    }
    this.#servers++;
    this.#updateRef();
    return server;
  }

  /** Makes a client; nothing is connected yet. Throws ERR_REACTOR_INVALID_OPTION, ERR_REACTOR_CLOSED. Thread: app. */
  client(options: ClientOptions = {}): TcpClient {
    checkClient(options);
    this.#checkOpen('client()');
    const client = new TcpClient(this.#registry.nextId(), options, {
      nextAttempt: () => this.#registry.nextId(),
      connect: async (request) => {
        this.#checkOpen('connect()');
        return this.#call('connect', LANE, request);
      },
      abort: (attempt) => void this.#call('abortConnect', attempt).catch(() => undefined),
      close: (self, drainMs) => this.#closeHost(self, 'local-shutdown', drainMs),
    });
    this.#hosts.set(client.id, client);
    return client;
  }

  /** One connection, with a client of its own. Rejects like `client()` and `TcpClient.connect()`. Thread: app. */
  async connect(options: ConnectOptions & ClientOptions): Promise<TcpConnection> {
    checkShorthandConnect(options);
    const { host, port, timeoutMs, signal, ...clientOptions } = options;
    const client = this.client(clientOptions);
    const forget = (): void => void this.#hosts.delete(client.id);
    client.once('disconnect', forget);
    try {
      return await client.connect({
        port,
        ...(host !== undefined && { host }),
        ...(timeoutMs !== undefined && { timeoutMs }),
        ...(signal !== undefined && { signal }),
      });
    } catch (error) {
      forget();
      throw error;
    }
  }

  /**
   * The connection of that id, for sending and for its state; one that is over is 'closed'.
   * Throws ERR_REACTOR_INVALID_ARGUMENT if it cannot be an id of this reactor. Thread: any.
   */
  connection(id: ConnectionId): TcpConnection {
    const { table, worker } = this.#context;
    const valid = Number.isSafeInteger(id) && id > 0 && workerOf(id) === worker && slotOf(id) < table.slots;
    const [slot, generation] = valid ? [slotOf(id), generationOf(id)] : [0, 0];
    if (generation < 1 || generation > MAX_GENERATION) {
      throw new ReactorError(
        'ERR_REACTOR_INVALID_ARGUMENT',
        `connection() takes the id of a connection, got ${String(id)}`,
      );
    }
    return this.connectionAt(slot, generation) ?? new TcpConnection(this.#context, slot, generation);
  }

  /** Read from shared memory, now. Thread: app. */
  stats(): ReactorStats {
    const registry = this.#registry;
    return {
      connections: this.#connections.size,
      accepted: registry.counter(registryCounter.ACCEPTED),
      connected: registry.counter(registryCounter.CONNECTED),
      refused: registry.counter(registryCounter.REFUSED),
      closed: registry.counter(registryCounter.CLOSED),
      ignoredFrames: registry.counter(registryCounter.IGNORED_FRAMES),
      readPauses: registry.counter(registryCounter.READ_PAUSES),
      turns: registry.counter(registryCounter.TURNS),
      commandRingBytes: this.#lane.commands.ringUsedBytes,
      commandQueueBytes: this.#lane.commands.queuedBytes,
    };
  }

  /** Keeps the process alive while it has servers or connections (the default). Thread: app. */
  ref(): this {
    this.#referenced = true;
    this.#updateRef();
    return this;
  }

  /** Lets the process end, whatever is open. Thread: app. */
  unref(): this {
    this.#referenced = false;
    this.#updateRef();
    return this;
  }

  /**
   * Ends it gracefully: stops accepting and connecting, lets every connection handle what it has received and send what it
   * has to send, cuts what is not done after `timeoutMs`, ends the io worker. Connections end with reason 'reactor-close'.
   * Twice is the same as once. Throws ERR_REACTOR_INVALID_OPTION. Thread: app.
   */
  async close(options: ReactorCloseOptions = {}): Promise<void> {
    checkReactorClose(options);
    this.#closing ??= this.#shutDown(options.timeoutMs ?? DEFAULT_DRAIN_MS);
    return this.#closing;
  }

  /** Ends it now: connections close with reason 'reactor-close'. Thread: app. */
  destroy(): void {
    if (this.#ended) return;
    this.#closing ??= Promise.resolve();
    void this.#thread.terminate();
    this.#end('reactor-close');
    for (const host of this.#hosts.values()) host.finishAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- what the lane brings ----

  /** @internal */
  connectionAt(slot: number, generation: number): TcpConnection | undefined {
    const connection = this.#connections.get(slot);
    return connection?.generation === generation ? connection : undefined;
  }

  /** @internal */
  onOpen(slot: number, generation: number, event: OpenEvent): void {
    const host = this.#hosts.get(event.origin);
    const connection = new TcpConnection(this.#context, slot, generation, host, event);
    this.#connections.set(slot, connection);
    this.#updateRef();
    if (host === undefined) connection.destroy();
    else host.onOpen(connection, event.attempt);
  }

  /** @internal */
  onClose(connection: TcpConnection, event: CloseEvent): void {
    this.#connections.delete(connection.slot);
    this.#updateRef();
    connection.receiveClose(event);
  }

  /** @internal */
  onProgress(): void {
    this.#registry.noteLaneProgress(LANE);
  }

  // ----

  /** A call on the control plane. It keeps the process alive, as everything does that somebody waits for. */
  #call<K extends keyof IoWorkerControl>(method: K, ...args: Parameters<IoWorkerControl[K]>): Promise<ControlValue<K>> {
    return this.#hold(() => this.#thread.call(method, ...args));
  }

  async #hold<T>(wait: () => Promise<T>): Promise<T> {
    this.#calls++;
    this.#updateRef();
    try {
      return await wait();
    } finally {
      this.#calls--;
      this.#updateRef();
    }
  }

  async #closeHost(host: TcpHost, reason: CloseReason, drainMs: number): Promise<void> {
    await this.#hold(() =>
      withDeadline(drainMs, async (deadline) => {
        if (!this.#ended) await this.#call('closeOrigin', host.id, reason, drainMs).catch(ignoreEnd);
        await this.#lane.caughtUp();
        await host.finish(deadline);
      }),
    );
    if (host instanceof TcpClient) {
      host.failAttempts(new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the client is closed'));
    }
    this.#hosts.delete(host.id);
    if (host instanceof TcpServer && !this.#ended) this.#servers--;
    this.#updateRef();
  }

  async #shutDown(timeoutMs: number): Promise<void> {
    if (this.#ended) return;
    await this.#hold(() =>
      withDeadline(timeoutMs, async (deadline) => {
        await this.#call('close', timeoutMs).catch(ignoreEnd);
        // The last events are in the ring by now; they come before the end.
        await this.#lane.caughtUp();
        await Promise.all([...this.#hosts.values()].map((host) => host.finish(deadline)));
        await this.#thread.terminate();
      }),
    );
    this.#end('reactor-close');
  }

  #onCrash(error: ReactorError): void {
    // What the io worker had put into the ring before is still there.
    this.#crash = error;
    this.#lane.drainThen(() => {
      this.#end('io-worker-crash');
      this.emit('error', error);
    });
  }

  /** The io worker is gone: what it has not told is told in its place. */
  #end(reason: CloseReason): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#lane.stop();
    const connections = [...this.#connections.values()];
    this.#connections.clear();
    this.#servers = 0;
    this.#updateRef();
    const ended = this.#crash ?? new ReactorError('ERR_REACTOR_CLOSED', 'connect(): the reactor is closed');
    for (const host of this.#hosts.values()) if (host instanceof TcpClient) host.failAttempts(ended);
    const { table } = this.#context;
    for (const connection of connections) {
      const { slot, generation } = connection;
      const event = { reason, unsentBytes: connection.bufferedAmount, counts: table.counts(slot) };
      table.setState(slot, generation, slotState.CLOSED);
      surfaceErrors(() => connection.receiveClose(event));
    }
  }

  #checkOpen(call: string): void {
    if (this.#crash !== undefined) throw this.#crash;
    if (this.#closing === undefined && !this.#ended) return;
    throw new ReactorError('ERR_REACTOR_CLOSED', `${call}: the reactor is closed`);
  }

  #updateRef(): void {
    const open = this.#servers + this.#calls + this.#connections.size > 0;
    if (this.#referenced && open) this.#thread.doorbellPort.ref();
    else this.#thread.doorbellPort.unref();
  }
}

/** Closing something whose io worker has ended meanwhile is done. */
function ignoreEnd(error: unknown): void {
  if (
    error instanceof ReactorError &&
    (error.code === 'ERR_REACTOR_CLOSED' || error.code === 'ERR_REACTOR_IO_WORKER_CRASH')
  )
    return;
  throw error;
}
