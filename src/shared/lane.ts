import { MAX_IO_WORKERS } from './connection-id.js';
import { Ledger } from './ledger.js';
import { RING_DATA_OFFSET, ringBytes } from './ring-layout.js';
import { SharedMemory } from './shared-memory.js';

/**
 * A lane connects one app thread with one io worker: a command ring, an event ring, a ledger (ledger.ts), and a port each way
 * whose only use is to wake the other side (doorbell.ts). The memory is the io worker's: when the thread ends, the next one
 * gets it.
 */
export interface LaneMemory {
  readonly commands: SharedArrayBuffer;
  readonly events: SharedArrayBuffer;
  readonly ledger: SharedArrayBuffer;
}

/**
 * What a thread shares with all io workers:
 * ```
 *  byte 0    ASLEEP        doorbell word                                             doorbell.ts
 *      64    TIMERS_TAKEN  the number of the last TIMER event that it has taken         that thread
 *     128    CONNECTIONS   for each io worker, connections whose events it gets      that io worker
 * ```
 */
export const threadWord = { ASLEEP: 0, TIMERS_TAKEN: 16, CONNECTIONS: 32 } as const;
const THREAD_BYTES = 128 + MAX_IO_WORKERS * Int32Array.BYTES_PER_ELEMENT;

export const DEFAULT_RING_BYTES: number = 1024 * 1024;
/** The smallest ring in which one read of a socket (READ_BUFFER_BYTES) still fits one record. */
export const MIN_LANE_RING_BYTES: number = 512 * 1024;

/** The io worker reads sockets in pieces of at most this. */
export const READ_BUFFER_BYTES: number = 64 * 1024;

export interface LaneSizes {
  readonly commandRingBytes: number;
  readonly eventRingBytes: number;
  /** Slots of the connection table. */
  readonly slots: number;
}

export function allocateThreadWords(): SharedMemory {
  return SharedMemory.allocate(THREAD_BYTES);
}

export function allocateLane(sizes: LaneSizes): LaneMemory {
  return {
    commands: SharedMemory.allocate(ringBytes(sizes.commandRingBytes)).buffer,
    events: SharedMemory.allocate(ringBytes(sizes.eventRingBytes)).buffer,
    ledger: Ledger.allocate(sizes.slots).memory.buffer,
  };
}

/** Makes the memory of a lane that is not used any more as good as new: the data of the rings does not matter. */
export function resetLane({ commands, events, ledger }: LaneMemory): void {
  new Uint8Array(commands, 0, RING_DATA_OFFSET).fill(0);
  new Uint8Array(events, 0, RING_DATA_OFFSET).fill(0);
  new Uint8Array(ledger).fill(0);
}
