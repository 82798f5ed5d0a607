import type { CloseReason } from '../shared/close-reason.js';
import type { Reply } from './reply.js';

export interface MessageInfo {
  /** True if a thread that has died may have handled this message, or a part of what it asks for. */
  readonly redelivered: boolean;
}

export interface ConnectionInfo {
  /** True if the connection is not new: another thread got its events before. */
  readonly handedOver: boolean;
  /** True if it takes the place of one that its client has lost (`reconnect`). */
  readonly reconnected: boolean;
}

export interface CloseDetail {
  /** Encoded bytes (frame headers included) that `send()` had accepted and that never got to the kernel. */
  readonly unsentBytes: number;
  /** Messages that had been received and that the application had not taken when they were dropped. */
  readonly unreadMessages: number;
  /** Why the peer has ended, if it has said so (codec 'frame') and this thread got the connection's events. */
  readonly goodbye?: string;
  /** The client is going to connect again (`reconnect`): 'reconnecting' or 'reconnectFailed' follows. */
  readonly reconnecting?: true;
  /** What went wrong, if anything did. */
  readonly error?: Error;
}

export interface ConnectionEvents {
  message: [data: Buffer, info: MessageInfo];
  /** The peer has called `request()`: `reply` answers it, now or later. */
  request: [data: Buffer, reply: Reply];
  /** No more than half of the high-water mark is buffered again, after `send()` answered false. */
  drain: [];
  /**
   * The peer's application makes no progress, for so many ms by now; its io worker says so, while it lasts once for each interval of its
   * heartbeat. 0: it goes on. It comes as soon as it is received, messages may still wait in front of it.
   */
  busy: [stallMs: number];
  /**
   * The peer says that it is about to end, and why: one of its close reasons, or another text of up to 256 bytes. It comes as soon as
   * it is received, messages may still wait in front of it; what has been asked can still be answered, but nothing new should be begun.
   */
  goodbye: [reason: string];
  /** The peer has ended its side: there will be no more messages. */
  end: [];
  /** Always the last event. */
  close: [reason: CloseReason, detail: CloseDetail];
}

export type ConnectionState = 'open' | 'closing' | 'closed';
