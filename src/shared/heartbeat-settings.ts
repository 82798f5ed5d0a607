/** What is done for the peers of a thread that makes no progress. */
export type StallAction = 'report' | 'pause' | 'stop-heartbeat' | 'close';

/** `heartbeat` with its defaults filled in. */
export interface HeartbeatSettings {
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly stallAfterMs: number;
  readonly stallAction: StallAction;
}
