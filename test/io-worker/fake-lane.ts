import type { EventLane } from '../../src/io-worker/event-lane.js';
import type { KeptInput } from '../../src/io-worker/lane-trail.js';
import { decodeOpen, eventKind, type PartHeader } from '../../src/shared/event-record.js';

const names = new Map<number, string>(Object.entries(eventKind).map(([name, kind]) => [kind, name]));

/** In place of an EventLane: a thread, what it has been told, and how much more it takes. */
export class Lane {
  readonly index: number;
  room = 100;
  isCrowded = false;
  /** Connections that it has been given and not lost. */
  connections = 0;
  readonly events: string[] = [];
  /** Who has put the last input into the ring. */
  keeper: KeptInput['keeper'] | undefined;
  readonly #blocked = new Set<{ retryDelivery(): boolean }>();

  constructor(index = 0) {
    this.index = index;
  }

  offer(
    kind: number,
    _slot: number,
    _generation: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    kept?: KeptInput,
  ): boolean {
    return this.#take(kind, Buffer.from(bytes.subarray(start, end)), kept);
  }

  offerPart(
    kind: number,
    _slot: number,
    _generation: number,
    part: PartHeader,
    bytes: Uint8Array,
    start: number,
    end: number,
    kept?: KeptInput,
  ): boolean {
    const header = Buffer.alloc(8);
    header.writeUInt32LE(part.length);
    header.writeUInt32LE(part.kind, 4);
    return this.#take(kind, Buffer.concat([header, bytes.subarray(start, end)]), kept);
  }

  #take(kind: number, payload: Buffer, kept: KeptInput | undefined): boolean {
    if (this.room === 0) return false;
    this.keeper = kept?.keeper ?? this.keeper;
    this.room--;
    this.events.push(describe(names.get(kind) ?? `kind ${kind}`, payload));
    return true;
  }

  block(source: { retryDelivery(): boolean }): void {
    this.#blocked.add(source);
  }

  unblock(source: { retryDelivery(): boolean }): void {
    this.#blocked.delete(source);
  }

  countWaiting(): void {}

  countConnection(by: number): void {
    this.connections += by;
  }

  noteConsumed(): void {}

  /** There is room again. */
  takeMore(room = 100): void {
    this.room = room;
    for (const source of this.#blocked) {
      if (!source.retryDelivery()) break;
      this.#blocked.delete(source);
    }
  }

  get asLane(): EventLane {
    return this as unknown as EventLane;
  }
}

function describe(name: string, payload: Buffer): string {
  switch (name) {
    case 'OPEN':
      return `OPEN ${decodeOpen(payload).handedOver ? 'again' : 'new'}`;
    case 'REDELIVERY':
      return `REDELIVERY ${payload.readUInt32LE()}`;
    case 'MESSAGES':
    case 'ANSWERS':
      return `${name} ${frames(payload).join(' ')}`;
    case 'PART_FIRST':
    case 'ANSWER_FIRST':
      return `${name} of ${payload.readUInt32LE()} kind ${payload.readUInt32LE(4)}: ${brief(payload.subarray(8))}`;
    default:
      return `${name} ${brief(payload)}`.trimEnd();
  }
}

/** Kind and body of each frame. */
function frames(payload: Buffer): string[] {
  const found: string[] = [];
  for (let at = 0; at < payload.length; ) {
    const end = at + 4 + payload.readUInt32LE(at);
    if (payload[at + 5] !== 0) throw new Error(`A frame with the flags ${payload[at + 5]}`);
    found.push(`${payload[at + 4]}:${brief(payload.subarray(at + 6, end))}`);
    at = end;
  }
  return found;
}

/** Long ones that consist of one letter by their length. */
function brief(bytes: Buffer): string {
  if (bytes.length <= 20) return bytes.toString('latin1');
  const letter = String.fromCharCode(bytes[0] as number);
  return `${bytes.length}x${bytes.every((byte) => byte === bytes[0]) ? letter : '?'}`;
}
