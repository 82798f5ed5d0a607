import { expect } from 'chai';
import { compressSync, uncompressSync } from 'lz4-napi';
import type { CodecOutput } from '../../src/io-worker/codec.js';
import type { ConnectionChannel } from '../../src/io-worker/codec-channel.js';
import { Compression } from '../../src/io-worker/compression.js';
import { FrameCodec, FrameConnection } from '../../src/io-worker/frame-codec.js';
import { pattern } from '../fixtures/scene.js';
import { Feeder, RecordingSink } from './frame-codec-fuzz.js';

const MIB = 1024 * 1024;
const LIMIT = 16 * MIB;
const DATA = 0;
const LZ4 = 1;

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

function frame(kind: number, body: Uint8Array, flags = 0): Buffer {
  const header = Buffer.alloc(6);
  header.writeUInt32LE(2 + body.length, 0);
  header[4] = kind;
  header[5] = flags;
  return Buffer.concat([header, body]);
}

/** A hello that offers LZ4, with the id of a dictionary. */
function hello(dictionaryId = 0, capabilities = 1): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt16LE(1, 0);
  body.writeUInt16LE(capabilities, 2);
  body.writeUInt32LE(LIMIT, 4);
  body.writeUInt32LE(dictionaryId, 12);
  return frame(3, body);
}

/** 20 times 'a', as LZ4 has it: a literal, 14 more from 1 back, and 5 literals as its rules want. */
const TWENTY_A = hex('14000000  1a 61 0100  50 6161616161');

/** What can be compressed, and looks like nothing else. */
function prose(length: number, seed = 0): Buffer {
  return Buffer.alloc(length, pattern(97, seed).toString('hex'));
}

interface Made {
  readonly codec: FrameConnection;
  readonly sink: RecordingSink;
  readonly feeder: Feeder;
}

describe('FrameConnection with compression', () => {
  let compression: Compression;
  let withDictionary: Compression;
  const dictionary = Buffer.from('Once upon a time there was a reactor, and it lived in a thread of its own.');

  before(async () => {
    compression = await Compression.load({ thresholdBytes: 100, dictionary: undefined });
    withDictionary = await Compression.load({ thresholdBytes: 0, dictionary });
  });

  function make(options: { of?: Compression; limit?: number; hasRoom?: () => boolean } = {}): Made {
    const sink = new RecordingSink(options.hasRoom);
    const codec = new FrameConnection(sink, {
      maxFrameBytes: options.limit ?? LIMIT,
      compression: options.of ?? compression,
    });
    return { codec, sink, feeder: new Feeder(codec, sink) };
  }

  function found(sink: RecordingSink): string[] {
    return sink.findings.map((finding) => {
      if ('body' in finding) return `${finding.what} ${finding.body.length}`;
      return finding.what === 'fail' ? `${finding.reason} ${finding.code}` : finding.what;
    });
  }

  function bodies(sink: RecordingSink): Buffer[] {
    return sink.findings.flatMap((finding) => ('body' in finding ? [finding.body] : []));
  }

  async function encoded(codec: FrameConnection, message: Buffer, kind = DATA): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    await codec.encode(Buffer.from(message), { write: (bytes) => void pieces.push(bytes) }, kind);
    return Buffer.concat(pieces);
  }

  describe('decoding', () => {
    it('decompresses a block, told here byte for byte', () => {
      const { sink, feeder } = make();
      feeder.push(Buffer.concat([frame(DATA, TWENTY_A, LZ4), frame(DATA, hex('62'))]));
      expect(bodies(sink).map(String)).to.deep.equal(['a'.repeat(20), 'b']);
    });

    it('takes compressed frames from a peer before it has said hello', () => {
      const { sink, feeder } = make();
      feeder.push(frame(DATA, TWENTY_A, LZ4));
      expect(found(sink)).to.deep.equal(['message 20']);
    });

    it('finds a short one that is split at any byte, between others', () => {
      const bytes = Buffer.concat([
        frame(DATA, hex('61')),
        frame(DATA, TWENTY_A, LZ4),
        frame(6, compressSync(Buffer.concat([hex('01000008'), prose(300)])), LZ4),
        frame(7, compressSync(Buffer.concat([hex('02000010'), prose(300)])), LZ4),
        frame(8, compressSync(hex('030000f8')), LZ4),
        frame(DATA, hex('62')),
      ]);
      const expected = ['message 1', 'message 20', 'request 304', 'response 304', 'request-failed 4', 'message 1'];
      for (let split = 0; split <= bytes.length; split++) {
        const { sink, feeder, codec } = make();
        feeder.push(bytes.subarray(0, split));
        feeder.push(bytes.subarray(split));
        expect(found(sink), `split at ${split}`).to.deep.equal(expected);
        expect(codec.incomplete()).to.equal(undefined);
      }
      const { sink, feeder } = make();
      for (const byte of bytes) feeder.push(Uint8Array.of(byte));
      expect(found(sink)).to.deep.equal(expected);
    });

    it('finds a long one, decompressed elsewhere meanwhile, wherever it is split, and nothing overtakes it', async () => {
      const long = prose(300_000);
      const block = compressSync(long);
      const bytes = Buffer.concat([
        frame(DATA, hex('61')),
        frame(DATA, block, LZ4),
        frame(DATA, hex('62')),
        frame(1, hex('63')),
      ]);
      const positions = [0, bytes.length, ...Array.from({ length: 20 }, (_, i) => i)];
      for (let at = 20; at < bytes.length; at += 97) positions.push(at);
      for (let at = bytes.length - 20; at < bytes.length; at++) positions.push(at);
      for (const split of positions) {
        const { sink, feeder, codec } = make();
        feeder.push(bytes.subarray(0, split));
        feeder.push(bytes.subarray(split));
        if (split < bytes.length) expect(codec.isWaiting, `split at ${split}`).to.equal(true);
        expect(codec.incomplete()).to.equal(undefined);
        expect(found(sink)).to.deep.equal(['message 1']);
        await feeder.finishWaiting();
        expect(found(sink), `split at ${split}`).to.deep.equal(['message 1', 'message 300000', 'message 1', 'ping 1']);
        expect(bodies(sink)[1]?.equals(long)).to.equal(true);
      }
    });

    it('does not decompress the next long one before the first has been delivered', async () => {
      const block = frame(DATA, compressSync(prose(100_000)), LZ4);
      const { sink, feeder, codec } = make();
      feeder.push(Buffer.concat([block, block, block]));
      for (let count = 0; count < 3; count++) {
        expect([codec.isWaiting, sink.findings.length]).to.deep.equal([true, count]);
        await feeder.waited();
        feeder.retry();
      }
      expect(found(sink)).to.deep.equal(['message 100000', 'message 100000', 'message 100000']);
    });

    it('keeps a message for a channel that is full, short or long, and then goes on behind it', async () => {
      for (const length of [1000, 200_000]) {
        const bytes = Buffer.concat([frame(DATA, compressSync(prose(length)), LZ4), frame(DATA, hex('62'))]);
        for (const refused of [[0], [0, 1, 2], [1]]) {
          let call = 0;
          const { sink, feeder, codec } = make({ hasRoom: () => !refused.includes(call++) });
          feeder.push(bytes);
          await feeder.finishWaiting();
          expect(found(sink)).to.deep.equal([`message ${length}`, 'message 1']);
          expect([codec.isWaiting, codec.incomplete()]).to.deep.equal([false, undefined]);
        }
      }
    });

    it('says what is missing of one that is being put together, however long it is', () => {
      const bytes = frame(DATA, compressSync(pattern(100_000)), LZ4);
      const { codec, feeder } = make();
      feeder.push(bytes.subarray(0, 90_000));
      expect(codec.incomplete()).to.match(/\b90000 bytes/);
    });

    it('takes a message whose length is the largest, and refuses one byte more before it is decompressed', async () => {
      for (const limit of [1000, 200_000]) {
        const { sink, feeder } = make({ limit });
        feeder.push(frame(DATA, compressSync(prose(limit - 2)), LZ4));
        await feeder.finishWaiting();
        feeder.push(frame(DATA, compressSync(prose(limit - 1)), LZ4));
        expect(found(sink)).to.deep.equal([`message ${limit - 2}`, 'decompression-failed ERR_REACTOR_DECOMPRESSION']);
      }
    });
  });

  describe('with what is not allowed', () => {
    it("refuses the flag without compression of its own, with 'protocol-error'", () => {
      for (const kind of [0, 6, 7, 8]) {
        const sink = new RecordingSink();
        const codec = new FrameConnection(sink, { maxFrameBytes: LIMIT, compression: undefined });
        const feeder = new Feeder(codec, sink);
        // Also if the peer says that it could.
        feeder.push(hello());
        feeder.push(frame(kind, TWENTY_A, LZ4));
        expect(found(sink)).to.deep.equal(['protocol-error ERR_REACTOR_PROTOCOL']);
      }
    });

    it("refuses any other flag, and any flag on frames that are not the application's", () => {
      const bad = [
        ...[2, 3, 4, 129, 255].map((flags) => frame(DATA, TWENTY_A, flags)),
        ...[1, 2, 3, 4, 5, 64, 255].map((kind) => frame(kind, TWENTY_A, LZ4)),
      ];
      for (const bytes of bad) {
        for (let split = 0; split <= bytes.length; split++) {
          const { sink, feeder } = make();
          feeder.push(bytes.subarray(0, split));
          if (!sink.failed) feeder.push(bytes.subarray(split));
          expect(found(sink)).to.deep.equal(['protocol-error ERR_REACTOR_PROTOCOL']);
        }
        const { sink, feeder } = make();
        feeder.push(bytes.subarray(0, 6));
        expect(sink.failed).to.equal(true);
      }
    });

    const truncated = compressSync(prose(1000)).subarray(0, -10);
    const long = compressSync(prose(300_000));
    const wrongWord = (block: Buffer, length: number): Buffer => {
      const copy = Buffer.from(block);
      copy.writeUInt32LE(length);
      return copy;
    };
    const broken: Record<string, Buffer> = {
      'no block at all': hex(''),
      'three bytes': hex('010203'),
      'a size of 4 GiB': wrongWord(TWENTY_A, 2 ** 32 - 1),
      'a size over the limit': wrongWord(Buffer.alloc(MIB), LIMIT - 1),
      'a size of 1,000 for each byte': wrongWord(Buffer.alloc(1004, 0xff), 1_000_000),
      'a size just over what LZ4 can do': wrongWord(Buffer.alloc(104, 0xff), 100 * 255 + 65),
      'a size of one byte more than there is': wrongWord(TWENTY_A, 21),
      'a size of one byte less than there is': wrongWord(TWENTY_A, 19),
      'a block that ends early': truncated,
      'a block that refers to what is in front of it': hex('14000000  1a 61 0200  50 6161616161'),
      'a block that refers to itself': hex('14000000  1a 61 0000  50 6161616161'),
      'a size with nothing behind it': hex('05000000'),
      'a long block that ends early': long.subarray(0, -10),
      'a long block with one byte more announced': wrongWord(long, 300_001),
      'a long block with one byte less announced': wrongWord(long, 299_999),
      'a long block that is noise': wrongWord(Buffer.from(pattern(70_000)), 100_000),
    };
    for (const [which, block] of Object.entries(broken)) {
      it(`refuses ${which}, with 'decompression-failed', behind what came before`, async () => {
        const bytes = Buffer.concat([frame(DATA, hex('61')), frame(DATA, block, LZ4), frame(DATA, hex('62'))]);
        for (const split of [0, 5, 12, 13, 15, bytes.length - 8, bytes.length]) {
          const { sink, feeder, codec } = make();
          feeder.push(bytes.subarray(0, split));
          if (!sink.failed) feeder.push(bytes.subarray(split));
          await feeder.finishWaiting();
          expect(found(sink), `split at ${split}`).to.deep.equal([
            'message 1',
            'decompression-failed ERR_REACTOR_DECOMPRESSION',
          ]);
          expect(codec.isWaiting).to.equal(false);
          codec.decode(bytes, 0, bytes.length);
          expect(sink.findings.length).to.equal(2);
        }
      });
    }

    it('allocates nothing for what a block announces', () => {
      const { feeder } = make({ limit: 512 * MIB });
      const before = process.memoryUsage().arrayBuffers;
      feeder.push(frame(DATA, wrongWord(Buffer.alloc(1004, 0xff), 512 * MIB - 2), LZ4));
      expect(process.memoryUsage().arrayBuffers - before).to.be.lessThan(MIB);
    });

    it("refuses a request or answer that is too short for its id when it is decompressed, with 'protocol-error'", () => {
      for (const kind of [6, 7, 8]) {
        for (const length of [0, 1, 3]) {
          const { sink, feeder } = make();
          feeder.push(frame(kind, compressSync(Buffer.alloc(length)), LZ4));
          expect(found(sink), `${length} bytes of kind ${kind}`).to.deep.equal(['protocol-error ERR_REACTOR_PROTOCOL']);
        }
      }
    });

    it('refuses what was compressed with another dictionary, or takes it for something else, but never breaks', async () => {
      const block = compressSync(dictionary, dictionary);
      for (const of of [compression, await Compression.load({ thresholdBytes: 0, dictionary: Buffer.from('other') })]) {
        const { sink, feeder } = make({ of });
        feeder.push(frame(DATA, block, LZ4));
        expect(sink.findings.length).to.equal(1);
      }
    });
  });

  describe('encoding', () => {
    function greeted(of = compression, bytes = hello(of.dictionaryId)): FrameConnection {
      const { codec, feeder } = make({ of });
      feeder.push(bytes);
      return codec;
    }

    it('begins when the peer has offered it, too', async () => {
      const { codec, feeder } = make();
      expect([codec.passesThrough, codec.sharedEncoding]).to.deep.equal([true, 'plain']);
      expect(await encoded(codec, prose(1000))).to.deep.equal(frame(DATA, prose(1000)));
      feeder.push(hello());
      expect([codec.passesThrough, codec.sharedEncoding]).to.deep.equal([false, 'lz4']);
      const bytes = await encoded(codec, prose(1000), 7);
      expect([...bytes.subarray(4, 6)]).to.deep.equal([7, LZ4]);
      expect(bytes.readUInt32LE()).to.equal(bytes.length - 4);
      expect(uncompressSync(bytes.subarray(6)).equals(prose(1000))).to.equal(true);
    });

    it('never begins if the peer has not, or has another dictionary, or one side has none', () => {
      expect(greeted(compression, hello(0, 0)).passesThrough).to.equal(true);
      expect(greeted(compression, hello(withDictionary.dictionaryId)).passesThrough).to.equal(true);
      expect(greeted(withDictionary, hello(0)).passesThrough).to.equal(true);
      expect(greeted(withDictionary, hello((withDictionary.dictionaryId + 1) % 2 ** 32)).passesThrough).to.equal(true);
      expect(greeted(withDictionary).passesThrough).to.equal(false);
      // Other bits are from later versions.
      expect(greeted(compression, hello(0, 0xffff)).passesThrough).to.equal(false);
      expect(greeted(compression, hello(0, 0xfffe)).passesThrough).to.equal(true);
      const sink = new RecordingSink();
      const codec = new FrameConnection(sink, { maxFrameBytes: LIMIT, compression: undefined });
      new Feeder(codec, sink).push(hello());
      expect(codec.passesThrough).to.equal(true);
    });

    it('leaves messages below the threshold as they are', async () => {
      const codec = greeted();
      for (const length of [0, 1, 99]) {
        expect(await encoded(codec, prose(length)), `${length}`).to.deep.equal(frame(DATA, prose(length)));
      }
      expect((await encoded(codec, Buffer.alloc(100)))[5]).to.equal(LZ4);
    });

    it('leaves what would not become shorter as it is, short and long', async () => {
      const codec = greeted();
      for (const length of [100, 5000, 200_000]) {
        const bytes = await encoded(codec, pattern(length));
        expect(bytes.equals(frame(DATA, pattern(length))), `${length}`).to.equal(true);
      }
    });

    it('gives a promise for more than 64 KiB only', () => {
      const codec = greeted();
      const output: CodecOutput = { write: () => undefined };
      expect(codec.encode(prose(65_536), output, DATA)).to.equal(undefined);
      expect(codec.encode(prose(65_537), output, DATA)).to.be.instanceOf(Promise);
    });

    it('makes short messages shorter with a dictionary', async () => {
      const message = dictionary.subarray(0, 60);
      const bytes = await encoded(greeted(withDictionary), message);
      expect(bytes.length).to.be.lessThan(40);
      const { sink, feeder } = make({ of: withDictionary });
      feeder.push(bytes);
      expect(bodies(sink)).to.deep.equal([message]);
    });

    it('is understood by the other side, at every length around the limits', async () => {
      const codec = greeted();
      const { sink, feeder } = make();
      const lengths = [0, 1, 99, 100, 101, 65_529, 65_530, 65_531, 65_535, 65_536, 65_537, 65_538, 131_072, 3 * MIB];
      for (const length of lengths) {
        feeder.push(await encoded(codec, prose(length, length)));
        await feeder.finishWaiting();
        expect(bodies(sink).at(-1)?.equals(prose(length, length)), `${length}`).to.equal(true);
      }
      expect(sink.findings.length).to.equal(lengths.length);
    });
  });

  it('announces LZ4 and the id of its dictionary in the hello', () => {
    const greeting = (of: Compression | undefined): Buffer => {
      const pieces: Uint8Array[] = [];
      new FrameCodec(LIMIT, of).open({
        writeOwn: (write: (output: CodecOutput) => void) => {
          write({ write: (bytes) => void pieces.push(bytes) });
          return true;
        },
      } as unknown as ConnectionChannel);
      return Buffer.concat(pieces);
    };
    expect(greeting(undefined)).to.deep.equal(hello(0, 0));
    expect(greeting(compression)).to.deep.equal(hello(0, 1));
    expect(greeting(withDictionary)).to.deep.equal(hello(withDictionary.dictionaryId, 1));
    expect(withDictionary.dictionaryId).to.be.within(1, 2 ** 32 - 1);
  });
});
