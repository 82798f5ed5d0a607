import type { CloseReason } from '../shared/close-reason.js';
import type { ConnectionAddresses } from '../shared/event-record.js';
import type { ReactorError } from '../shared/reactor-error.js';
import type { CodecChannel, CodecOutput } from './codec.js';
import type { ConnectionInput } from './connection-input.js';
import type { InflationBudget } from './inflation-budget.js';

/** What a channel asks of its connection. */
export interface ChannelOwner {
  readonly role: 'server' | 'client';
  readonly addresses: ConnectionAddresses;
  readonly isReading: boolean;
  /** False: peers are to think that this side is dead. */
  readonly answersPings: boolean;
  /** The peer has answered the ping with that clock. */
  onPong(clock: number): void;
  /** See CodecChannel. */
  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean;
}

/** A codec's way to its connection. The built-in codecs have more of it than others: whole records, and answers to requests. */
export class ConnectionChannel implements CodecChannel {
  readonly #owner: ChannelOwner;
  readonly #input: ConnectionInput;

  constructor(owner: ChannelOwner, input: ConnectionInput) {
    this.#owner = owner;
    this.#input = input;
  }

  get role(): 'server' | 'client' {
    return this.#owner.role;
  }

  get addresses(): ConnectionAddresses {
    return this.#owner.addresses;
  }

  get isReading(): boolean {
    return this.#owner.isReading;
  }

  message(bytes: Uint8Array, start: number, end: number, kind?: number): boolean {
    return this.#input.message(bytes, start, end, kind);
  }

  partFirst(length: number, bytes: Uint8Array, start: number, end: number, kind?: number): boolean {
    return this.#input.partFirst(length, bytes, start, end, kind);
  }

  part(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#input.part(bytes, start, end);
  }

  /** `count` whole frames lie in `bytes[start, end)`: data and requests. */
  frames(bytes: Uint8Array, start: number, end: number, count: number): boolean {
    return this.#input.frames(bytes, start, end, count);
  }

  /** Whole frames lie in `bytes[start, end)`: answers to requests of the thread that has that lane. */
  answers(bytes: Uint8Array, start: number, end: number, lane: number): boolean {
    return this.#input.answers(bytes, start, end, lane);
  }

  /** `bytes[start, end)` is one message of a connection that has no messages but bytes. */
  chunk(bytes: Uint8Array, start: number, end: number): boolean {
    return this.#input.chunk(bytes, start, end);
  }

  /** That of the thread which gets the messages. */
  get inflationBudget(): InflationBudget {
    return this.#input.recipients.inflationBudget;
  }

  fail(reason: CloseReason, error: ReactorError): void {
    this.#input.fail(reason, error);
  }

  get answersPings(): boolean {
    return this.#owner.answersPings;
  }

  pong(clock: number): void {
    this.#owner.onPong(clock);
  }

  /** The peer's application has stood still for so long. False: not taken. */
  busy(stallMs: number): boolean {
    return this.#input.busy(stallMs);
  }

  /** The peer is about to end. False: not taken. */
  goodbye(reason: string): boolean {
    return this.#input.goodbye(reason);
  }

  ignored(kind?: number): void {
    this.#input.ignored(kind);
  }

  /** A service gets system messages of that kind. */
  takesKind(kind: number): boolean {
    return this.#input.takesKind(kind);
  }

  /** `bytes[start, end)` is the body of a system message that a service gets. */
  system(kind: number, bytes: Uint8Array, start: number, end: number): boolean {
    return this.#input.system(kind, bytes, start, end);
  }

  resume(): void {
    this.#input.resume();
  }

  writeOwn(write: (output: CodecOutput) => void | Promise<void>): boolean {
    return this.#owner.writeOwn(write);
  }
}
