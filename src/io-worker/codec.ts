import type { CloseReason } from '../shared/close-reason.js';
import type { ReactorError } from '../shared/reactor-error.js';

/**
 * Turns the bytes of one connection into messages for its app thread. It keeps what a message needs that has not arrived
 * whole, within a bound of its own.
 */
export interface Decoder {
  /**
   * Decodes `bytes[start, end)` and passes what it finds to its sink. Returns how far it came: `end`, or less if the sink
   * is full. Then the rest is handed in again, from there on, when the sink has room (an empty rest, too).
   * After `sink.fail` the return value means nothing, and the decoder is not used again.
   */
  decode(bytes: Uint8Array, start: number, end: number): number;

  /** What is missing if the peer ended now, or undefined if it would end between messages. */
  incomplete(): string | undefined;
}

/** Where a decoder's findings go. Methods that return false have taken nothing: the sink is full. */
export interface DecoderSink {
  /** `count` whole data frames lie in `bytes[start, end)`. */
  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean;
  /** `bytes[start, end)` is one message. */
  chunk(bytes: Uint8Array, start: number, end: number): boolean;
  /** A message of `length` bytes begins with `bytes[start, end)`; `part` brings the rest. */
  partFirst(length: number, bytes: Uint8Array, start: number, end: number): boolean;
  part(bytes: Uint8Array, start: number, end: number): boolean;

  /** A ping, whose body is `bytes[start, end)`. */
  ping(bytes: Uint8Array, start: number, end: number): void;
  /** A frame that is allowed and that nobody here is interested in. */
  ignored(kind: number): void;
  /** The peer broke the rules: the connection ends. */
  fail(reason: CloseReason, error: ReactorError): void;
}
