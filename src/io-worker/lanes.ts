import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { LaneRequest } from '../shared/control-protocol.js';
import { Doorbell } from '../shared/doorbell.js';
import { threadWord } from '../shared/lane.js';
import { Ledger } from '../shared/ledger.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { ControlService, type IoWorkerParts } from './control-service.js';
import { EventLane } from './event-lane.js';

/** Gives a thread a lane, and takes it back when the thread ends: then its port closes, however it ended. */
export function admit(parts: IoWorkerParts, request: LaneRequest): void {
  const { loop } = parts;
  const { doorbellPort, controlPort, threadId } = request;
  const index = loop.freeLaneIndex();
  const lane = index === undefined ? undefined : openLane(parts, index, request);
  const service = new ControlService(parts, lane);
  comlink.expose(service, nodeEndpoint(controlPort));
  if (lane === undefined) return;

  loop.board.openLane(lane.index, threadId);
  loop.addLane(lane);
  doorbellPort.on('message', () => loop.wake());
  doorbellPort.once('close', () => {
    controlPort.close();
    loop.removeLane(lane);
    service.abortAttempts();
  });
}

function openLane({ loop }: IoWorkerParts, index: number, request: LaneRequest): EventLane {
  const { memory, doorbellPort, threadId } = request;
  const thread = new SharedMemory(memory.thread);
  return new EventLane({
    index,
    threadId,
    commands: new SharedMemory(memory.commands),
    events: new SharedMemory(memory.events),
    ledger: new Ledger(new SharedMemory(memory.ledger)),
    thread,
    doorbell: new Doorbell(thread, threadWord.ASLEEP, () => doorbellPort.postMessage(0)),
    board: loop.board,
  });
}
