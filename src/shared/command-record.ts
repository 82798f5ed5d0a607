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
 *  PAUSE       stop reading
 *  RESUME      read again
 *  FLUSH       answer FLUSHED when all that was sent before is with the kernel
 * ```
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
} as const;
export type CommandKind = (typeof commandKind)[keyof typeof commandKind];

/** SHUTDOWN and DESTROY carry a close reason. */
export const REASON_BYTES = 4;
