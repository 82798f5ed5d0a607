import { eventKind } from '../shared/event-record.js';
import type { RetainedInput } from './lane-trail.js';
import { countFrames, frameEnd, withoutFrames } from './whole-frames.js';

/** What is known of a thread that gets no more of a connection's input. */
export interface Leaver {
  /** How many messages are done, as the counter that wraps. */
  readonly done: number;
  /** Messages behind those that it has done with, too: by their place among those that are not done. */
  readonly overtaken: ReadonlySet<number>;
  /** It has not left of its own will. */
  readonly died: boolean;
}

/**
 * What another thread is to get of what one has not finished, in order, and how many messages are left out of it: what was overtaken. The
 * messages behind those are numbered anew.
 */
export function leftToDo(
  unfinished: readonly RetainedInput[],
  { done, overtaken, died }: Leaver,
): { readonly left: RetainedInput[]; readonly removed: number } {
  const left: RetainedInput[] = [];
  let place = 0;
  let removed = 0;
  let isOvertaken = false;
  for (const input of unfinished) {
    let { payload } = input;
    if (input.kind === eventKind.MESSAGES) {
      const undone = withoutDone(input, done);
      payload = withoutFrames(undone, place, overtaken);
      const count = countFrames(undone);
      place += count;
      removed += count - countFrames(payload);
      isOvertaken = payload.length === 0;
    } else if (input.kind !== eventKind.PART) {
      isOvertaken = overtaken.has(place++);
      if (isOvertaken) removed++;
    }
    // The pieces of a long one go with its first.
    if (isOvertaken) continue;
    // If it left of its own will it has not touched what it did not finish; but a thread before it may have.
    const isSuspect = input.isSuspect || (died && input.wasDelivered);
    left.push({ ...input, payload, upTo: (input.upTo - removed) | 0, isSuspect });
  }
  return { left, removed };
}

/** How many messages there are. */
export function messagesIn(unfinished: readonly RetainedInput[]): number {
  let messages = 0;
  for (const { kind, payload } of unfinished) {
    if (kind === eventKind.MESSAGES) messages += countFrames(payload);
    else if (kind !== eventKind.PART) messages++;
  }
  return messages;
}

/** How many messages there are up to the last one that a thread which has died may have handled. */
export function suspectsIn(unfinished: readonly RetainedInput[]): number {
  let messages = 0;
  let suspects = 0;
  for (const { kind, payload, isSuspect } of unfinished) {
    if (kind === eventKind.MESSAGES) messages += countFrames(payload);
    else if (kind !== eventKind.PART) messages++;
    if (isSuspect) suspects = messages;
  }
  return suspects;
}

/** Cuts off the messages of a record that are done. */
function withoutDone({ payload, upTo }: RetainedInput, done: number): Buffer {
  let start = 0;
  for (let left = countFrames(payload) - ((upTo - done) | 0); left > 0; left--) start = frameEnd(payload, start);
  return payload.subarray(start);
}
