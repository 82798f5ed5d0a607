import type { DrainReport } from './control-protocol.js';

export const NOTHING_DRAINED: DrainReport = Object.freeze({ connections: 0, cut: 0, unsentBytes: 0, lostMessages: 0 });

/** Of several io workers, servers and clients. @param reports undefined where nobody could tell */
export function sumDrained(reports: readonly (DrainReport | undefined)[]): DrainReport {
  let { connections, cut, unsentBytes, lostMessages } = NOTHING_DRAINED;
  for (const report of reports) {
    connections += report?.connections ?? 0;
    cut += report?.cut ?? 0;
    unsentBytes += report?.unsentBytes ?? 0;
    lostMessages += report?.lostMessages ?? 0;
  }
  return { connections, cut, unsentBytes, lostMessages };
}
