import type net from 'node:net';

/** The parts of the handle of an accepted socket that are used, and that no documentation promises. */
export interface AcceptedHandle {
  reading: boolean;
  useUserBuffer(buffer: Uint8Array): void;
  close(): void;
  /** Unix domain sockets have neither of them. */
  setNoDelay?(on: boolean): unknown;
  getpeername?(out: { address?: string }): unknown;
}

interface ListeningHandle {
  onconnection?: (status: number, handle: unknown) => void;
}

/**
 * Takes accepted sockets as the handles that they come as, before the server makes a net.Socket of each: only a socket's constructor
 * takes `onread`, so that another one would have to be made, and the first would be in the way until it is collected.
 *
 * No documentation promises that. What does not look as it is known to, the server has as before, and tells of with 'connection'; so it
 * does of what could not be accepted.
 */
export function takeHandles(server: net.Server, take: (handle: AcceptedHandle) => void): void {
  const listening = (server as unknown as { _handle?: ListeningHandle | null })._handle;
  const tellServer = listening?.onconnection;
  if (listening === null || listening === undefined || typeof tellServer !== 'function') return;
  listening.onconnection = function (this: unknown, status, handle) {
    if (status === 0 && isKnown(handle)) take(handle);
    else Reflect.apply(tellServer, this, [status, handle]);
  };
}

/** The address that an accepted socket has connected from; '' if it is gone, or has none. */
export function peerAddressOf(handle: AcceptedHandle): string {
  const peer: { address?: string } = {};
  handle.getpeername?.(peer);
  return peer.address ?? '';
}

function isKnown(handle: unknown): handle is AcceptedHandle {
  const { reading, useUserBuffer, close } = (handle ?? {}) as Partial<AcceptedHandle>;
  return typeof reading === 'boolean' && typeof useUserBuffer === 'function' && typeof close === 'function';
}
