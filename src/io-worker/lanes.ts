import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { LaneRequest, LaneWelcome } from '../shared/control-protocol.js';
import { Doorbell } from '../shared/doorbell.js';
import { allocateLane, type LaneMemory, type LaneSizes, resetLane, threadWord } from '../shared/lane.js';
import { Ledger } from '../shared/ledger.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { ControlService, type IoWorkerParts } from './control-service.js';
import { EventLane } from './event-lane.js';

/** Gives threads their lanes, and takes them back. */
export class Lanes {
  readonly #parts: IoWorkerParts;
  readonly #sizes: LaneSizes;
  /**
   * Of threads that have ended, for those that come: however many come and go, there is memory for as many as there were at a
   * time. V8 would get round to collecting it only when this thread makes enough garbage.
   */
  readonly #spare: LaneMemory[] = [];

  constructor(parts: IoWorkerParts, sizes: LaneSizes) {
    this.#parts = parts;
    this.#sizes = sizes;
  }

  /** Gives a thread a lane, and takes it back when the thread ends: then its port closes, however it ended. */
  admit(request: LaneRequest): void {
    const { loop } = this.#parts;
    const { doorbellPort, controlPort, threadId } = request;
    const index = loop.freeLaneIndex();
    if (index === undefined) {
      comlink.expose(new ControlService(this.#parts, undefined), nodeEndpoint(controlPort));
      return;
    }
    const memory = this.#spare.pop() ?? allocateLane(this.#sizes);
    const lane = this.#openLane(index, memory, request);
    const { board, table } = loop;
    const welcome: LaneWelcome = {
      lane: index,
      memory,
      board: board.memory.buffer,
      table: table.memory.buffer,
      firstGeneration: table.firstGeneration,
    };
    const service = new ControlService(this.#parts, { lane, welcome });
    comlink.expose(service, nodeEndpoint(controlPort));

    board.openLane(index, threadId);
    loop.addLane(lane);
    doorbellPort.on('message', () => loop.wake());
    doorbellPort.once('close', () => {
      controlPort.close();
      loop.removeLane(lane);
      service.abortAttempts();
      resetLane(memory);
      this.#spare.push(memory);
    });
  }

  #openLane(index: number, memory: LaneMemory, { thread, doorbellPort, threadId }: LaneRequest): EventLane {
    const words = new SharedMemory(thread);
    return new EventLane({
      index,
      threadId,
      commands: new SharedMemory(memory.commands),
      events: new SharedMemory(memory.events),
      ledger: new Ledger(new SharedMemory(memory.ledger)),
      thread: words,
      doorbell: new Doorbell(words, threadWord.ASLEEP, () => doorbellPort.postMessage(0)),
      board: this.#parts.loop.board,
    });
  }
}
