import { expect } from 'chai';
import { type ConnectionCodec, STREAM_ABOVE_BYTES } from '../../src/io-worker/codec.js';
import { ConnectionInput } from '../../src/io-worker/connection-input.js';
import type { EventLane } from '../../src/io-worker/event-lane.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { ReactorError } from '../../src/shared/reactor-error.js';
import { Lane } from './fake-lane.js';

type Decode = (bytes: Buffer, start: number, end: number) => number;

/** A codec that does what a test tells it. */
class ScriptedCodec implements ConnectionCodec {
  isWaiting = false;
  /** What it was given, as text. */
  readonly given: string[] = [];
  closes = 0;
  missing: string | undefined;
  readonly #decode: Decode;

  constructor(decode: Decode) {
    this.#decode = decode;
  }

  decode(bytes: Uint8Array, start: number, end: number): number {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.given.push(buffer.toString('latin1', start, end));
    return this.#decode(buffer, start, end);
  }

  incomplete(): string | undefined {
    return this.missing;
  }

  encode(): void {}

  close(): void {
    this.closes++;
  }
}

/** An id whose upper 5 bits are a lane, in front of a text. */
function answer(lane: number, text: string): Buffer {
  const id = Buffer.from('...\0');
  id[3] = lane << 3;
  return Buffer.concat([id, Buffer.from(text)]);
}

function shown(lane: number, text: string): string {
  return `...${String.fromCharCode(lane << 3)}${text}`;
}

describe('ConnectionInput with a codec of any kind', () => {
  let told: string[];
  let messages: number;
  let owner: Lane;
  let other: Lane;
  let lanes: Map<number, Lane>;
  let input: ConnectionInput;
  let codec: ScriptedCodec;

  function make(decode: Decode, passesOn = true): void {
    const inputOwner = {
      onMessages: (count: number) => {
        messages += count;
      },
      onInputEnded: () => void told.push(`input ended${input.incomplete() === undefined ? '' : ' too early'}`),
      onBlocked: (blocked: boolean) => void told.push(blocked ? 'blocked' : 'free'),
      onIgnored: () => void told.push('ignored'),
      answerLane: (index: number): EventLane | undefined => lanes.get(index)?.asLane,
      onBadInput: (reason: string, error: ReactorError) => void told.push(`${reason} ${error.code}`),
      hasAsked: () => true,
      onAnswerBox: () => undefined,
      onOver: () => void told.push('over'),
      messagesDone: () => 0,
    };
    const addresses = {
      remoteAddress: '',
      remotePort: 1,
      remoteFamily: 'IPv4',
      localAddress: '',
      localPort: 2,
      encrypted: false,
    } as const;
    input = new ConnectionInput(
      { slot: 3, generation: 1 },
      inputOwner,
      { addresses, origin: 1, attempt: 0, passesOn },
      new TimingWheel(),
    );
    codec = new ScriptedCodec(decode);
    input.start(codec);
    input.attach(owner.asLane);
    owner.events.length = 0;
    told.length = 0;
  }

  function receive(bytes: Uint8Array | string): void {
    const memory = Buffer.from(bytes);
    input.received(memory, memory.length);
    // It is the next socket's.
    memory.fill('!');
  }

  /** Each byte is a message. */
  const letters: Decode = (bytes, start, end) => {
    for (let at = start; at < end; at++) if (!input.message(bytes, at, at + 1)) return at;
    return end;
  };

  beforeEach(() => {
    told = [];
    messages = 0;
    owner = new Lane(0);
    other = new Lane(5);
    lanes = new Map([
      [0, owner],
      [5, other],
    ]);
  });

  describe('and messages one by one', () => {
    it('puts those of one call into one record', () => {
      make(letters);
      receive('abc');
      receive('d');
      expect(owner.events).to.deep.equal(['MESSAGES 0:a 0:b 0:c', 'MESSAGES 0:d']);
      expect(messages).to.equal(4);
    });

    it('hands one on at once that comes outside of a call', () => {
      make(letters);
      expect(input.message(Buffer.from('-x-'), 1, 2)).to.equal(true);
      expect(input.message(Buffer.alloc(0), 0, 0, 6)).to.equal(true);
      expect(owner.events).to.deep.equal(['MESSAGES 0:x', 'MESSAGES 6:']);
    });

    it('begins a further record when one is full', () => {
      make((bytes, _start, end) => {
        for (let i = 0; i < 5; i++) expect(input.message(Buffer.alloc(20_000, 97 + i), 0, 20_000)).to.equal(true);
        expect(bytes.length).to.equal(end);
        return end;
      });
      receive('?');
      expect(owner.events).to.deep.equal(['MESSAGES 0:20000xa 0:20000xb 0:20000xc', 'MESSAGES 0:20000xd 0:20000xe']);
    });

    it('puts the longest that is one record into one, and a longer one into several', () => {
      make((_bytes, _start, end) => {
        expect(input.message(Buffer.from('a'), 0, 1)).to.equal(true);
        expect(input.message(Buffer.alloc(STREAM_ABOVE_BYTES, 'b'), 0, STREAM_ABOVE_BYTES)).to.equal(true);
        const long = Buffer.alloc(2 * STREAM_ABOVE_BYTES + 3, 'c');
        expect(input.message(long, 1, long.length, 6)).to.equal(true);
        expect(input.message(Buffer.from('d'), 0, 1)).to.equal(true);
        return end;
      });
      receive('?');
      expect(owner.events).to.deep.equal([
        'MESSAGES 0:a',
        `MESSAGES 0:${STREAM_ABOVE_BYTES}xb`,
        `PART_FIRST of ${2 * STREAM_ABOVE_BYTES + 2} kind 6: ${STREAM_ABOVE_BYTES}xc`,
        `PART ${STREAM_ABOVE_BYTES}xc`,
        'PART cc',
        'MESSAGES 0:d',
      ]);
      expect(messages).to.equal(4);
    });

    it('has taken a long one as soon as its beginning is taken: the rest waits, and what comes is not decoded', () => {
      make((bytes, start, end) => {
        const length = 3 * STREAM_ABOVE_BYTES;
        const own = Buffer.alloc(length, bytes[start]);
        return start < end && input.message(own, 0, length) ? start + 1 : start;
      });
      owner.room = 1;
      receive('xy');
      expect(codec.given).to.deep.equal(['xy']);
      expect(owner.events.length).to.equal(1);
      expect(told).to.deep.equal(['blocked']);
      owner.takeMore(4);
      expect(owner.events.map((event) => event.split(':')[0])).to.deep.equal([
        `PART_FIRST of ${3 * STREAM_ABOVE_BYTES} kind 0`,
        `PART ${STREAM_ABOVE_BYTES}xx`,
        `PART ${STREAM_ABOVE_BYTES}xx`,
        `PART_FIRST of ${3 * STREAM_ABOVE_BYTES} kind 0`,
        `PART ${STREAM_ABOVE_BYTES}xy`,
      ]);
      owner.takeMore();
      expect(owner.events.at(-1)).to.equal(`PART ${STREAM_ABOVE_BYTES}xy`);
      expect(owner.events.length).to.equal(6);
      expect(told).to.deep.equal(['blocked', 'free']);
    });

    it('keeps the order with runs of frames, with pieces and with what fails', () => {
      const frames = Buffer.from('\x03\0\0\0\0\0f\x03\0\0\0\x06\0g', 'latin1');
      make((_bytes, _start, end) => {
        input.message(Buffer.from('a'), 0, 1);
        input.frames(frames, 0, frames.length, 2);
        input.message(Buffer.from('b'), 0, 1);
        input.partFirst(2, Buffer.from('c'), 0, 1);
        input.part(Buffer.from('d'), 0, 1);
        input.message(Buffer.from('e'), 0, 1);
        input.fail('protocol-error', new ReactorError('ERR_REACTOR_PROTOCOL', 'no'));
        return end;
      });
      receive('?');
      expect(owner.events).to.deep.equal([
        'MESSAGES 0:a',
        'MESSAGES 0:f 6:g',
        'MESSAGES 0:b',
        'PART_FIRST of 2 kind 0: c',
        'PART d',
        'MESSAGES 0:e',
      ]);
      expect(told).to.deep.equal(['protocol-error ERR_REACTOR_PROTOCOL']);
    });

    it('gives the codec what it did not take again, from there on', () => {
      make((bytes, start, end) => {
        // One record a message.
        for (let at = start; at < end; at++) {
          if (!input.partFirst(1, bytes, at, at + 1)) return at;
        }
        return end;
      });
      owner.room = 1;
      receive('abcd');
      receive('e');
      expect(codec.given).to.deep.equal(['abcd']);
      owner.takeMore(1);
      expect(codec.given).to.deep.equal(['abcd', 'cde']);
      owner.takeMore(2);
      expect(codec.given).to.deep.equal(['abcd', 'cde', 'de']);
      owner.takeMore();
      expect(owner.events.map((event) => event.slice(-1)).join('')).to.equal('abcde');
    });

    it('asks a codec again that had taken all bytes when its last message was refused', () => {
      let kept: Buffer | undefined;
      make((bytes, start, end) => {
        if (kept !== undefined && !input.partFirst(1, kept, 0, 1)) return start;
        kept = undefined;
        for (let at = start; at < end; at++) {
          const one = Buffer.from(bytes.subarray(at, at + 1));
          if (input.partFirst(1, one, 0, 1)) continue;
          // It knows how to keep one itself, as codec 'frame' keeps one that was compressed.
          kept = one;
          return at + 1;
        }
        return end;
      });
      owner.room = 0;
      receive('ab');
      input.ended();
      expect(kept?.toString()).to.equal('b');
      owner.takeMore();
      expect(owner.events).to.deep.equal(['PART_FIRST of 1 kind 0: a', 'PART_FIRST of 1 kind 0: b', 'END']);
    });
  });

  describe('that has to wait', () => {
    /** Takes everything, waits at 'w', and gives what it has taken once it does not wait any more. */
    function makeWaiting(): void {
      let taken = '';
      make((bytes, start, end) => {
        if (taken !== '') {
          const message = Buffer.from(taken);
          if (!input.message(message, 0, message.length)) return start;
          taken = '';
        }
        for (let at = start; at < end; at++) {
          if (bytes[at] === 119) {
            codec.isWaiting = true;
            taken = `(${bytes.toString('latin1', start, at)})`;
            return at + 1;
          }
        }
        if (end > start) input.message(bytes, start, end);
        return end;
      });
    }

    function goOn(): void {
      codec.isWaiting = false;
      input.resume();
    }

    it('is given nothing meanwhile, and then what came, or an empty rest', () => {
      makeWaiting();
      receive('abw');
      receive('c');
      receive('d');
      expect([codec.given, owner.events]).to.deep.equal([['abw'], []]);
      expect(told).to.deep.equal(['blocked']);
      goOn();
      expect(codec.given).to.deep.equal(['abw', 'cd']);
      expect(owner.events).to.deep.equal(['MESSAGES 0:(ab) 0:cd']);
      expect(told).to.deep.equal(['blocked', 'free']);
      receive('w');
      goOn();
      expect(codec.given).to.deep.equal(['abw', 'cd', 'w', '']);
      expect(owner.events.at(-1)).to.equal('MESSAGES 0:()');
    });

    it('has the end, the wind-down and the close wait behind it, in order', () => {
      makeWaiting();
      receive('aw');
      input.ended();
      input.windDown();
      input.closed(Buffer.from('why'));
      expect([owner.events, told, codec.closes]).to.deep.equal([[], [], 0]);
      goOn();
      expect(owner.events).to.deep.equal(['MESSAGES 0:(a)', 'END', 'WIND_DOWN', 'CLOSE why']);
      expect([told, codec.closes]).to.deep.equal([['input ended'], 1]);
    });

    it('can fail behind what came before, also when the connection is closed already', () => {
      makeWaiting();
      receive('aw');
      input.closed(Buffer.from('why'));
      codec.isWaiting = false;
      input.fail('decompression-failed', new ReactorError('ERR_REACTOR_DECOMPRESSION', 'no'));
      expect(owner.events).to.deep.equal(['CLOSE why']);
      expect(codec.closes).to.equal(1);
      goOn();
      expect(codec.given).to.deep.equal(['aw']);
    });

    it('may go on while the ring is full: it is called when there is room', () => {
      makeWaiting();
      receive('aw');
      owner.room = 0;
      input.attach(new Lane(1).asLane);
      input.message(Buffer.from('x'), 0, 1);
      goOn();
      expect(codec.given).to.deep.equal(['aw']);
      owner.takeMore();
      expect(codec.given).to.deep.equal(['aw', '']);
      expect(owner.events).to.deep.equal(['MESSAGES 0:x', 'MESSAGES 0:(a)']);
    });

    it('is forgotten if nobody is there to take anything', () => {
      makeWaiting();
      receive('aw');
      input.discard();
      goOn();
      receive('b');
      expect(codec.given).to.deep.equal(['aw']);
      // What has been sent is still to be encoded.
      expect(codec.closes).to.equal(0);
      input.closed(Buffer.from('why'));
      expect(codec.closes).to.equal(1);
    });

    it('goes on for the next thread when the one before has died meanwhile', () => {
      makeWaiting();
      receive('aw');
      input.laneDied(owner.asLane);
      goOn();
      expect(codec.given).to.deep.equal(['aw']);
      input.attach(other.asLane);
      expect(other.events).to.deep.equal(['OPEN again', 'MESSAGES 0:(a)']);
    });
  });

  describe('that is at fault', () => {
    const nonsense: Record<string, unknown> = {
      'a negative number': -1,
      'more than there was': 3,
      'no number': Number.NaN,
      nothing: undefined,
      'less than it could have taken': 1,
    };
    for (const [which, returned] of Object.entries(nonsense)) {
      it(`ends this connection when it returns ${which}, behind the messages that it gave`, () => {
        make((bytes, start) => {
          input.message(bytes, start, start + 1);
          return returned as number;
        });
        receive('ab');
        expect(owner.events).to.deep.equal(['MESSAGES 0:a']);
        expect(told).to.deep.equal(['protocol-error ERR_REACTOR_CODEC_FAILED']);
        receive('c');
        expect([codec.given, codec.closes]).to.deep.equal([['ab'], 1]);
      });
    }

    it('ends this connection when it throws, behind the messages that it gave', () => {
      make((bytes, start) => {
        input.message(bytes, start, start + 1);
        throw new Error('a defect');
      });
      receive('ab');
      expect(owner.events).to.deep.equal(['MESSAGES 0:a']);
      expect(told).to.deep.equal(['protocol-error ERR_REACTOR_CODEC_FAILED']);
    });

    it('does not leave its messages to the next connection', () => {
      make((bytes, start) => {
        input.message(bytes, start, start + 1);
        throw new Error('a defect');
      });
      receive('a');
      make(letters);
      receive('b');
      expect(owner.events).to.deep.equal(['MESSAGES 0:b']);
    });

    it('may fail in the middle of a call: what it returns then means nothing', () => {
      make((bytes, start) => {
        input.message(bytes, start, start + 1);
        input.fail('frame-too-large', new ReactorError('ERR_REACTOR_FRAME_TOO_LARGE', 'no'));
        return Number.NaN;
      });
      receive('ab');
      expect(told).to.deep.equal(['frame-too-large ERR_REACTOR_FRAME_TOO_LARGE']);
    });
  });

  describe('and answers to requests', () => {
    /** Each letter is a message; a digit is an answer to that lane; a capital is one to lane 5 in two pieces. */
    const mixed: Decode = (bytes, start, end) => {
      for (let at = start; at < end; at++) {
        const letter = bytes.toString('latin1', at, at + 1);
        const isAnswer = letter >= '0' && letter <= '9';
        const taken = isAnswer
          ? input.message(answer(Number(letter), letter), 0, 5, 7)
          : input.message(bytes, at, at + 1);
        if (!taken) return at;
      }
      return end;
    };

    it('hands them to the thread that asked, in order with the messages if it gets those', () => {
      make(mixed);
      receive('a0b5c');
      expect(owner.events).to.deep.equal([
        'MESSAGES 0:a',
        `ANSWERS 7:${shown(0, '0')}`,
        'MESSAGES 0:b',
        'MESSAGES 0:c',
      ]);
      expect(other.events).to.deep.equal([`ANSWERS 7:${shown(5, '5')}`]);
      // They are no messages.
      expect(messages).to.equal(3);
      expect([owner.connections, other.connections]).to.deep.equal([1, 0]);
    });

    it('drops those to a thread that is gone', () => {
      make(mixed);
      receive('9a9');
      expect(owner.events).to.deep.equal(['MESSAGES 0:a']);
      expect(told).to.deep.equal([]);
    });

    it('decodes no further while the ring of a thread that asked is full', () => {
      make(mixed);
      other.room = 0;
      receive('a5b5c');
      expect(owner.events).to.deep.equal(['MESSAGES 0:a']);
      expect(told).to.deep.equal(['blocked']);
      other.takeMore();
      expect(owner.events).to.deep.equal(['MESSAGES 0:a', 'MESSAGES 0:b', 'MESSAGES 0:c']);
      expect(other.events.length).to.equal(2);
      expect(told).to.deep.equal(['blocked', 'free']);
    });

    it('goes on when that thread dies', () => {
      make(mixed);
      other.room = 0;
      receive('5b5c');
      lanes.delete(5);
      expect(input.laneDied(other.asLane)).to.equal(false);
      expect(owner.events).to.deep.equal(['MESSAGES 0:b', 'MESSAGES 0:c']);
      expect(told).to.deep.equal(['blocked', 'free']);
    });

    it('hands a long one on in pieces, whole or as it comes', () => {
      make((_bytes, _start, end) => {
        const long = Buffer.concat([answer(5, ''), Buffer.alloc(STREAM_ABOVE_BYTES, 'x')]);
        expect(input.message(Buffer.from('a'), 0, 1)).to.equal(true);
        expect(input.message(long, 0, long.length, 8)).to.equal(true);
        expect(input.partFirst(6, answer(0, ''), 0, 4, 7)).to.equal(true);
        expect(input.part(Buffer.from('yz'), 0, 2)).to.equal(true);
        expect(input.message(Buffer.from('b'), 0, 1)).to.equal(true);
        return end;
      });
      receive('?');
      expect(owner.events).to.deep.equal([
        'MESSAGES 0:a',
        `ANSWER_FIRST of 6 kind 7: ${shown(0, '')}`,
        'ANSWER_PART yz',
        'MESSAGES 0:b',
      ]);
      expect(other.events).to.deep.equal([
        `ANSWER_FIRST of ${STREAM_ABOVE_BYTES + 4} kind 8: ${STREAM_ABOVE_BYTES}x?`,
        'ANSWER_PART xxxx',
      ]);
      expect(messages).to.equal(2);
    });

    it('drops the rest of a long one whose thread has died', () => {
      make((bytes, start, end) => {
        if (bytes[start] === 49) input.partFirst(8, answer(5, ''), 0, 4, 7);
        else if (bytes[start] === 50) input.part(Buffer.from('rest'), 0, 4);
        else input.message(bytes, start, end);
        return end;
      });
      receive('1');
      lanes.delete(5);
      input.laneDied(other.asLane);
      receive('2');
      receive('a');
      expect(other.events.length).to.equal(1);
      expect(owner.events).to.deep.equal(['MESSAGES 0:a']);
    });

    it('gives a thread that joins in the middle of a long answer the next message whole', () => {
      make((bytes, start, end) => {
        if (bytes[start] === 49) input.partFirst(8, answer(5, ''), 0, 4, 7);
        else if (bytes[start] === 50) input.part(Buffer.from('rest'), 0, 4);
        else input.message(bytes, start, end);
        return end;
      }, false);
      receive('1');
      const joined = new Lane(7);
      input.attach(joined.asLane);
      receive('2');
      receive('a');
      expect(joined.events).to.deep.equal(['OPEN again', 'MESSAGES 0:a']);
    });

    it('are not passed on to the thread that takes over', () => {
      make(mixed);
      owner.room = 0;
      receive('a0');
      input.laneDied(owner.asLane);
      lanes.delete(0);
      input.attach(other.asLane);
      expect(other.events).to.deep.equal(['OPEN again', 'MESSAGES 0:a']);
    });

    it('come through the box of a thread that has taken over since', () => {
      make(mixed);
      receive('5');
      input.leave(owner.asLane);
      input.released(owner.asLane);
      input.attach(other.asLane);
      receive('5a');
      expect(other.events).to.deep.equal([
        `ANSWERS 7:${shown(5, '5')}`,
        'OPEN again',
        `ANSWERS 7:${shown(5, '5')}`,
        'MESSAGES 0:a',
      ]);
    });
  });

  it('counts a connection for each thread that gets its events, until it has heard of the close, left or died', () => {
    make(letters, false);
    input.attach(other.asLane);
    const third = new Lane(6);
    input.attach(third.asLane);
    expect([owner.connections, other.connections, third.connections]).to.deep.equal([1, 1, 1]);
    input.leave(owner.asLane);
    expect(owner.connections).to.equal(1);
    input.released(owner.asLane);
    input.laneDied(other.asLane);
    input.closed(Buffer.alloc(0));
    expect(third.connections).to.equal(1);
    input.closeDone(third.asLane);
    expect([owner.connections, other.connections, third.connections]).to.deep.equal([0, 0, 0]);
  });

  it('counts what is ignored, and takes an empty read', () => {
    make((_bytes, _start, end) => {
      input.ignored();
      return end;
    });
    receive('');
    receive('a');
    expect(told).to.deep.equal(['ignored', 'ignored']);
  });
});
