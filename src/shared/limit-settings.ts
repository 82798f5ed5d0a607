/** The limits of each connection of a server or client. `undefined`: there is none. */
export interface ConnectionLimitSettings {
  readonly firstFrameTimeoutMs: number | undefined;
  readonly idleTimeoutMs: number | undefined;
  readonly maxReceiveBytesPerSecond: number | undefined;
  readonly maxSendBytesPerSecond: number | undefined;
  /** What goes beyond a rate closes the connection; otherwise it waits. */
  readonly closesOverRate: boolean;
}

/** What a server looks at when it accepts. */
export interface AcceptLimitSettings {
  readonly maxConnections: number | undefined;
  readonly maxConnectionsPerAddress: number | undefined;
  readonly maxAcceptsPerSecond: number | undefined;
  /** What its io workers count together (accept-counts.ts). */
  readonly counts: SharedArrayBuffer;
}
