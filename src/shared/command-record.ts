/**
 * Records from an app thread to the io worker. Slot and generation in the record's header name the connection; a record
 * whose generation is not the slot's current one is dropped (and its bytes taken off BUFFERED).
 *
 * ```
 *  SEND        encoded bytes of one or more whole messages; grows while it is the last record
 *  SEND_PART   encoded bytes of a message that needs more than one record ...
 *  SEND_LAST   ... and its last piece: only now it is sent, so a thread that dies in between leaves no torn message
 *  SHUTDOWN    u32 close reason: send what was sent before, then FIN
 *  DESTROY     u32 close reason: close now
 *  PAUSE       stop reading, as long as this thread says so
 *  RESUME      this thread does not mind reading
 *  FLUSH       answer FLUSHED when all that was sent before is with the kernel
 *  WATCH       this thread gets none of the connection's events; tell it of CLOSE all the same
 *  SETTLED     all messages that came so far are done: nothing need be kept for another thread
 *  RELEASED    answers LEAVE: this thread does nothing more with the connection's events. A u32 for each message that it has done with,
 *              though not with all in front of it: its place among those that are not done, from 0 on
 *  CLOSE_DONE  answers CLOSE: the application has heard of it
 * ```
 * These have the id of a server in place of the slot, and no generation:
 * ```
 *  BROADCAST_PART  bytes of a broadcast that needs more than one record ...
 *  BROADCAST       ... and its last ones: u32 n, n connection ids (f64) to leave out, then the message
 *  GROUP_PART      bytes of a message to a group that needs more than one record ...
 *  GROUP_SEND      ... and its last ones: u8 length of the group's name, the name, then as BROADCAST; no id
 * ```
 * GROUP_JOIN and GROUP_LEAVE are about a connection again, and carry the group's name.
 *
 * TIMER_ADD and TIMER_REMOVE name no connection: timer-record.ts.
 */
export const commandKind = {
  SEND: 1,
  SEND_PART: 2,
  SEND_LAST: 3,
  SHUTDOWN: 4,
  DESTROY: 5,
  PAUSE: 6,
  RESUME: 7,
  FLUSH: 8,
  WATCH: 9,
  SETTLED: 10,
  RELEASED: 11,
  CLOSE_DONE: 12,
  BROADCAST_PART: 13,
  BROADCAST: 14,
  GROUP_JOIN: 15,
  GROUP_LEAVE: 16,
  GROUP_PART: 17,
  GROUP_SEND: 18,
  TIMER_ADD: 19,
  TIMER_REMOVE: 20,
} as const;
export type CommandKind = (typeof commandKind)[keyof typeof commandKind];

/** SHUTDOWN and DESTROY carry a close reason. */
export const REASON_BYTES = 4;

const COUNT_BYTES = 4;
const ID_BYTES = 8;

export function encodeOvertaken(places: readonly number[]): Buffer {
  const payload = Buffer.alloc(places.length * COUNT_BYTES);
  for (const [index, place] of places.entries()) payload.writeUInt32LE(place, index * COUNT_BYTES);
  return payload;
}

export function decodeOvertaken(payload: Buffer): Set<number> {
  const places = new Set<number>();
  for (let at = 0; at < payload.length; at += COUNT_BYTES) places.add(payload.readUInt32LE(at));
  return places;
}

export interface Broadcast {
  readonly except: readonly number[];
  readonly message: Buffer;
}

export function encodeBroadcast(except: readonly number[], message: Uint8Array): Buffer {
  const start = COUNT_BYTES + except.length * ID_BYTES;
  const payload = Buffer.allocUnsafeSlow(start + message.length);
  payload.writeUInt32LE(except.length, 0);
  for (const [index, id] of except.entries()) payload.writeDoubleLE(id, COUNT_BYTES + index * ID_BYTES);
  payload.set(message, start);
  return payload;
}

export interface GroupMessage extends Broadcast {
  readonly group: string;
}

export function encodeGroupMessage(group: Uint8Array, except: readonly number[], message: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(group.length), group, encodeBroadcast(except, message)]);
}

export function decodeGroupMessage(payload: Buffer): GroupMessage {
  const start = 1 + payload.readUInt8(0);
  return { group: payload.toString('utf8', 1, start), ...decodeBroadcast(payload.subarray(start)) };
}

export function decodeBroadcast(payload: Buffer): Broadcast {
  const count = payload.readUInt32LE(0);
  const except = Array.from({ length: count }, (_, index) => payload.readDoubleLE(COUNT_BYTES + index * ID_BYTES));
  return { except, message: payload.subarray(COUNT_BYTES + count * ID_BYTES) };
}
