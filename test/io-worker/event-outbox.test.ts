import { expect } from 'chai';
import { ChunkPool } from '../../src/io-worker/chunk-pool.js';
import type { EventLane } from '../../src/io-worker/event-lane.js';
import { EventOutbox } from '../../src/io-worker/event-outbox.js';
import type { KeptInput, RetainedInput } from '../../src/io-worker/lane-trail.js';
import { eventKind } from '../../src/shared/event-record.js';

const { MESSAGES, PART_FIRST, PART, END, LEAVE } = eventKind;

/** A lane with room for so many events. */
class Lane {
  room = 100;
  readonly chunkPool = new ChunkPool();
  readonly events: string[] = [];
  readonly kept: (KeptInput | undefined)[] = [];
  blocked = 0;

  offer(
    kind: number,
    _slot: number,
    _gen: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    kept?: KeptInput,
  ): boolean {
    if (this.room === 0) return false;
    this.room--;
    this.events.push(`${kind} ${Buffer.from(bytes.subarray(start, end)).toString('latin1')}`);
    this.kept.push(kept);
    return true;
  }

  offerPart(
    kind: number,
    slot: number,
    gen: number,
    part: { length: number; kind: number },
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean {
    const payload = Buffer.alloc(8 + end - start);
    payload.writeUInt32LE(part.length);
    payload.writeUInt32LE(part.kind, 4);
    payload.set(bytes.subarray(start, end), 8);
    return this.offer(kind, slot, gen, payload, 0, payload.length);
  }

  countWaiting(): void {}

  block(): void {
    this.blocked++;
  }

  unblock(): void {
    this.blocked = 0;
  }
}

describe('EventOutbox', () => {
  let lane: Lane;
  let done: number;
  let unblocked: number;

  function make(options: { keeps?: boolean; midMessage?: boolean } = {}): EventOutbox {
    const owner = { messagesDone: () => done, onUnblocked: () => void unblocked++ };
    const { keeps = true, midMessage = false } = options;
    return new EventOutbox(lane as unknown as EventLane, { slot: 3, generation: 1 }, owner, keeps, midMessage);
  }

  function input(outbox: EventOutbox, text: string, upTo: number, kind: number = MESSAGES): void {
    outbox.input(kind, upTo, Buffer.from(text), 0, text.length);
  }

  function retained(text: string, upTo: number): RetainedInput {
    return { kind: MESSAGES, payload: Buffer.from(text), upTo, wasDelivered: true, isSuspect: false };
  }

  beforeEach(() => {
    lane = new Lane();
    done = 0;
    unblocked = 0;
  });

  it('puts events into the ring, and has the lane keep input only', () => {
    const outbox = make();
    input(outbox, 'one', 1);
    outbox.event(END, Buffer.alloc(0));
    expect(lane.events).to.deep.equal([`${MESSAGES} one`, `${END} `]);
    expect(lane.kept).to.deep.equal([{ keeper: outbox, upTo: 1, isSuspect: false }, undefined]);
  });

  it('lets events wait in order while the ring is full, and says once that it is free again', () => {
    const outbox = make();
    lane.room = 0;
    input(outbox, 'one', 1);
    expect([outbox.isBlocked, lane.blocked]).to.deep.equal([true, 1]);
    lane.room = 1;
    outbox.event(END, Buffer.alloc(0));
    expect(lane.events).to.deep.equal([]);
    expect(outbox.retryDelivery()).to.equal(false);
    expect([lane.events.length, unblocked]).to.deep.equal([1, 0]);
    lane.room = 5;
    expect(outbox.retryDelivery()).to.equal(true);
    expect(lane.events).to.deep.equal([`${MESSAGES} one`, `${END} `]);
    expect([outbox.isBlocked, unblocked]).to.deep.equal([false, 1]);
  });

  it('copies input that has to wait, with its length and kind in front of a first piece', () => {
    const outbox = make();
    lane.room = 0;
    const bytes = Buffer.from('piece');
    outbox.input(PART_FIRST, 1, bytes, 0, 5, { length: 0x61626364, kind: 0x65666768 });
    bytes.fill(0);
    lane.room = 1;
    outbox.retryDelivery();
    expect(lane.events).to.deep.equal([`${PART_FIRST} dcbahgfepiece`]);
  });

  it('skips the rest of a message whose beginning others have got', () => {
    const outbox = make({ keeps: false, midMessage: true });
    input(outbox, 'rest', 1, PART);
    input(outbox, 'next', 2);
    outbox.input(PART_FIRST, 3, Buffer.from('first'), 0, 5, { length: 9, kind: 0 });
    input(outbox, 'last', 3, PART);
    expect(lane.events.map((event) => Number.parseInt(event, 10))).to.deep.equal([MESSAGES, PART_FIRST, PART]);
  });

  it('returns what is not done, the delivered in front of the waiting, and not its other events', () => {
    const outbox = make();
    for (const [text, upTo] of [
      ['one', 1],
      ['two', 2],
      ['three', 3],
    ] as const)
      outbox.keep(retained(text, upTo));
    done = 1;
    lane.room = 0;
    input(outbox, 'four', 4);
    outbox.event(LEAVE, Buffer.alloc(0));
    const unfinished = outbox.close();
    expect(unfinished.map(({ payload, wasDelivered }) => [payload.toString(), wasDelivered])).to.deep.equal([
      ['two', true],
      ['three', true],
      ['four', false],
    ]);
    expect(lane.blocked).to.equal(0);
  });

  it('gives the memory of what is done back, and not of what it passes on', () => {
    const outbox = make();
    const chunks = [1, 2, 3].map((upTo) => {
      const chunk = lane.chunkPool.acquire(60_000, 0);
      const payload = chunk.buffer.subarray(0, 60_000);
      outbox.keep({ kind: PART, payload, upTo, wasDelivered: true, isSuspect: false, chunk });
      return chunk;
    });
    done = 2;
    outbox.trim();
    outbox.trim();
    const next = [1, 2, 3].map(() => lane.chunkPool.acquire(60_000, 0).buffer);
    expect(new Set(next).size).to.equal(3);
    expect(chunks.map(({ buffer }) => next.includes(buffer))).to.deep.equal([true, true, false]);
    expect(outbox.close().map(({ upTo }) => upTo)).to.deep.equal([3]);
    expect(lane.chunkPool.acquire(60_000, 0).buffer).to.not.equal(chunks[2]?.buffer);
  });

  it('closes once, and wants nothing kept afterwards', () => {
    const outbox = make();
    expect(outbox.isDone(1)).to.equal(false);
    outbox.keep(retained('one', 1));
    expect(outbox.close().length).to.equal(1);
    expect(outbox.close()).to.deep.equal([]);
    expect(outbox.isDone(1)).to.equal(true);
  });

  it('knows what is done when the counters wrap', () => {
    done = -(2 ** 31) + 1;
    const outbox = make();
    expect([2 ** 31 - 1, -(2 ** 31) + 1, -(2 ** 31) + 2].map((upTo) => outbox.isDone(upTo))).to.deep.equal([
      true,
      true,
      false,
    ]);
  });
});
