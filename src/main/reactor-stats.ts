import { LATENESS_BUCKETS, type Lateness, latenessOf } from '../shared/lateness-histogram.js';
import type { Registry } from '../shared/registry.js';
import { type BoardCounter, boardCounter } from '../shared/status-board.js';
import type { IoLinks } from './io-links.js';
import type { Stall } from './stall-watch.js';

/** Figures read from shared memory, without asking the io workers. */
export interface ReactorStats {
  /** Connections whose events this thread gets and that are not closed. */
  readonly connections: number;
  /** Of all threads and io workers. */
  readonly openConnections: number;
  /** Connections that no thread gets the events of: they wait for one to subscribe. */
  readonly heldConnections: number;
  readonly accepted: number;
  readonly connected: number;
  /** Attempts of clients to connect again; with several addresses, all of them are one. */
  readonly reconnectAttempts: number;
  /** Peers turned away: no free slot, no file descriptor, or a TLS handshake that failed. */
  readonly refused: number;
  /** Of these, peers turned away because of `limits` of a server: too many at once, from one address, or in a second. */
  readonly overLimit: number;
  /** So many 'tlsClientError' were not told to a thread, since its event ring was full. */
  readonly untoldTlsErrors: number;
  readonly closed: number;
  /** Pings that heartbeats have sent, and how many ms after they were due, of all since the io workers started: within 20 %. */
  readonly pings: number;
  readonly pingLateness: Lateness;
  /** How often a thread has made no progress for as long as `heartbeat.onStall` allows; once for each of its servers and clients. */
  readonly stalls: number;
  /** Frames of kinds that are allowed and that nobody here is interested in. */
  readonly ignoredFrames: number;
  /** How often services have thrown, and how often they have held an io worker up for longer than their `slowMs`. */
  readonly serviceFailures: number;
  readonly slowServiceCalls: number;
  /** How often a socket was not read for a while, because the application or its event ring did not take more. */
  readonly readPauses: number;
  /** Turns of the io workers' loops; it stands still while nothing happens. */
  readonly turns: number;
  /** How often messages of `broadcast()` and to groups were encoded: once for all connections that encode alike, on each io worker. */
  readonly broadcastEncodings: number;
  /** Events of timers that io workers have sent, to all threads; ticks that were missed are in one event. */
  readonly timerEvents: number;
  /** Threads that have ended, and whose unfinished work was passed on. */
  readonly endedThreads: number;
  /** Bytes in this thread's command rings, and of commands that wait for room in them. */
  readonly commandRingBytes: number;
  readonly commandQueueBytes: number;
  /** Every thread that is attached: for how long it has handled nothing although events wait, and how many bytes of them. */
  readonly threads: readonly Stall[];
  /** Lines of the log that were not written, since too many waited. */
  readonly droppedLogLines: number;
  /** How often each io worker has been started; 1 if it never crashed. */
  readonly ioWorkerStarts: readonly number[];
}

export function readStats(links: IoLinks, registry: Registry): ReactorStats {
  const sum = (counter: BoardCounter): number =>
    links.all.reduce((total, { board }) => total + board.counter(counter), 0);
  return {
    connections: links.connectionCount,
    openConnections: sum(boardCounter.OPEN),
    heldConnections: sum(boardCounter.HELD),
    accepted: sum(boardCounter.ACCEPTED),
    connected: sum(boardCounter.CONNECTED),
    reconnectAttempts: sum(boardCounter.RECONNECT_ATTEMPTS),
    refused: sum(boardCounter.REFUSED),
    overLimit: sum(boardCounter.OVER_LIMIT),
    untoldTlsErrors: sum(boardCounter.UNTOLD_TLS_ERRORS),
    closed: sum(boardCounter.CLOSED),
    pings: sum(boardCounter.PINGS),
    pingLateness: pingLatenessOf(links),
    stalls: sum(boardCounter.STALLS),
    ignoredFrames: sum(boardCounter.IGNORED_FRAMES),
    serviceFailures: sum(boardCounter.SERVICE_FAILURES),
    slowServiceCalls: sum(boardCounter.SLOW_SERVICE_CALLS),
    readPauses: sum(boardCounter.READ_PAUSES),
    turns: sum(boardCounter.TURNS),
    broadcastEncodings: sum(boardCounter.BROADCAST_ENCODINGS),
    timerEvents: sum(boardCounter.TIMER_FIRES),
    // A thread has a lane to each io worker; one that has been started again has not seen them all.
    endedThreads: Math.max(0, ...links.all.map(({ board }) => board.counter(boardCounter.RECLAIMED_LANES))),
    commandRingBytes: links.all.reduce((total, { lane }) => total + lane.commands.ringUsedBytes, 0),
    commandQueueBytes: links.all.reduce((total, { lane }) => total + lane.commands.queuedBytes, 0),
    threads: threadsOf(links),
    droppedLogLines: sum(boardCounter.DROPPED_LOG_LINES),
    ioWorkerStarts: links.all.map(({ worker }) => registry.epochOf(worker)),
  };
}

function pingLatenessOf(links: IoLinks): Lateness {
  const counts = new Float64Array(LATENESS_BUCKETS);
  let max = 0;
  for (const { board } of links.all) {
    for (const [bucket, count] of board.pingLateness.entries()) (counts[bucket] as number) += count;
    max = Math.max(max, board.counter(boardCounter.PING_LATENESS_MAX));
  }
  return latenessOf(counts, max);
}

/** Every thread that is attached, once: the longest time of all its lanes, and all that waits for it. */
export function threadsOf(links: IoLinks): Stall[] {
  const now = Date.now();
  const threads = new Map<number, Stall>();
  for (const { board } of links.up) {
    for (const { threadId, stalledMs, waitingBytes } of board.lanes(now)) {
      const before = threads.get(threadId);
      threads.set(threadId, {
        threadId,
        stalledMs: Math.max(stalledMs, before?.stalledMs ?? 0),
        waitingBytes: waitingBytes + (before?.waitingBytes ?? 0),
      });
    }
  }
  return [...threads.values()];
}
