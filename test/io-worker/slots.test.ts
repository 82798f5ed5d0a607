import { expect } from 'chai';
import fc from 'fast-check';
import { Slots } from '../../src/io-worker/slots.js';
import { MAX_GENERATION } from '../../src/shared/connection-id.js';
import { ConnectionTable, framing, type SlotSettings, slotState } from '../../src/shared/connection-table.js';

const settings: SlotSettings = {
  highWaterMark: 1000,
  overflowLimit: 16_000,
  maxMessageBytes: 500,
  framing: framing.MESSAGES,
  minMessageBytes: 0,
  hasRequests: true,
  maxRequests: 1024,
  dropOnOverflow: false,
  borrowed: false,
  allowHalfOpen: false,
};

function makeSlots(count: number): Slots<string> {
  return new Slots<string>(ConnectionTable.allocate(count), () => {});
}

/** Opens a slot for each name. */
function fill(slots: Slots<string>, ...names: string[]): number[] {
  return names.map((name) => {
    const at = slots.open(settings);
    if (at === undefined) throw new Error(`No slot for ${name}`);
    slots.put(at.slot, name);
    return at.slot;
  });
}

/** Makes a slot's next connection its last. */
function nearlyWearOut(slots: Slots<string>, slot: number): void {
  slots.table.setState(slot, MAX_GENERATION - 1, slotState.CLOSED);
}

describe('Slots', () => {
  it('opens fresh slots in order, each in its first generation', () => {
    const slots = makeSlots(3);
    expect([slots.open(settings), slots.open(settings), slots.open(settings)]).to.deep.equal([
      { slot: 0, generation: 1 },
      { slot: 1, generation: 1 },
      { slot: 2, generation: 1 },
    ]);
    expect(slots.table.state(1, 1)).to.equal(slotState.OPEN);
    expect(slots.table.highWater(1)).to.equal(1000);
  });

  it('opens no more than the table has, and one more for each that is freed', () => {
    const slots = makeSlots(2);
    fill(slots, 'a', 'b');
    expect(slots.open(settings)).to.equal(undefined);
    expect(slots.open(settings)).to.equal(undefined);
    slots.free(0);
    expect(slots.open(settings)).to.deep.equal({ slot: 0, generation: 2 });
    expect(slots.open(settings)).to.equal(undefined);
  });

  it('reuses freed slots, the oldest first, before it takes fresh ones', () => {
    const slots = makeSlots(5);
    fill(slots, 'a', 'b', 'c', 'd');
    for (const slot of [2, 0, 3]) slots.free(slot);
    expect(fill(slots, 'e', 'f')).to.deep.equal([2, 0]);
    slots.free(1);
    slots.free(2);
    expect(fill(slots, 'g', 'h', 'i', 'j')).to.deep.equal([3, 1, 2, 4]);
    expect(slots.open(settings)).to.equal(undefined);
  });

  it('counts the connections that it holds', () => {
    const slots = makeSlots(2);
    expect(slots.count).to.equal(0);
    fill(slots, 'a', 'b');
    expect(slots.count).to.equal(2);
    slots.open(settings);
    expect(slots.count).to.equal(2);
    slots.free(1);
    expect(slots.count).to.equal(1);
    slots.free(0);
    expect(slots.count).to.equal(0);
  });

  it('knows who is in a slot, and nobody in slots that are free or were never used', () => {
    const slots = makeSlots(4);
    fill(slots, 'a', 'b');
    expect([slots.get(0), slots.get(1), slots.get(2), slots.get(400)]).to.deep.equal(['a', 'b', undefined, undefined]);
    slots.free(0);
    expect(slots.get(0)).to.equal(undefined);
    fill(slots, 'c');
    expect(slots.get(0)).to.equal('c');
  });

  it('gives a reused slot a new generation, and the old one stays closed', () => {
    const slots = makeSlots(1);
    const first = slots.open(settings);
    slots.table.setState(0, 1, slotState.CLOSED);
    slots.free(0);
    const second = slots.open(settings);
    expect([first?.generation, second?.generation]).to.deep.equal([1, 2]);
    expect(slots.table.state(0, 1)).to.equal(slotState.CLOSED);
    expect(slots.table.state(0, 2)).to.equal(slotState.OPEN);
  });

  it('iterates over those who are in, in the order of their slots, and leaves out slots without an occupant', () => {
    const slots = makeSlots(6);
    expect([...slots]).to.deep.equal([]);
    fill(slots, 'a', 'b', 'c', 'd');
    slots.open(settings);
    slots.free(1);
    slots.free(3);
    expect([...slots]).to.deep.equal(['a', 'c']);
    fill(slots, 'e');
    expect([...slots]).to.deep.equal(['a', 'e', 'c']);
  });

  it('uses a slot up to its last generation, then retires it', () => {
    const slots = makeSlots(2);
    fill(slots, 'a');
    nearlyWearOut(slots, 0);
    slots.free(0);
    expect(slots.open(settings)).to.deep.equal({ slot: 0, generation: MAX_GENERATION });
    expect(slots.table.state(0, MAX_GENERATION)).to.equal(slotState.OPEN);
    slots.free(0);
    expect(slots.open(settings)).to.deep.equal({ slot: 1, generation: 1 });
    expect(slots.open(settings)).to.equal(undefined);
    expect(slots.count).to.equal(1);
    slots.free(1);
    expect(slots.open(settings)).to.deep.equal({ slot: 1, generation: 2 });
    expect(slots.open(settings)).to.equal(undefined);
  });

  it('passes over all worn-out slots to reach one that is left', () => {
    const slots = makeSlots(4);
    fill(slots, 'a', 'b', 'c', 'd');
    for (const slot of [0, 1, 2]) slots.table.setState(slot, MAX_GENERATION, slotState.CLOSED);
    for (const slot of [0, 1, 2, 3]) slots.free(slot);
    expect(slots.open(settings)).to.deep.equal({ slot: 3, generation: 2 });
    expect(slots.open(settings)).to.equal(undefined);
    expect(slots.count).to.equal(1);
  });

  it('says that all are taken when all are worn out', () => {
    const slots = makeSlots(2);
    for (const slot of [0, 1]) slots.table.setState(slot, MAX_GENERATION, slotState.CLOSED);
    expect(slots.open(settings)).to.equal(undefined);
    expect(slots.open(settings)).to.equal(undefined);
    expect(slots.count).to.equal(0);
  });

  it('behaves like a queue of free slots, whatever is opened and freed', () => {
    const size = 6;
    // A number frees the connection that has been open for that many others; -1 opens one.
    const steps = fc.array(fc.oneof(fc.constant(-1), fc.constant(-1), fc.nat(size - 1)), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.uniqueArray(fc.nat(size - 1)), (plan, nearlyWorn) => {
        const slots = makeSlots(size);
        const generations = new Array<number>(size).fill(0);
        for (const slot of nearlyWorn) {
          generations[slot] = MAX_GENERATION - 2;
          slots.table.setState(slot, MAX_GENERATION - 2, slotState.CLOSED);
        }
        const freed: number[] = [];
        const open: number[] = [];
        let fresh = 0;
        for (const step of plan) {
          if (step === -1) {
            let slot = freed.shift() ?? (fresh < size ? fresh++ : undefined);
            while (slot !== undefined && generations[slot] === MAX_GENERATION) {
              slot = freed.shift() ?? (fresh < size ? fresh++ : undefined);
            }
            const at = slots.open(settings);
            expect(at?.slot).to.equal(slot);
            if (slot === undefined || at === undefined) continue;
            generations[slot] = (generations[slot] as number) + 1;
            expect(at.generation).to.equal(generations[slot]);
            slots.put(slot, `in ${slot}`);
            open.push(slot);
          } else {
            const [slot] = open.splice(step, 1);
            if (slot === undefined) continue;
            slots.free(slot);
            freed.push(slot);
          }
          expect(slots.count).to.equal(open.length);
          expect([...slots]).to.deep.equal(open.toSorted((a, b) => a - b).map((slot) => `in ${slot}`));
        }
      }),
      { numRuns: 300 },
    );
  });
});
