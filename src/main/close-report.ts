import type { DrainReport } from '../shared/control-protocol.js';

/** What has become of the connections that were open when something was closed: all zero but the first if everything went well. */
export interface CloseReport {
  /** How many they were, whichever threads got their events. */
  readonly connections: number;
  /** Of them, how many were cut: not done when the time was up. */
  readonly cut: number;
  /** Bytes that `send()` had accepted on them and that never got to the kernel. */
  readonly unsentBytes: number;
  /**
   * Messages received on them that the application of this thread had not taken, or that a thread had not finished when it died; what
   * other threads have not taken is not known here: the 'disconnect' tells it there.
   */
  readonly unreadMessages: number;
}

export const NOTHING_CLOSED: CloseReport = Object.freeze({ connections: 0, cut: 0, unsentBytes: 0, unreadMessages: 0 });

export function closeReport(
  { connections, cut, unsentBytes, lostMessages }: DrainReport,
  unreadMessages: number,
): CloseReport {
  return { connections, cut, unsentBytes, unreadMessages: unreadMessages + lostMessages };
}

export function sumReports(reports: readonly CloseReport[]): CloseReport {
  let { connections, cut, unsentBytes, unreadMessages } = NOTHING_CLOSED;
  for (const report of reports) {
    connections += report.connections;
    cut += report.cut;
    unsentBytes += report.unsentBytes;
    unreadMessages += report.unreadMessages;
  }
  return { connections, cut, unsentBytes, unreadMessages };
}
