/** Figures read from shared memory, without asking the io worker. */
export interface ReactorStats {
  /** Connections that this thread has and that are not closed. */
  readonly connections: number;
  readonly accepted: number;
  readonly connected: number;
  /** Peers turned away: no free slot, or no file descriptor. */
  readonly refused: number;
  readonly closed: number;
  /** Frames of kinds that are allowed and that nobody here is interested in. */
  readonly ignoredFrames: number;
  /** How often a socket was not read for a while, because the application or its event ring did not take more. */
  readonly readPauses: number;
  /** Turns of the io worker's loop; it stands still while nothing happens. */
  readonly turns: number;
  /** Bytes in this thread's command ring, and of commands that wait for room in it. */
  readonly commandRingBytes: number;
  readonly commandQueueBytes: number;
}
