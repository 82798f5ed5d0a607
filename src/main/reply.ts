import { frameKind } from '../shared/frame-format.js';
import { ReactorError } from '../shared/reactor-error.js';
import { type SendOutcome, sendOutcome } from './send-path.js';

/**
 * Answers a request, once, at any time after it came. Returns what `send()` would: false if the connection is above its
 * high-water mark, or not open any more. With `overflow: 'drop'` also if the answer was dropped; then `isAnswered` stays false, and it
 * can be answered again.
 *
 * Throws ERR_REACTOR_ALREADY_ANSWERED, ERR_REACTOR_INVALID_ARGUMENT, ERR_REACTOR_MESSAGE_TOO_LARGE (the longest answer is 6 bytes
 * shorter than `limits.maxFrameBytes`); after the latter two it can still be answered. Thread: app.
 */
export interface Reply {
  (data: Uint8Array | string): boolean;
  /** Says that it has failed: the peer's `request()` rejects with ERR_REACTOR_REQUEST_FAILED and this text. */
  fail(message: string): boolean;
  /** True once it has been answered. */
  readonly isAnswered: boolean;
}

/** @param onAnswered called when it has been answered */
export function makeReply(
  send: (call: string, kind: number, data: Uint8Array | string) => SendOutcome,
  onAnswered: () => void,
): Reply {
  let isAnswered = false;
  const answer = (call: string, kind: number, data: Uint8Array | string): boolean => {
    if (isAnswered) {
      throw new ReactorError('ERR_REACTOR_ALREADY_ANSWERED', `${call}: the request has been answered already`);
    }
    const outcome = send(call, kind, data);
    // Dropped (`overflow: 'drop'`): it can still be answered.
    if (outcome === sendOutcome.OVERFLOW) return false;
    isAnswered = true;
    onAnswered();
    return outcome === sendOutcome.SENT;
  };
  const reply = (data: Uint8Array | string): boolean => answer('reply()', frameKind.RESPONSE, data);
  const fail = (message: string): boolean => answer('reply.fail()', frameKind.REQUEST_FAILED, String(message));
  return Object.defineProperty(Object.assign(reply, { fail }), 'isAnswered', {
    get: () => isAnswered,
  }) as unknown as Reply;
}
