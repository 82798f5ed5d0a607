import { expect } from 'chai';
import type { ConnectionCodec } from '../../src/io-worker/codec.js';
import { ConnectionInput } from '../../src/io-worker/connection-input.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { eventKind } from '../../src/shared/event-record.js';
import { ReactorError } from '../../src/shared/reactor-error.js';
import { Lane } from './fake-lane.js';

/** Each byte is a message; 'E' breaks the rules, 'T' is more than the decoder can bear. */
class LetterCodec implements ConnectionCodec {
  readonly #sink: ConnectionInput;

  constructor(sink: ConnectionInput) {
    this.#sink = sink;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    for (let at = start; at < end; at++) {
      const letter = String.fromCharCode(bytes[at] as number);
      if (letter === 'T') throw new Error('a defect');
      if (letter === 'E') {
        this.#sink.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', 'no E'));
        return end;
      }
      if (!this.#sink.chunk(bytes, at, at + 1)) return at;
    }
    return end;
  }

  incomplete(): undefined {}
  encode(): void {}
}

describe('ConnectionInput', () => {
  /** What the connection was told. */
  let told: string[];
  let done: number;
  let first: Lane;
  let second: Lane;

  function make(passesOn = true): ConnectionInput {
    const owner = {
      onMessages: () => undefined,
      onInputEnded: () => void told.push('input ended'),
      onBlocked: (blocked: boolean) => void told.push(blocked ? 'blocked' : 'free'),
      onIgnored: () => undefined,
      answerLane: () => undefined,
      onBadInput: (reason: string, error: ReactorError) => void told.push(`${reason} ${error.code}`),
      hasAsked: () => true,
      onAnswerBox: () => undefined,
      onOver: () => void told.push('over'),
      messagesDone: () => done,
    };
    const addresses = {
      remoteAddress: '',
      remotePort: 1,
      remoteFamily: 'IPv4',
      localAddress: '',
      localPort: 2,
      encrypted: false,
    } as const;
    const about = { addresses, origin: 1, attempt: 0, passesOn };
    const input = new ConnectionInput({ slot: 3, generation: 1 }, owner, about, new TimingWheel());
    input.start(new LetterCodec(input));
    return input;
  }

  function receive(input: ConnectionInput, letters: string): void {
    input.received(Buffer.from(letters), letters.length);
  }

  beforeEach(() => {
    told = [];
    done = 0;
    first = new Lane();
    second = new Lane();
  });

  it('announces the connection, hands on its messages, and then what is behind them', () => {
    const input = make();
    input.attach(first.asLane);
    receive(input, 'ab');
    input.ended();
    input.windDown();
    input.closed(Buffer.from('why'));
    expect(first.events).to.deep.equal(['OPEN new', 'CHUNK a', 'CHUNK b', 'END', 'WIND_DOWN', 'CLOSE why']);
    expect(told).to.deep.equal(['free', 'input ended']);
  });

  it('is over once the thread has heard of the close, not before', () => {
    const input = make();
    input.attach(first.asLane);
    input.closeDone(first.asLane);
    input.closed(Buffer.alloc(0));
    expect(told).to.deep.equal(['free']);
    input.closeDone(first.asLane);
    expect(told).to.deep.equal(['free', 'over']);
  });

  it('keeps what is not taken, has the socket paused meanwhile, and tells of the end behind it', () => {
    const input = make();
    input.attach(first.asLane);
    first.room = 1;
    receive(input, 'abc');
    receive(input, 'd');
    input.ended();
    expect(told).to.deep.equal(['free', 'blocked']);
    first.takeMore();
    expect(first.events).to.deep.equal(['OPEN new', 'CHUNK a', 'CHUNK b', 'CHUNK c', 'CHUNK d', 'END']);
    expect(told).to.deep.equal(['free', 'blocked', 'input ended', 'free']);
  });

  it('hands nobody more than the slowest of several threads takes', () => {
    const input = make(false);
    input.attach(first.asLane);
    input.attach(second.asLane);
    second.room = 0;
    receive(input, 'ab');
    expect(first.events).to.deep.equal(['OPEN new', 'CHUNK a']);
    second.takeMore();
    expect(first.events).to.deep.equal(['OPEN new', 'CHUNK a', 'CHUNK b']);
    expect(second.events).to.deep.equal(['OPEN again', 'CHUNK a', 'CHUNK b']);
  });

  it('holds what comes while there is no thread, for the next one', () => {
    const input = make();
    input.attach(first.asLane);
    input.leave(first.asLane);
    expect([input.recipients.isHeld, input.recipients.isLeaving]).to.deep.equal([true, true]);
    receive(input, 'a');
    expect(input.released(first.asLane)).to.equal(true);
    expect([input.recipients.isHeld, input.recipients.isLeaving]).to.deep.equal([true, false]);
    input.attach(second.asLane);
    expect(first.events).to.deep.equal(['OPEN new', 'LEAVE']);
    expect(second.events).to.deep.equal(['OPEN again', 'CHUNK a']);
    expect(told).to.deep.equal(['free', 'blocked', 'free']);
  });

  it('passes on what a thread that left had not taken, unmarked, and then tells again of the end', () => {
    const input = make();
    input.attach(first.asLane);
    first.room = 0;
    receive(input, 'a');
    input.leave(first.asLane);
    input.ended();
    input.released(first.asLane);
    input.attach(second.asLane);
    expect(second.events).to.deep.equal(['OPEN again', 'CHUNK a', 'END']);
  });

  it('passes on what a dead thread had got and not done, and marks just that as redelivered', () => {
    const input = make();
    input.attach(first.asLane);
    const keep = (letter: string, upTo: number): void =>
      first.keeper?.keep({
        kind: eventKind.CHUNK,
        payload: Buffer.from(letter),
        upTo,
        wasDelivered: true,
        isSuspect: false,
      });
    receive(input, 'abc');
    done = 1;
    first.room = 0;
    receive(input, 'd');
    keep('b', 2);
    keep('c', 3);
    input.laneDied(first.asLane);
    input.attach(second.asLane);
    expect(second.events).to.deep.equal(['OPEN again', 'REDELIVERY 2', 'CHUNK b', 'CHUNK c', 'CHUNK d']);
  });

  it('still marks what a first thread may have handled when a second one dies that has not seen it', () => {
    const input = make();
    input.attach(first.asLane);
    first.room = 0;
    receive(input, 'ab');
    const keep = (letter: string, upTo: number, isSuspect: boolean): void =>
      second.keeper?.keep({ kind: eventKind.CHUNK, payload: Buffer.from(letter), upTo, wasDelivered: true, isSuspect });
    first.takeMore();
    const { keeper } = first;
    for (const [index, letter] of ['a', 'b'].entries()) {
      const payload = Buffer.from(letter);
      keeper?.keep({ kind: eventKind.CHUNK, payload, upTo: index + 1, wasDelivered: true, isSuspect: false });
    }
    input.laneDied(first.asLane);
    // Room for the announcement and for 'a'; 'b' and what is new wait.
    second.room = 3;
    input.attach(second.asLane);
    receive(input, 'c');
    expect(second.events).to.deep.equal(['OPEN again', 'REDELIVERY 2', 'CHUNK a']);
    keep('a', 1, true);
    input.laneDied(second.asLane);
    const third = new Lane();
    input.attach(third.asLane);
    expect(third.events).to.deep.equal(['OPEN again', 'REDELIVERY 2', 'CHUNK a', 'CHUNK b', 'CHUNK c']);
  });

  it('passes nothing on where every thread gets everything', () => {
    const input = make(false);
    input.attach(first.asLane);
    first.room = 0;
    receive(input, 'a');
    input.laneDied(first.asLane);
    input.attach(second.asLane);
    expect(second.events).to.deep.equal(['OPEN again']);
  });

  it('tells the next thread of a close that a dead one has not answered', () => {
    const input = make();
    input.attach(first.asLane);
    input.closed(Buffer.from('why'));
    expect(input.leave(first.asLane)).to.equal(false);
    input.laneDied(first.asLane);
    input.attach(second.asLane);
    expect(second.events).to.deep.equal(['OPEN again', 'CLOSE why']);
    input.closeDone(second.asLane);
    expect(told.at(-1)).to.equal('over');
  });

  it('drops what is held, has the socket read on and is over at its end, if nobody is to come for it any more', () => {
    const input = make();
    receive(input, 'a');
    input.discard();
    receive(input, 'b');
    input.ended();
    input.closed(Buffer.alloc(0));
    expect(told).to.deep.equal(['free', 'over']);
  });

  it('does not take part in what concerns other threads', () => {
    const input = make();
    input.attach(first.asLane);
    expect([input.leave(second.asLane), input.released(second.asLane), input.laneDied(second.asLane)]).to.deep.equal([
      false,
      false,
      false,
    ]);
    expect(input.recipients.has(first.asLane)).to.equal(true);
  });

  it('says that all have wound down when the last has', () => {
    const input = make(false);
    input.attach(first.asLane);
    input.attach(second.asLane);
    input.recipients.woundDown(first.asLane);
    expect(input.recipients.isWoundDown).to.equal(false);
    input.recipients.woundDown(second.asLane);
    expect(input.recipients.isWoundDown).to.equal(true);
  });

  it('drops what is behind input that breaks the rules', () => {
    const input = make();
    input.attach(first.asLane);
    receive(input, 'aEb');
    expect(first.events).to.deep.equal(['OPEN new', 'CHUNK a']);
    expect(told).to.deep.equal(['free', 'protocol-error ERR_REACTOR_PROTOCOL']);
  });

  it('makes a defect of the decoder the end of this connection only', () => {
    const input = make();
    input.attach(first.asLane);
    receive(input, 'aTb');
    expect(told).to.deep.equal(['free', 'protocol-error ERR_REACTOR_CODEC_FAILED']);
  });
});
