/** The io worker's entry: what `new Worker` runs. */

import { parentPort, workerData } from 'node:worker_threads';
import { ConnectionTable } from '../shared/connection-table.js';
import { IO_WORKER_READY, type IoWorkerData, isLaneRequest } from '../shared/control-protocol.js';
import { SleepWord } from '../shared/doorbell.js';
import { monotonicMs } from '../shared/monotonic-clock.js';
import { Registry } from '../shared/registry.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { IO_SLEEP_WORD, StatusBoard } from '../shared/status-board.js';
import { ClientServices } from './client-services.js';
import type { IoWorkerParts } from './control-service.js';
import { EventLoop } from './event-loop.js';
import { Lanes } from './lanes.js';
import { openLog } from './open-log.js';
import { TlsClientContexts } from './tls-client-contexts.js';

/** So long the threads may take to restore the servers of a dead io worker, before one of them is not to be expected any more. */
const RESTORE_MS = 3000;

const data = workerData as IoWorkerData;
const { worker, ioWorkers, firstFreshServer, sizes, sockets } = data;

const board = new StatusBoard(new SharedMemory(data.board));
const loop = new EventLoop(
  worker,
  board,
  new ConnectionTable(new SharedMemory(data.table), data.firstGeneration),
  new SleepWord(board.memory, IO_SLEEP_WORD),
);
const threshold = new Registry(new SharedMemory(data.registry));
const log = data.log && openLog(data.log, { worker, ioWorkers, threshold, board });
if (log !== undefined) loop.log = log;
const { predecessorError } = data;
if (predecessorError !== undefined) {
  const { message, stack } = predecessorError;
  loop.log.write('error', { error: message, stack }, 'The io worker ended unexpectedly, and this one takes its place');
}
const restoredUntil = predecessorError !== undefined ? monotonicMs() + RESTORE_MS : 0;
const parts: IoWorkerParts = {
  loop,
  ioWorkers,
  sockets,
  restoredUntil,
  firstFreshServer,
  reconnectors: new Map(),
  clientContexts: new TlsClientContexts(),
  closedServers: new Set(),
  clientServices: new ClientServices(loop),
  closeLog: async (timeoutMs) => log?.close(timeoutMs),
};
const lanes = new Lanes(parts, sizes);

function onMessage(message: unknown): void {
  if (isLaneRequest(message)) lanes.admit(message);
}

// The thread that started this one asks directly, all others through the thread id that they find in the registry.
parentPort?.on('message', onMessage);
process.on('workerMessage', onMessage);

parentPort?.postMessage(IO_WORKER_READY);
