// @ts-check

/** All three use the same: the server on a reactor, the one on `net`, and the peers of both. */
export const HEARTBEAT = { intervalMs: 500, timeoutMs: 1_500 };
