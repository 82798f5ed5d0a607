import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import type { ReactorError } from '../shared/reactor-error.js';

/**
 * What a server's or client's connections speak: makes the state that each of them has.
 *
 * ```
 *   socket --bytes--> ConnectionCodec.decode --> channel.message() --> application
 *   socket <--bytes-- output.write() <-- ConnectionCodec.encode <----- connection.send()
 * ```
 */
export interface Codec {
  /** The longest message that `encode` takes, in bytes; `send()` throws for a longer one. */
  readonly maxMessageBytes: number;
  /** The shortest one; `send()` throws for a shorter one. Default 0. */
  readonly minMessageBytes?: number | undefined;
  /** Called for each connection, before anything is read. */
  open(channel: CodecChannel): ConnectionCodec;
}

/** The codec of one connection, with its state. Whatever it throws ends this connection and nothing else. */
export interface ConnectionCodec {
  /**
   * Decodes `bytes[start, end)` and gives the channel what it finds. The bytes are valid only during the call: what belongs to
   * a message that is not whole is kept by the codec, within a bound of its own.
   *
   * Returns how far it came: `end`, or less if the channel did not take a message, or if it cannot go on at present
   * (`isWaiting`). Then the rest is handed in again, from there on, when there is room or when `channel.resume()` is called (an
   * empty rest, too: it may be that a message waits in the codec).
   * After `channel.fail` the return value means nothing, and `decode` is not called again.
   *
   * A ReactorError with code ERR_REACTOR_PROTOCOL, ERR_REACTOR_FRAME_TOO_LARGE or ERR_REACTOR_DECOMPRESSION that it throws says that the
   * peer broke the rules: the connection closes as with `channel.fail`. All else that it throws is a fault of the codec's.
   */
  decode(bytes: Uint8Array, start: number, end: number): number;

  /**
   * True: `decode` has taken bytes and cannot give all that was in them yet, as while something is inflated elsewhere;
   * `channel.resume()` follows. Meanwhile `decode` is not called, and what is behind (the end, the close) waits.
   */
  readonly isWaiting?: boolean;

  /** What is missing if the peer ended now, or undefined if it would end between messages. */
  incomplete(): string | undefined;

  /**
   * Encodes one message and writes it to the output. `message` is the codec's to keep or to change. If it returns a promise,
   * whatever is sent meanwhile waits, in order, until it is settled; a rejection ends the connection.
   * @param kind of codec 'frame': the frame's kind; otherwise 0
   */
  encode(message: Buffer, output: CodecOutput, kind: number): void | Promise<void>;

  /**
   * Connections of one server that have the same one encode a message into the same bytes, so that a broadcast is encoded once
   * for all of them. Undefined: each has to encode it for itself. It may change in the life of a connection.
   */
  readonly sharedEncoding?: string | undefined;

  /** What comes out of the command ring is what goes on the wire: nothing is to be encoded. Built-in codecs only. */
  readonly passesThrough?: boolean;

  /** Asks the peer for a sign of life: `channel.pong` follows with the same clock. False: not now. Built-in codecs only. */
  ping?(clock: number): boolean;

  /** The peer is told, if there is a way, that this side's application has stood still for so long. Built-in codecs only. */
  busy?(stallMs: number): void;

  /** The peer is told, if there is a way to tell it, that this side is about to end. Built-in codecs only. */
  goodbye?(reason: CloseReason): void;

  /** A whole frame has come that is no message. Built-in codecs only. */
  readonly hasReceivedFrame?: boolean;

  /** Nothing comes any more behind what has been read. Built-in codecs only. */
  peerEnded?(): void;

  /** The connection is closed: timers and the like end here. */
  close?(): void;
}

/** Where encoded bytes go. */
export interface CodecOutput {
  /** The bytes go on the wire behind what was written before; they must not change any more. */
  write(bytes: Uint8Array): void;
}

/** What a codec has of its connection. */
export interface CodecChannel {
  readonly role: 'server' | 'client';
  readonly addresses: ConnectionAddresses;
  /** False while the socket is not read, because the application does not take more, or the connection is closed: that the peer is silent means nothing then. */
  readonly isReading: boolean;

  // ---- from decode. Methods that return false have taken nothing: return the position in front of it from `decode`.

  /**
   * `bytes[start, end)` is one message: of the bytes that `decode` was given, or of memory of the codec's that it does not
   * change any more.
   */
  message(bytes: Uint8Array, start: number, end: number): boolean;
  /**
   * A message of `length` bytes begins with `bytes[start, end)`; `part` brings the rest, and nothing else may come in between.
   * For messages of more than 65,530 bytes whose length is known: they need not be put together in the codec.
   * @param kind of codec 'frame'
   */
  partFirst(length: number, bytes: Uint8Array, start: number, end: number, kind?: number): boolean;
  part(bytes: Uint8Array, start: number, end: number): boolean;

  /** The peer broke the rules, or has fallen silent: the connection ends. Also at any other time, as from a timer. */
  fail(reason: CloseReason, error: ReactorError): void;
  /** Something came that is allowed and that nobody here is interested in; it is counted, and logged at `info`. Not for heartbeats. */
  ignored(): void;

  // ---- at any time

  /** `decode` can go on, after it had returned less than `end` of its own accord. */
  resume(): void;
  /**
   * Has the codec write something of its own, such as a greeting, an answer or a heartbeat: `write` is called when it is its turn
   * behind the messages that were sent before, usually at once. False, and nothing happens: too much of the codec's own waits
   * already, as when a peer asks and does not read the answers; or this side has been shut down.
   */
  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean;
}

/** A longer message should go on in parts as it arrives, if its length is known. */
export const STREAM_ABOVE_BYTES: number = 64 * 1024 - 6;
