/** The io worker's entry: what `new Worker` runs. */
import { parentPort, threadId, workerData } from 'node:worker_threads';
import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import { ConnectionTable } from '../shared/connection-table.js';
import { IO_WORKER_READY, type IoWorkerData } from '../shared/control-protocol.js';
import { Doorbell, SleepWord } from '../shared/doorbell.js';
import { IO_SLEEP_WORD, Registry } from '../shared/registry.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { ControlService } from './control-service.js';
import { EventLane } from './event-lane.js';
import { EventLoop } from './event-loop.js';

const { registry: registryMemory, table, worker, lane, reuseReadBuffer } = workerData as IoWorkerData;

const registry = new Registry(new SharedMemory(registryMemory));
registry.ioThreadId = threadId;
const loop = new EventLoop(
  worker,
  registry,
  new ConnectionTable(new SharedMemory(table)),
  new SleepWord(registry.memory, IO_SLEEP_WORD),
);

const doorbell = new Doorbell(registry.memory, Registry.laneSleepWord(lane.lane), () =>
  lane.doorbellPort.postMessage(0),
);
lane.doorbellPort.on('message', () => loop.wake());
loop.addLane(
  new EventLane(lane.lane, new SharedMemory(lane.memory.commands), new SharedMemory(lane.memory.events), doorbell),
);
comlink.expose(new ControlService(loop, reuseReadBuffer), nodeEndpoint(lane.controlPort));

parentPort?.postMessage(IO_WORKER_READY);
