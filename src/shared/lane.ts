import { ringBytes } from './ring-layout.js';
import { SharedMemory } from './shared-memory.js';

/**
 * A lane connects one app thread with one io worker: a command ring, an event ring, and a port each way whose only use is
 * to wake the other side (doorbell.ts).
 */
export interface LaneMemory {
  readonly commands: SharedArrayBuffer;
  readonly events: SharedArrayBuffer;
}

export const DEFAULT_RING_BYTES: number = 1024 * 1024;
/** The smallest ring in which one read of a socket (READ_BUFFER_BYTES) still fits one record. */
export const MIN_LANE_RING_BYTES: number = 512 * 1024;

/** The io worker reads sockets in pieces of at most this. */
export const READ_BUFFER_BYTES: number = 64 * 1024;

export function allocateLane(commandRingBytes: number, eventRingBytes: number): LaneMemory {
  return {
    commands: SharedMemory.allocate(ringBytes(commandRingBytes)).buffer,
    events: SharedMemory.allocate(ringBytes(eventRingBytes)).buffer,
  };
}
