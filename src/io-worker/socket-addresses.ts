import type net from 'node:net';
import type { ConnectionAddresses } from '../shared/event-record.js';

/** Of a Unix domain socket the side that listens has a path, the other one ''. */
export interface UnixPaths {
  readonly remote: string;
  readonly local: string;
}

export function addressesOf(socket: net.Socket, unix: UnixPaths | undefined, encrypted: boolean): ConnectionAddresses {
  if (unix !== undefined) {
    const { remote, local } = unix;
    return {
      remoteAddress: remote,
      remotePort: 0,
      remoteFamily: 'Unix',
      localAddress: local,
      localPort: 0,
      encrypted,
    };
  }
  return {
    remoteAddress: socket.remoteAddress ?? '',
    remotePort: socket.remotePort ?? 0,
    remoteFamily: socket.remoteFamily === 'IPv6' ? 'IPv6' : 'IPv4',
    localAddress: socket.localAddress ?? '',
    localPort: socket.localPort ?? 0,
    encrypted,
  };
}
