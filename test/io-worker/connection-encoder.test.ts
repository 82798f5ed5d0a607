import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { Broadcast, EACH_FOR_ITSELF } from '../../src/io-worker/broadcast.js';
import { type Chunk, ChunkPool } from '../../src/io-worker/chunk-pool.js';
import type { CodecOutput, ConnectionCodec } from '../../src/io-worker/codec.js';
import { ConnectionEncoder } from '../../src/io-worker/connection-encoder.js';
import { ConnectionOutput } from '../../src/io-worker/connection-output.js';
import type { EventLane } from '../../src/io-worker/event-lane.js';
import type { SocketStream } from '../../src/io-worker/socket-stream.js';
import { SharedMemory } from '../../src/shared/shared-memory.js';
import { frame } from '../fixtures/raw-peer.js';

const KIB = 1024;

/** Promises that are settled one by one, by a test. */
class Gate {
  readonly #waiting: { readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  get count(): number {
    return this.#waiting.length;
  }

  wait(): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Settles the one with that number, modulo how many there are; what follows from it has happened then. */
  async open(which = 0, error?: Error): Promise<void> {
    const [settled] = this.#waiting.splice(which % this.#waiting.length, 1);
    if (error === undefined) settled?.resolve();
    else settled?.reject(error);
    await turn();
  }
}

/**
 * Writes `<kind:text>`. What a text begins with says how: 'a' asynchronously, 'b' half of it before and half behind a wait,
 * 'n' nothing, 'l' much more than it was, 't' throws, 'r' rejects behind a wait, anything else at once.
 */
class TextCodec implements ConnectionCodec {
  passesThrough: boolean;
  sharedEncoding: string | undefined = 'text';
  readonly #gate: Gate;
  readonly encoded: string[] = [];

  constructor(gate: Gate, passesThrough = false) {
    this.#gate = gate;
    this.passesThrough = passesThrough;
  }

  static bytesOf(message: string, kind: number): string {
    if (message.startsWith('n')) return '';
    if (message.startsWith('l')) return `<${kind}:${message.repeat(20)}>`;
    return `<${kind}:${message}>`;
  }

  encode(message: Buffer, output: CodecOutput, kind: number): void | Promise<void> {
    const text = message.toString();
    this.encoded.push(text);
    const bytes = Buffer.from(TextCodec.bytesOf(text, kind));
    // It is the codec's to change.
    message.fill('?');
    switch (text[0]) {
      case 'n':
        return;
      case 't':
        output.write(bytes.subarray(0, 2));
        throw new Error('not this one');
      case 'r':
        return this.#gate.wait().then(() => {
          throw new Error('not this one');
        });
      case 'a':
        return this.#gate.wait().then(() => output.write(bytes));
      case 'b':
        output.write(bytes.subarray(0, 3));
        return this.#gate.wait().then(() => output.write(bytes.subarray(3)));
      default:
        for (let at = 0; at < bytes.length; at += 7) output.write(bytes.subarray(at, at + 7));
    }
  }

  decode(_bytes: Uint8Array, _start: number, end: number): number {
    return end;
  }

  incomplete(): undefined {}
}

function lane(isRetired = false): EventLane {
  return { isRetired } as unknown as EventLane;
}

function memoryFor(bytes: number): SharedMemory {
  return SharedMemory.allocate(Math.ceil(bytes / 8) * 8);
}

/** An encoder and its output, on a socket that takes everything, and what senders are charged for. */
class Stage {
  readonly gate = new Gate();
  readonly codec: TextCodec;
  readonly output: ConnectionOutput;
  readonly encoder: ConnectionEncoder;
  /** What the socket got; '|' is FIN. */
  sent = '';
  /** As the connection table would have it. */
  charged = 0;
  readonly uncharges: number[] = [];
  readonly flushed: EventLane[] = [];
  failure: Error | undefined;
  isClosed = false;

  constructor(passesThrough = false) {
    this.codec = new TextCodec(this.gate, passesThrough);
    const socket = {
      write: (chunks: readonly Chunk[]) => {
        for (const { buffer, start, end } of chunks) this.sent += buffer.toString('latin1', start, end);
        return true;
      },
      end: () => {
        this.sent += '|';
      },
    };
    this.output = new ConnectionOutput(socket as unknown as SocketStream, new ChunkPool(), {
      onOutput: () => undefined,
      onSent: (bytes, own) => {
        this.charged -= bytes - own;
      },
      onFlushed: (of) => void this.flushed.push(of),
    });
    this.encoder = new ConnectionEncoder(this.output, new ChunkPool(), {
      uncharge: (bytes) => {
        this.uncharges.push(bytes);
        this.charged -= bytes;
      },
      onEncodeFailed: (error) => {
        this.failure = error as Error;
        this.close();
      },
    });
    this.encoder.start(this.codec);
  }

  /** As a connection closes: whatever was charged for and not sent is given back. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.charged -= this.output.unwritten + this.encoder.waitingBytes;
    this.encoder.close();
    this.output.clear();
  }

  /** What comes for a connection that is closed is given back by who takes it out of the ring. */
  #charge(bytes: number): void {
    if (!this.isClosed) this.charged += bytes;
  }

  /** One record with the frames of these messages. */
  send(...messages: string[]): void {
    const record = Buffer.concat(messages.map((message) => frame(message)));
    const memory = memoryFor(record.length + 8);
    memory.copyIn(3, record, 0, record.length);
    this.#charge(record.length);
    this.encoder.send(memory, 3, record.length);
  }

  /** A piece of a frame. */
  sendPart(of: EventLane, bytes: Buffer, isLast: boolean): void {
    const memory = memoryFor(bytes.length + 8);
    memory.copyIn(1, bytes, 0, bytes.length);
    this.#charge(bytes.length);
    this.encoder.sendPart(of, memory, 1, bytes.length, isLast);
  }

  /** As a connection does it. */
  broadcast(broadcast: Broadcast): void {
    const encoded = broadcast.encodedFor(this.encoder);
    if (encoded === undefined) return;
    const bytes = Buffer.isBuffer(encoded) ? encoded.length : broadcast.plainBytes;
    this.#charge(bytes);
    if (encoded === EACH_FOR_ITSELF) this.encoder.sendMessage(broadcast.copy(), bytes);
    else this.encoder.sendShared(encoded, bytes);
  }

  own(text: string, waits = false): boolean {
    return this.encoder.writeOwn((output) => {
      if (!waits) return output.write(Buffer.from(`[${text}]`));
      output.write(Buffer.from('['));
      return this.gate.wait().then(() => output.write(Buffer.from(`${text}]`)));
    });
  }

  flush(): void {
    this.output.flush();
  }

  /** What must hold at any time: who was charged for something finds it in the output or in the encoder. */
  check(): void {
    const { unwritten } = this.output;
    const { waitingBytes } = this.encoder;
    expect(this.charged, `charged; ${unwritten} in the output, ${waitingBytes} in the encoder`).to.equal(
      this.isClosed ? 0 : unwritten + waitingBytes,
    );
  }

  /** Lets everything go on that waits. */
  async finish(): Promise<void> {
    while (this.gate.count > 0) {
      await this.gate.open();
      this.check();
    }
    // A burst may have been interrupted.
    for (let turns = 0; turns < 20; turns++) await turn();
    // One flush writes 1 MiB at most.
    for (let flushes = 0; flushes < 20; flushes++) this.flush();
    this.check();
  }
}

describe('ConnectionEncoder', () => {
  it('is out of the way of a codec that passes through', () => {
    const stage = new Stage(true);
    stage.send('one', 'two');
    stage.sendPart(lane(), frame('three'), true);
    stage.flush();
    expect(stage.sent).to.equal(Buffer.concat([frame('one'), frame('two'), frame('three')]).toString('latin1'));
    expect(stage.codec.encoded).to.deep.equal([]);
    stage.check();
    expect(stage.charged).to.equal(0);
  });

  it('encodes each frame of a record, with its kind, and charges for what comes out', () => {
    const stage = new Stage();
    stage.send('one', '', 'long', 'none');
    const record = frame('question', 6);
    stage.charged += record.length;
    const memory = memoryFor(record.length);
    memory.copyIn(0, record, 0, record.length);
    stage.encoder.send(memory, 0, record.length);
    stage.check();
    stage.flush();
    expect(stage.sent).to.equal(`<0:one><0:><0:${'long'.repeat(20)}><6:question>`);
    expect(stage.charged).to.equal(0);
    // <0:one> for a header of 6 and a body of 3; nothing for 'none'.
    expect(stage.uncharges).to.deep.equal([9 - 7, 6 - 4, 10 - 84, 10, 14 - 12]);
  });

  it('lets everything wait, in order, behind a message that takes its time', async () => {
    const stage = new Stage();
    const asking = lane();
    stage.send('one', 'async', 'second', 'both', '3rd');
    stage.send('four');
    expect(stage.own('pong')).to.equal(true);
    stage.sendPart(lane(), frame('five'), true);
    stage.broadcast(new Broadcast(Buffer.from('everyone'), { maxMessageBytes: 1000 }));
    stage.encoder.notifyFlushed(asking);
    stage.encoder.finish();
    stage.flush();
    expect([stage.sent, stage.flushed]).to.deep.equal(['<0:one>', []]);
    stage.check();
    await stage.gate.open();
    stage.flush();
    expect([stage.sent, stage.gate.count]).to.deep.equal(['<0:one><0:async><0:second><0:', 1]);
    stage.check();
    await stage.gate.open();
    stage.flush();
    expect(stage.sent).to.equal('<0:one><0:async><0:second><0:both><0:3rd><0:four>[pong]<0:five><0:everyone>|');
    expect(stage.flushed).to.deep.equal([asking]);
    expect(stage.charged).to.equal(0);
  });

  it('answers a flush when what is encoded before it is written, not before', async () => {
    const stage = new Stage();
    const [first, second] = [lane(), lane()];
    stage.send('a1');
    stage.encoder.notifyFlushed(first);
    stage.send('x');
    await stage.gate.open();
    expect(stage.flushed).to.deep.equal([]);
    stage.flush();
    expect(stage.flushed).to.deep.equal([first]);
    stage.encoder.notifyFlushed(second);
    expect(stage.flushed).to.deep.equal([first, second]);
  });

  it('does not ask for a flush for a thread that has died meanwhile', async () => {
    const stage = new Stage();
    const asking = { isRetired: false };
    stage.send('a1');
    stage.encoder.notifyFlushed(asking as unknown as EventLane);
    asking.isRetired = true;
    await stage.finish();
    expect(stage.flushed).to.deep.equal([]);
  });

  it('passes through what waited when the codec has stopped encoding, and encodes it when it has begun', async () => {
    const stage = new Stage();
    stage.send('a1');
    stage.send('late');
    stage.codec.passesThrough = true;
    await stage.finish();
    expect(stage.sent).to.equal(`<0:a1>${frame('late').toString('latin1')}`);
    stage.codec.passesThrough = false;
    stage.send('again');
    await stage.finish();
    expect(stage.sent.endsWith('<0:again>')).to.equal(true);
    expect(stage.charged).to.equal(0);
  });

  describe('with messages in pieces', () => {
    it('keeps those of two threads apart', async () => {
      const stage = new Stage();
      const [first, second] = [lane(), lane()];
      const [one, two] = [frame('first message'), frame('second message')];
      stage.sendPart(first, one.subarray(0, 3), false);
      stage.sendPart(second, two.subarray(0, 10), false);
      stage.send('between');
      stage.sendPart(second, two.subarray(10), true);
      stage.check();
      stage.sendPart(first, one.subarray(3, 4), false);
      stage.sendPart(first, one.subarray(4), true);
      await stage.finish();
      expect(stage.sent).to.equal('<0:between><0:second message><0:first message>');
      expect(stage.charged).to.equal(0);
    });

    it('drops the pieces of a thread that has died, says how many bytes they were, and keeps the others', async () => {
      const stage = new Stage();
      const [dead, alive] = [lane(), lane()];
      const message = frame('whole');
      stage.sendPart(dead, Buffer.alloc(100), false);
      stage.sendPart(dead, Buffer.alloc(50), false);
      stage.sendPart(alive, message.subarray(0, 5), false);
      expect(stage.encoder.waitingBytes).to.equal(155);
      const dropped = stage.encoder.dropParts(dead);
      expect(dropped).to.equal(150);
      stage.charged -= dropped;
      stage.check();
      expect(stage.encoder.dropParts(dead)).to.equal(0);
      stage.sendPart(alive, message.subarray(5), true);
      await stage.finish();
      expect(stage.sent).to.equal('<0:whole>');
      expect(stage.charged).to.equal(0);
    });
  });

  describe("with things of the codec's own", () => {
    it('writes them when it is their turn, and charges nobody', async () => {
      const stage = new Stage();
      expect(stage.own('hello')).to.equal(true);
      stage.check();
      stage.flush();
      expect([stage.sent, stage.charged]).to.deep.equal(['[hello]', 0]);
      stage.own('slow', true);
      stage.send('one');
      stage.flush();
      expect(stage.sent).to.equal('[hello][');
      await stage.finish();
      expect(stage.sent).to.equal('[hello][slow]<0:one>');
    });

    it('takes no more of them when 64 wait behind a message that takes its time, and more when it is done', async () => {
      const stage = new Stage();
      stage.send('a1');
      for (let i = 0; i < 64; i++) expect(stage.own(`${i}`)).to.equal(true);
      expect([stage.own('too much'), stage.own('too much')]).to.deep.equal([false, false]);
      await stage.gate.open();
      expect(stage.own('fits')).to.equal(true);
      await stage.finish();
      expect(stage.sent).to.match(/\[62\]\[63\]\[fits\]$/);
      expect(stage.sent).not.to.include('too much');
    });

    it('takes no more of them when 16 KiB wait to be written', () => {
      const stage = new Stage();
      for (let i = 0; i < 8; i++) expect(stage.own('x'.repeat(2 * KIB))).to.equal(true);
      expect(stage.own('too much')).to.equal(false);
      stage.flush();
      expect(stage.own('fits')).to.equal(true);
    });
  });

  describe('with a codec that fails', () => {
    for (const [how, text] of [
      ['throws', 'throws'],
      ['rejects', 'rejects'],
    ] as const) {
      it(`says so once when it ${how}, and writes nothing that is behind it`, async () => {
        const stage = new Stage();
        stage.send('one', text, 'second');
        stage.send('3rd');
        stage.own('own');
        await stage.finish();
        expect(stage.failure?.message).to.equal('not this one');
        expect(stage.codec.encoded).to.deep.equal(['one', text]);
        expect(stage.charged).to.equal(0);
        stage.send('later');
        expect(stage.codec.encoded).to.deep.equal(['one', text]);
      });
    }

    it('says so when what it writes of its own throws or rejects', async () => {
      for (const write of [
        () => {
          throw new Error('own');
        },
        () => Promise.reject(new Error('own')),
      ]) {
        const stage = new Stage();
        stage.encoder.writeOwn(write);
        await turn();
        expect(stage.failure?.message).to.equal('own');
      }
    });
  });

  describe('that is closed', () => {
    it('drops what waits, and what a message under way still writes', async () => {
      const stage = new Stage();
      stage.send('one', 'both', 'second');
      stage.send('3rd');
      stage.sendPart(lane(), Buffer.alloc(10), false);
      stage.check();
      stage.close();
      expect([stage.charged, stage.encoder.waitingBytes]).to.deep.equal([0, 0]);
      await stage.gate.open();
      expect([stage.charged, stage.encoder.waitingBytes, stage.failure]).to.deep.equal([0, 0, undefined]);
      expect(stage.codec.encoded).to.deep.equal(['one', 'both']);
    });

    it('does not mind a codec that fails afterwards', async () => {
      const stage = new Stage();
      stage.send('rejects');
      stage.close();
      await stage.gate.open();
      expect(stage.failure).to.equal(undefined);
    });
  });

  describe('with a long queue', () => {
    it('encodes 256 KiB of it at once, and the rest in later turns', async () => {
      const stage = new Stage();
      stage.send('a1');
      const message = `${'x'.repeat(64 * KIB)}`;
      for (let i = 0; i < 20; i++) stage.send(message);
      stage.send('end');
      const opened = stage.gate.open();
      // Microtasks only.
      for (let i = 0; i < 10; i++) await Promise.resolve();
      expect(stage.codec.encoded.length).to.equal(1 + 4);
      stage.send('outermost');
      expect(stage.codec.encoded.length).to.equal(1 + 4);
      stage.check();
      await opened;
      await stage.finish();
      expect(stage.codec.encoded.slice(-2)).to.deep.equal(['end', 'outermost']);
      expect(stage.sent.endsWith('<0:end><0:outermost>')).to.equal(true);
      expect(stage.charged).to.equal(0);
    });

    it('can be closed in between', async () => {
      const stage = new Stage();
      stage.send('a1');
      for (let i = 0; i < 20; i++) stage.send('x'.repeat(64 * KIB));
      const opened = stage.gate.open();
      for (let i = 0; i < 10; i++) await Promise.resolve();
      stage.close();
      await opened;
      await turn();
      expect(stage.codec.encoded.length).to.equal(1 + 4);
      expect(stage.charged).to.equal(0);
    });
  });

  describe('with broadcasts', () => {
    it('encodes one once for all that encode alike', async () => {
      const stages = [new Stage(), new Stage(), new Stage(), new Stage()];
      const [one, two, three, four] = stages as [Stage, Stage, Stage, Stage];
      three.codec.sharedEncoding = 'other';
      four.codec.sharedEncoding = undefined;
      for (const text of ['sync', 'async', 'long', 'none']) {
        const broadcast = new Broadcast(Buffer.from(text), { maxMessageBytes: 1000 });
        for (const stage of stages) stage.broadcast(broadcast);
        for (const stage of stages) stage.check();
      }
      expect(stages.map(({ codec }) => codec.encoded.length)).to.deep.equal([4, 0, 4, 2]);
      // The shared one is awaited by two, 'four' has its own behind which the others wait.
      for (const stage of [one, three, four, two]) await stage.finish();
      for (const stage of stages) {
        await stage.finish();
        expect(stage.sent).to.equal(`<0:sync><0:async><0:${'long'.repeat(20)}>`);
        expect(stage.charged).to.equal(0);
      }
      expect(four.codec.encoded.length).to.equal(4);
    });

    it('gives up one that is too long, or that the codec does not want, and keeps the connection', () => {
      const stage = new Stage();
      stage.broadcast(new Broadcast(Buffer.alloc(11), { maxMessageBytes: 10 }));
      stage.broadcast(new Broadcast(Buffer.from('throws'), { maxMessageBytes: 10 }));
      stage.broadcast(new Broadcast(Buffer.from('fits'), { maxMessageBytes: 10 }));
      stage.flush();
      expect([stage.sent, stage.failure, stage.charged]).to.deep.equal(['<0:fits>', undefined, 0]);
    });

    it('leaves no rejection alone when nobody is there any more to hear of it', async () => {
      const strays: unknown[] = [];
      const note = (error: unknown): void => void strays.push(error);
      // Mocha would take it for a failure of its own.
      const others = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection');
      process.on('unhandledRejection', note);
      try {
        // One connection is busy when the encoding fails, one has closed, one has never taken it.
        const [busy, gone] = [new Stage(), new Stage()];
        busy.send('a1');
        gone.send('a1');
        const broadcast = new Broadcast(Buffer.from('rejects'), { maxMessageBytes: 10 });
        busy.broadcast(broadcast);
        gone.broadcast(broadcast);
        void new Broadcast(Buffer.from('rejects'), { maxMessageBytes: 10 }).encodedFor(new Stage().encoder);
        gone.close();
        expect(busy.gate.count).to.equal(2);
        await busy.gate.open(1);
        await turn();
        expect(strays).to.deep.equal([]);
        expect(busy.failure).to.equal(undefined);
        await busy.gate.open();
        expect(busy.failure?.message).to.equal('not this one');
        expect(busy.charged).to.equal(0);
      } finally {
        process.off('unhandledRejection', note);
        for (const other of others) process.on('unhandledRejection', other);
      }
    });
  });

  describe('with any interleaving of what may happen', () => {
    type Op =
      | { readonly op: 'send'; readonly messages: readonly string[] }
      | { readonly op: 'part'; readonly lane: number; readonly at: number }
      | { readonly op: 'last'; readonly lane: number; readonly message: string }
      | { readonly op: 'die'; readonly lane: number }
      | { readonly op: 'broadcast'; readonly message: string; readonly shared: boolean }
      | { readonly op: 'own'; readonly text: string; readonly waits: boolean }
      | { readonly op: 'open'; readonly which: number }
      | { readonly op: 'flush' | 'ask' };

    const texts = (failing: boolean): fc.Arbitrary<string> =>
      fc
        .tuple(
          fc.constantFrom('x', 'x', 'x', 'a', 'b', 'n', 'l', ...(failing ? ['t', 'r'] : [])),
          fc.integer({ min: 0, max: 3000 }),
        )
        .map(([letter, length]) => `${letter}${String(length).repeat(length > 2900 ? length : 3)}`);

    const ops = (failing: boolean): fc.Arbitrary<Op[]> =>
      fc.array(
        fc.oneof(
          {
            weight: 5,
            arbitrary: fc.record({
              op: fc.constant('send' as const),
              messages: fc.array(texts(failing), { minLength: 1, maxLength: 5 }),
            }),
          },
          { weight: 3, arbitrary: fc.record({ op: fc.constant('part' as const), lane: fc.nat(2), at: fc.nat(50) }) },
          {
            weight: 3,
            arbitrary: fc.record({ op: fc.constant('last' as const), lane: fc.nat(2), message: texts(failing) }),
          },
          { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const), lane: fc.nat(2) }) },
          {
            weight: 2,
            arbitrary: fc.record({
              op: fc.constant('broadcast' as const),
              message: texts(false),
              shared: fc.boolean(),
            }),
          },
          {
            weight: 2,
            arbitrary: fc.record({
              op: fc.constant('own' as const),
              text: fc.string({ maxLength: 3 }),
              waits: fc.boolean(),
            }),
          },
          { weight: 6, arbitrary: fc.record({ op: fc.constant('open' as const), which: fc.nat(5) }) },
          { weight: 3, arbitrary: fc.constant({ op: 'flush' as const }) },
          { weight: 1, arbitrary: fc.constant({ op: 'ask' as const }) },
        ),
        { maxLength: 40 },
      );

    /** Does it all, and checks the sums at each step. Returns what should have been written, in order. */
    async function play(stage: Stage, all: readonly Op[]): Promise<string> {
      let expected = '';
      const lanes = [lane(), lane(), lane()];
      /** The frame that each lane has begun: known when the last piece comes, so that pieces are of any frame. */
      const pieces: Buffer[][] = [[], [], []];
      for (const op of all) {
        switch (op.op) {
          case 'send':
            stage.send(...op.messages);
            for (const message of op.messages) expected += TextCodec.bytesOf(message, 0);
            break;
          case 'part': {
            // Something that will be the body of an application's frame, once its header is in front.
            const piece =
              pieces[op.lane]?.length === 0 ? frame('x'.repeat(500)).subarray(0, 6) : Buffer.from('x'.repeat(op.at));
            if (Buffer.concat(pieces[op.lane] as Buffer[]).length + piece.length > 400) break;
            pieces[op.lane]?.push(piece);
            stage.sendPart(lanes[op.lane] as EventLane, piece, false);
            break;
          }
          case 'last': {
            const begun = Buffer.concat(pieces[op.lane] as Buffer[]);
            pieces[op.lane] = [];
            const rest = begun.length === 0 ? frame(op.message) : Buffer.from('x'.repeat(506 - begun.length));
            stage.sendPart(lanes[op.lane] as EventLane, rest, true);
            expected += TextCodec.bytesOf(begun.length === 0 ? op.message : 'x'.repeat(500), 0);
            break;
          }
          case 'die':
            stage.charged -= stage.encoder.dropParts(lanes[op.lane] as EventLane);
            pieces[op.lane] = [];
            break;
          case 'broadcast':
            stage.codec.sharedEncoding = op.shared ? 'text' : undefined;
            stage.broadcast(new Broadcast(Buffer.from(op.message), { maxMessageBytes: 100_000 }));
            expected += TextCodec.bytesOf(op.message, 0);
            break;
          case 'own':
            if (stage.own(op.text, op.waits)) expected += `[${op.text}]`;
            break;
          case 'open':
            if (stage.gate.count > 0) await stage.gate.open(op.which);
            break;
          case 'flush':
            stage.flush();
            break;
          case 'ask':
            stage.encoder.notifyFlushed(lanes[0] as EventLane);
            break;
        }
        stage.check();
        if (stage.isClosed) break;
      }
      return expected;
    }

    it('writes everything, once and in order, and owes nobody anything in the end', async () => {
      await fc.assert(
        fc.asyncProperty(ops(false), async (all) => {
          const stage = new Stage();
          const expected = await play(stage, all);
          stage.encoder.finish();
          await stage.finish();
          expect(stage.sent).to.equal(`${expected}|`);
          // What is left are pieces of messages that have no last one.
          expect(stage.charged).to.equal(stage.encoder.waitingBytes);
          stage.close();
          expect(stage.charged).to.equal(0);
        }),
        { numRuns: 150 },
      );
    });

    it('writes the beginning of it, and owes nobody anything, when it is closed or fails in the middle', async () => {
      await fc.assert(
        fc.asyncProperty(ops(true), async (all) => {
          const stage = new Stage();
          const expected = await play(stage, all);
          stage.flush();
          stage.close();
          stage.check();
          const encoded = stage.codec.encoded.length;
          while (stage.gate.count > 0) await stage.gate.open();
          for (let turns = 0; turns < 3; turns++) await turn();
          expect(stage.codec.encoded.length).to.equal(encoded);
          expect(expected.startsWith(stage.sent)).to.equal(true);
          stage.check();
        }),
        { numRuns: 150 },
      );
    });
  });
});
