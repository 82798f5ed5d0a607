import * as comlink from 'comlink';
import nodeEndpoint from 'comlink/dist/esm/node-adapter.mjs';
import type { LaneRequest, LaneWelcome } from '../shared/control-protocol.js';
import { Doorbell } from '../shared/doorbell.js';
import { allocateLane, type LaneMemory, type LaneSizes, resetLane, threadWord } from '../shared/lane.js';
import { Ledger } from '../shared/ledger.js';
import { SharedMemory } from '../shared/shared-memory.js';
import { ControlService, type IoWorkerParts, type OpenedLane } from './control-service.js';
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

  /**
   * Listens to a thread that wants a lane. It gets one when it calls `join`; one whose request came so late that it has given up, and
   * asked again, does not. The lane is taken back when the port closes, and so it does however the thread ends.
   */
  admit(request: LaneRequest): void {
    const { loop } = this.#parts;
    const { doorbellPort, controlPort } = request;
    let opened: OpenedLane | undefined;
    const service = new ControlService(this.#parts, () => {
      opened = this.#open(request);
      return opened;
    });
    comlink.expose(service, nodeEndpoint(controlPort));
    doorbellPort.on('message', () => loop.wake());
    doorbellPort.once('close', () => {
      controlPort.close();
      service.abortAttempts();
      if (opened === undefined) return;
      loop.removeLane(opened.lane);
      const { memory } = opened.welcome;
      resetLane(memory);
      this.#spare.push(memory);
    });
  }

  /** Undefined: there are as many as there may be. */
  #open(request: LaneRequest): OpenedLane | undefined {
    const { loop } = this.#parts;
    const index = loop.freeLaneIndex();
    if (index === undefined) return undefined;
    const memory = this.#spare.pop() ?? allocateLane(this.#sizes);
    const lane = this.#makeLane(index, memory, request);
    const { board, table } = loop;
    board.openLane(index, request.threadId);
    loop.addLane(lane);
    const welcome: LaneWelcome = {
      lane: index,
      memory,
      board: board.memory.buffer,
      table: table.memory.buffer,
      firstGeneration: table.firstGeneration,
    };
    return { lane, welcome };
  }

  #makeLane(index: number, memory: LaneMemory, { thread, doorbellPort, threadId }: LaneRequest): EventLane {
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
      chunkPool: this.#parts.loop.chunkPool,
      workers: { own: this.#parts.loop.worker, count: this.#parts.ioWorkers },
    });
  }
}
