import { expect } from 'chai';
import type { EventOutbox } from '../../src/io-worker/event-outbox.js';
import { InputRecipients } from '../../src/io-worker/input-recipients.js';
import { eventKind } from '../../src/shared/event-record.js';
import { Lane } from './fake-lane.js';

describe('InputRecipients', () => {
  let first: Lane;
  let second: Lane;
  /** Lanes whose threads may ask the peer something. */
  let lanes: Lane[];
  let boxes: number;

  function make(passesOn = true): InputRecipients {
    const input = { messagesDone: () => 0, onUnblocked: () => undefined };
    const owner = {
      answerLane: (index: number) => lanes.find((lane) => lane.index === index)?.asLane,
      onAnswerBox: () => void boxes++,
    };
    return new InputRecipients({ slot: 1, generation: 1 }, input, owner, passesOn);
  }

  /** One message, which the thread takes and does not finish. */
  function input(outbox: EventOutbox | undefined, upTo: number, text: string): void {
    outbox?.input(eventKind.CHUNK, upTo, Buffer.from(text), 0, text.length);
  }

  beforeEach(() => {
    first = new Lane(1);
    second = new Lane(2);
    lanes = [first, second];
    boxes = 0;
  });

  it('is held until there is a thread, and takes nothing then', () => {
    const recipients = make();
    expect(recipients).to.include({ isHeld: true, isLeaving: false, isWoundDown: false });
    expect(recipients.canTake(false)).to.equal(false);
    expect(recipients.isNoneBut(new Set())).to.equal(false);
    recipients.add(first.asLane, false);
    expect(recipients).to.include({ isHeld: false, isLeaving: false });
    expect(recipients.canTake(false)).to.equal(true);
    expect(recipients.has(first.asLane)).to.equal(true);
    expect(recipients.has(second.asLane)).to.equal(false);
    expect(first.connections).to.equal(1);
  });

  it('takes nothing while one of several threads does not', () => {
    const recipients = make(false);
    recipients.add(first.asLane, false);
    recipients.add(second.asLane, false);
    second.isCrowded = true;
    expect(recipients.canTake(false)).to.equal(false);
    expect(recipients.isCrowded(false)).to.equal(true);
    second.isCrowded = false;
    second.room = 0;
    for (const outbox of recipients.current) input(outbox, 1, 'a');
    expect(recipients.canTake(false)).to.equal(false);
    second.takeMore();
    expect(recipients.canTake(false)).to.equal(true);
  });

  it('has a thread leave, and gives back what it has not finished', () => {
    const recipients = make();
    input(recipients.add(first.asLane, false), 1, 'a');
    expect(recipients.askToLeave(second.asLane)).to.equal(false);
    expect(recipients.left(first.asLane)).to.equal(undefined);
    expect(recipients.askToLeave(first.asLane)).to.equal(true);
    expect(first.events).to.deep.equal(['CHUNK a', 'LEAVE']);
    expect(recipients).to.include({ isHeld: true, isLeaving: true });
    expect(recipients.isLeavingFrom(first.asLane)).to.equal(true);
    // Its thread takes the record out of the ring.
    first.keeper?.keep({
      kind: eventKind.CHUNK,
      payload: Buffer.from('a'),
      upTo: 1,
      wasDelivered: true,
      isSuspect: false,
    });
    expect(recipients.left(first.asLane)?.map(({ payload }) => String(payload))).to.deep.equal(['a']);
    expect(recipients.isLeaving).to.equal(false);
    expect(first.connections).to.equal(0);
  });

  it('counts a thread out once for each time that it was in when it dies', () => {
    const recipients = make();
    recipients.add(first.asLane, false);
    recipients.askToLeave(first.asLane);
    // It comes back before it has answered.
    recipients.add(first.asLane, false);
    expect(first.connections).to.equal(2);
    expect(recipients.died(first.asLane)).to.have.length(2);
    expect(first.connections).to.equal(0);
    expect(recipients).to.include({ isHeld: true, isLeaving: false });
    expect(recipients.died(first.asLane)).to.deep.equal([]);
  });

  it('is wound down when all have said so and nobody is leaving', () => {
    const recipients = make(false);
    recipients.add(first.asLane, false);
    recipients.add(second.asLane, false);
    recipients.woundDown(first.asLane);
    expect(recipients.isWoundDown).to.equal(false);
    recipients.askToLeave(second.asLane);
    expect(recipients.isWoundDown).to.equal(false);
    recipients.left(second.asLane);
    expect(recipients.isWoundDown).to.equal(true);
  });

  it('forgets a thread that has heard of the end', () => {
    const recipients = make();
    recipients.add(first.asLane, false);
    expect(recipients.heardOfEnd(second.asLane)).to.equal(false);
    expect(recipients.heardOfEnd(first.asLane)).to.equal(true);
    expect(recipients.isHeld).to.equal(true);
    expect(first.connections).to.equal(0);
  });

  it('gives answers to a thread in order with the messages if it gets them, and in a box of its own if not', () => {
    const recipients = make();
    const outbox = recipients.add(first.asLane, false);
    expect(recipients.answerBox(1)).to.equal(outbox);
    expect(boxes).to.equal(0);
    const box = recipients.answerBox(2);
    expect(box?.lane).to.equal(second.asLane);
    expect(recipients.answerBox(2)).to.equal(box);
    expect(boxes).to.equal(1);
    // Answers are none of the connections whose events it gets.
    expect(second.connections).to.equal(0);
    expect(recipients.answerBox(3)).to.equal(undefined);
  });

  it('does not read for whoever has asked either while that thread takes nothing', () => {
    const recipients = make();
    recipients.add(first.asLane, false);
    recipients.answerBox(2);
    second.isCrowded = true;
    expect(recipients.canTake(false)).to.equal(false);
    expect(recipients.isCrowded(false)).to.equal(true);
    recipients.died(second.asLane);
    expect(recipients.canTake(false)).to.equal(true);
    expect(recipients.isCrowded(false)).to.equal(false);
  });

  it('has nobody left once it is closed', () => {
    const recipients = make(false);
    recipients.add(first.asLane, false);
    recipients.add(second.asLane, false);
    recipients.askToLeave(second.asLane);
    recipients.close();
    expect(recipients).to.include({ isHeld: true, isLeaving: false });
    expect([first.connections, second.connections]).to.deep.equal([0, 0]);
  });
});
