import { expect } from 'chai';
import { Doorbell, SleepWord } from '../../src/shared/doorbell.js';
import { RingConsumer } from '../../src/shared/ring-consumer.js';
import { RING_DATA_OFFSET, ringWord } from '../../src/shared/ring-layout.js';
import { RingProducer } from '../../src/shared/ring-producer.js';
import type { SharedMemory } from '../../src/shared/shared-memory.js';
import { type Actor, explore, type Granularity, type Outcome, type SteppedMemory } from './interleavings.js';

/** The smallest ring that can carry messages of 8 bytes. */
const CAPACITY = 128;
const MEMORY_BYTES = RING_DATA_OFFSET + CAPACITY;
/** Words that stand for sleeping and waking, where the ring's control words leave room. */
const CONSUMER_SLEEP = 8;
const CONSUMER_BELL = CONSUMER_SLEEP + 1;
const PRODUCER_SLEEP = CONSUMER_SLEEP + 2;
const PRODUCER_BELL = CONSUMER_SLEEP + 3;

const KIND = 7;
const SLOT = 3;
const GENERATION = 1;
const HALF = CAPACITY / 2;

/** Where the ring's positions start: fresh, just before the end of the data, just before the counters wrap. */
const STARTS = { fresh: 0, 'before the end of the data': CAPACITY - 40, 'before the counters wrap': -40 } as const;

/** How many messages of 8 bytes the ring then has room for. */
function roomFor(start: number): number {
  return start === 0 ? 5 : 4;
}

/** Message `index` has `length` bytes, all of them index + 1. */
function message(index: number, length: number): Uint8Array {
  return new Uint8Array(length).fill(index + 1);
}

interface Protocol {
  readonly lengths: readonly number[];
  readonly growing?: boolean;
  readonly start?: number;
  readonly granularity?: Granularity;
  /** How many of the messages are in the ring before the actors start. */
  readonly prefilled?: number;
  /** Off: the consumer sleeps without the second look that the protocol asks for. */
  readonly secondLook?: boolean;
}

function producer({ lengths, growing = false, prefilled = 0 }: Protocol): Actor<string> {
  return {
    name: 'producer',
    run(memory) {
      const ring = new RingProducer(memory);
      const sleep = new SleepWord(memory, PRODUCER_SLEEP);
      const doorbell = new Doorbell(memory, CONSUMER_SLEEP, () => memory.store(CONSUMER_BELL, 1));
      for (let index = prefilled; index < lengths.length; index++) {
        const length = lengths[index] as number;
        let offset = growing ? ring.extend(KIND, SLOT, GENERATION, length) : -1;
        while (offset === -1) {
          offset = ring.claim(KIND, SLOT, GENERATION, length, index % 3, growing);
          if (offset !== -1) break;
          sleep.announceSleep();
          if (!ring.wantSpace(HALF)) memory.sleepUntilRung(PRODUCER_BELL);
          sleep.awake();
          ring.spaceFound();
        }
        memory.copyIn(offset, message(index, length), 0, length);
        ring.publish();
        doorbell.ring();
      }
      return 'done';
    },
  };
}

function takePiece(memory: SharedMemory, ring: RingConsumer): number[] {
  const bytes = Buffer.alloc(ring.length);
  memory.copyOut(ring.offset, ring.length, bytes, 0);
  return [...bytes];
}

/** Takes bytes until it has as many as all messages have. */
function consumer({ lengths, secondLook = true }: Protocol): Actor<number[]> {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return {
    name: 'consumer',
    run(memory) {
      const ring = new RingConsumer(memory);
      const sleep = new SleepWord(memory, CONSUMER_SLEEP);
      const doorbell = new Doorbell(memory, PRODUCER_SLEEP, () => memory.store(PRODUCER_BELL, 1));
      const received: number[] = [];
      for (;;) {
        while (ring.next()) {
          expect(ring.kind).to.equal(KIND);
          expect(ring.slot).to.equal(SLOT);
          received.push(...takePiece(memory, ring));
          ring.release();
          if (ring.spaceWanted()) doorbell.ring();
        }
        if (received.length >= total) return received;
        sleep.announceSleep();
        if (!secondLook || ring.isEmpty()) memory.sleepUntilRung(CONSUMER_BELL);
        sleep.awake();
      }
    },
  };
}

function bytesOf(lengths: readonly number[]): number[] {
  return lengths.flatMap((length, index) => [...message(index, length)]);
}

function exploreRing(protocol: Protocol, kill?: string, checkDeath?: (outcome: Outcome) => void): number {
  const expected = bytesOf(protocol.lengths);
  const { start = 0, granularity = 'atomic accesses', prefilled = 0 } = protocol;
  const { states } = explore({
    memoryBytes: MEMORY_BYTES,
    actors: [producer(protocol), consumer(protocol)],
    granularity,
    kill,
    prepare(memory) {
      memory.store(ringWord.PRODUCED, start);
      memory.store(ringWord.CONSUMED, start);
      const ring = new RingProducer(memory);
      for (let index = 0; index < prefilled; index++) {
        const length = protocol.lengths[index] as number;
        memory.copyIn(ring.claim(KIND, SLOT, GENERATION, length), message(index, length), 0, length);
        ring.publish();
      }
    },
    check(outcome) {
      const how = outcome.trace.join(', ');
      if (outcome.killed !== undefined) {
        checkDeath?.(outcome);
        return;
      }
      expect(outcome.blocked, `asleep for ever after ${how}`).to.deep.equal([]);
      expect(outcome.results.get('consumer'), how).to.deep.equal(expected);
    },
  });
  return states;
}

/** What a successor of the consumer finds: the messages from CONSUMED on. */
function leftInRing(memory: SharedMemory): number[] {
  const ring = new RingConsumer(memory);
  const bytes: number[] = [];
  while (ring.next()) {
    bytes.push(...takePiece(memory, ring));
    if (bytes.length > MEMORY_BYTES) throw new Error('the ring does not end');
  }
  return bytes;
}

/** How many messages `bytes` are, given that they end with the first `published` ones. */
function wholeMessages(bytes: readonly number[], lengths: readonly number[], published: number): number | undefined {
  for (let first = 0; first <= published; first++) {
    const candidate = lengths.flatMap((length, index) =>
      index >= first && index < published ? [...message(index, length)] : [],
    );
    if (candidate.join() === bytes.join()) return published - first;
  }
  return undefined;
}

describe('every interleaving of a ring', function () {
  this.timeout(120_000);

  it('delivers every record once, whole and in order, and nobody sleeps for ever', () => {
    expect(exploreRing({ lengths: [4, 8], granularity: 'every access' })).to.be.greaterThan(1000);
  });

  for (const [name, start] of Object.entries(STARTS)) {
    it(`does so when the producer has to wait for space, starting ${name}`, () => {
      const prefilled = roomFor(start);
      expect(exploreRing({ lengths: new Array(prefilled + 1).fill(8), prefilled, start })).to.be.greaterThan(200);
      expect(exploreRing({ lengths: [1, 8, 0, 8, 8], prefilled: 4, start })).to.be.greaterThan(200);
    });

    it(`does so when a record grows while the consumer reads it, starting ${name}`, () => {
      exploreRing({ lengths: [2, 2], growing: true, start, granularity: 'every access' });
      for (const lengths of [
        [8, 3, 5, 1],
        [8, 8, 8, 2, 2],
      ]) {
        const prefilled = lengths.length - 3;
        expect(exploreRing({ lengths, prefilled, growing: true, start })).to.be.greaterThan(300);
      }
    });

    it(`shows whole messages only when the producer dies at any step, starting ${name}`, () => {
      for (const growing of [false, true]) {
        const lengths = [8, 3, 5];
        let deaths = 0;
        exploreRing(
          { lengths, growing, start, granularity: 'every access' },
          'producer',
          ({ memory, results, blocked, trace }) => {
            deaths++;
            expect(results.get('consumer') !== undefined || blocked.includes('consumer'), trace.join()).to.equal(true);
            const bytes = leftInRing(memory);
            const whole = [0, 1, 2, 3].some((published) => wholeMessages(bytes, lengths, published) !== undefined);
            expect(whole, `${bytes.join()} after ${trace.join()}`).to.equal(true);
          },
        );
        expect(deaths).to.be.greaterThan(50);
      }
    });

    it(`keeps what a consumer had not finished when it dies at any step, starting ${name}`, () => {
      const prefilled = roomFor(start);
      const lengths: number[] = new Array(prefilled + 1).fill(8);
      let deaths = 0;
      exploreRing({ lengths, prefilled, start }, 'consumer', ({ memory, results, blocked, trace }) => {
        deaths++;
        // The producer is through, or waits for the space that a successor will free.
        expect(results.get('producer') === 'done' || blocked.includes('producer'), trace.join()).to.equal(true);
        const bytes = leftInRing(memory);
        const published = results.get('producer') === 'done' ? lengths.length : prefilled;
        const left = wholeMessages(bytes, lengths, published);
        expect(left, `${bytes.join()} after ${trace.join()}`).to.not.equal(undefined);
      });
      expect(deaths).to.be.greaterThan(50);
    });
  }

  it('would find a consumer that sleeps without looking once more', () => {
    expect(() => exploreRing({ lengths: [4, 4], secondLook: false })).to.throw(/asleep for ever/);
  });

  /** Publishes in a batch, and rings as a thread does that hands out events. */
  function batch(ringsAtEnd: boolean): Actor<string> {
    return {
      name: 'producer',
      run(memory) {
        const ring = new RingProducer(memory);
        const doorbell = new Doorbell(memory, CONSUMER_SLEEP, () => memory.store(CONSUMER_BELL, 1));
        ring.setBatch(true);
        memory.copyIn(ring.claim(KIND, SLOT, GENERATION, 4), message(0, 4), 0, 4);
        ring.publish();
        doorbell.ringInBatch();
        ring.setBatch(false);
        if (ringsAtEnd) doorbell.endBatch();
        return 'done';
      },
    };
  }

  /** Holds what comes in a batch back until that is over, and dozes as the io worker does, but without a timer. */
  function holdingConsumer(): Actor<string> {
    return {
      name: 'consumer',
      run(memory) {
        const ring = new RingConsumer(memory);
        const sleep = new SleepWord(memory, CONSUMER_SLEEP);
        let isHeld = false;
        for (;;) {
          if (ring.next()) {
            isHeld = true;
            ring.release();
          }
          if (isHeld && !ring.isInBatch()) return 'written';
          if (isHeld) sleep.announceDoze();
          else sleep.announceSleep();
          if (ring.isEmpty() && (!isHeld || ring.isInBatch())) memory.sleepUntilRung(CONSUMER_BELL);
          sleep.awake();
        }
      },
    };
  }

  function exploreBatches(ringsAtEnd: boolean): number {
    return explore({
      memoryBytes: MEMORY_BYTES,
      actors: [batch(ringsAtEnd), holdingConsumer()],
      check({ blocked, results, trace }) {
        expect(blocked, `asleep for ever after ${trace.join(', ')}`).to.deep.equal([]);
        expect(results.get('consumer')).to.equal('written');
      },
    }).states;
  }

  it('has what is held back in a batch written at its end, though nobody rings for it in between', () => {
    expect(exploreBatches(true)).to.be.greaterThan(100);
  });

  it('would find a batch at whose end nobody rings', () => {
    expect(() => exploreBatches(false)).to.throw(/asleep for ever/);
  });

  it('would find a producer that publishes before it has written', () => {
    const hasty: Actor<string> = {
      name: 'producer',
      run(memory: SteppedMemory) {
        const ring = new RingProducer(memory);
        const offset = ring.claim(KIND, SLOT, GENERATION, 4);
        ring.publish();
        memory.copyIn(offset, message(0, 4), 0, 4);
        return 'done';
      },
    };
    const seen = new Set<string>();
    explore({
      memoryBytes: MEMORY_BYTES,
      actors: [hasty, consumer({ lengths: [4] })],
      check: ({ results }) => seen.add(String(results.get('consumer'))),
    });
    expect([...seen])
      .to.include('0,0,0,0')
      .and.to.include('1,1,1,1');
  });
});
