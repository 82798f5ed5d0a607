import type { ConnectionAddresses } from '../shared/event-record.js';

/** What a server's heartbeat says: both ends as Python writes such pairs, and the time in seconds. */
export function heartbeatText(addresses: ConnectionAddresses, now: number): string {
  const { localAddress, localPort, remoteAddress, remotePort } = addresses;
  const seconds = now / 1000;
  const time = Number.isInteger(seconds) ? `${seconds}.0` : String(seconds);
  return `('${localAddress}', ${localPort})#('${remoteAddress}', ${remotePort})#${time}`;
}
