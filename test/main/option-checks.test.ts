import { inspect } from 'node:util';
import { expect } from 'chai';
import type { ListenOptions } from '../../src/index.js';
import { type CodecOption, type CompressionOptions, codecSettings } from '../../src/main/codec-options.js';
import {
  checkClient,
  checkConnect,
  checkDuplex,
  checkListen,
  checkReactorClose,
  checkRequest,
  checkServerClose,
  checkShorthandConnect,
  checkSpawn,
  checkWait,
} from '../../src/main/option-checks.js';
import { ReactorError } from '../../src/shared/reactor-error.js';

const MIB = 1024 * 1024;
const DAY_MS = 86_400_000;

/** What one option takes, what it refuses, and how the error describes what is allowed. */
interface OptionCase {
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
  readonly allowed: string;
}

/** As errors show what was given. */
function shown(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return value instanceof URL ? `the URL ${value.href}` : inspect(value, { depth: 0, maxStringLength: 60 });
}

function integer(min: number, max: number): OptionCase {
  const bad = [
    min - 1,
    max + 1,
    min + 0.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    `${min}`,
    BigInt(max),
    null,
    true,
    {},
  ];
  return { good: [min, min + 1, max], bad, allowed: `an integer from ${min} to ${max}` };
}

const ringBytes: OptionCase = {
  good: [512 * 1024, MIB, 256 * MIB],
  bad: [0, -MIB, 256 * 1024, 512 * MIB, MIB + 1, MIB - 1, 3 * MIB, 2 ** 20 + 0.5, Number.NaN, '1048576', null],
  allowed: 'a power of two from 524288 to 268435456',
};
const text: OptionCase = {
  good: ['localhost', '::1', ' '],
  bad: ['', 0, 127, null, true, {}, ['localhost']],
  allowed: 'a string that is not empty',
};
const flag: OptionCase = { good: [true, false], bad: [0, 1, 'true', '', null, {}], allowed: 'one of true, false' };
const signal: OptionCase = {
  good: [new AbortController().signal, AbortSignal.abort()],
  bad: [null, true, {}, new AbortController(), 'signal', { aborted: false, addEventListener() {} }],
  allowed: 'an AbortSignal',
};
const codec: OptionCase = {
  good: [
    'frame',
    'raw',
    'line',
    'simple-reactor',
    { type: 'frame' },
    { type: 'raw' },
    { type: 'line' },
    { type: 'line', delimiter: '\r\n', maxBytes: 100 },
    { type: 'length-field', bytes: 4 },
    { type: 'length-field', offset: 2, bytes: 4, endian: 'little', adjustment: -6, strip: 0 },
    { type: 'fixed', bytes: 16 },
    { type: 'simple-reactor' },
    { type: 'simple-reactor', compress: false, heartbeatMs: 500 },
    { module: new URL('file:///codec.js') },
    { module: 'file:///codec.js', options: { any: ['thing', 1n, new Map()] } },
  ],
  bad: [
    '',
    'Frame',
    'length-field',
    'fixed',
    'module',
    'toString',
    null,
    0,
    true,
    ['raw'],
    {},
    { type: 'Line' },
    { type: 'toString' },
    { type: ['raw'] },
    { type: 0 },
    { bytes: 4 },
    new Map([['type', 'raw']]),
    () => 'frame',
  ],
  allowed:
    "one of 'frame', 'raw', 'line', 'simple-reactor', an object with one of the types frame, raw, line, length-field, fixed, simple-reactor, or an object with a module",
};
const compression: OptionCase = {
  good: [true, false, {}, { thresholdBytes: 0 }, { dictionary: Buffer.from('x') }],
  bad: [null, 0, 1, 'lz4', '', [], new Map(), () => true],
  allowed: 'true, false or an object',
};
const messages: OptionCase = {
  good: ['copy', 'borrow'],
  bad: ['view', '', null, true],
  allowed: "one of 'copy', 'borrow'",
};
const overflow: OptionCase = {
  good: ['close', 'drop'],
  bad: ['wait', '', null, false],
  allowed: "one of 'close', 'drop'",
};

const connection: Record<string, OptionCase> = {
  codec,
  compression,
  messages,
  highWaterMark: integer(1, 32 * MIB),
  overflow,
  // It has a table of its own below.
  limits: { good: [{}, { maxFrameBytes: 1000 }, { maxRequests: 5 }], bad: [], allowed: '' },
  // More of it in test/api/heartbeat.test.ts.
  heartbeat: {
    good: [true, false, {}, { intervalMs: 10, timeoutMs: 11 + 9 }, { onStall: { afterMs: 10, action: 'close' } }],
    bad: [null, 5, 'on', []],
    allowed: 'true, false or an object',
  },
  services: {
    good: [
      [],
      [new URL('file:///service.js')],
      ['file:///service.js', { module: 'file:///other.js', options: { any: ['thing', 1n] } }],
    ],
    bad: [null, true, 'file:///service.js', {}, new URL('file:///service.js'), new Array(17).fill('file:///a.js')],
    allowed: 'an array of up to 16 services',
  },
  shutdownTimeoutMs: integer(1, DAY_MS),
  allowHalfOpen: flag,
};
// tls-options.test.ts has what is in it.
const tls: OptionCase = { good: [], bad: [], allowed: '' };
// It takes the place of the port that the others need: see below.
const path: OptionCase = { good: [], bad: ['', 1, null, true, 'a\0b', '\0'], allowed: '' };
const client: Record<string, OptionCase> = {
  ...connection,
  tls,
  // Not with connect(), which has no client that could tell: test/api/reconnect.test.ts.
  reconnect: {
    good: [false],
    bad: [null, 5, 'always', []],
    allowed: 'true, false or an object',
  },
};
const connect: Record<string, OptionCase> = {
  // They take the place of the port that the others need: test/api/reconnect.test.ts.
  addresses: {
    good: [],
    bad: [[], {}, 'host', new Array(65).fill({ port: 1 })],
    allowed: 'an array of 1 to 64 addresses',
  },
  host: text,
  port: integer(1, 65_535),
  path: { ...path, bad: [] },
  timeoutMs: integer(1, DAY_MS),
  signal,
};

interface CheckCase {
  readonly name: string;
  readonly call: string;
  readonly check: (options: object) => void;
  readonly required: Record<string, unknown>;
  readonly options: Record<string, OptionCase>;
}

/** The checks take typed options; the tests give them what a JavaScript user might. */
function untyped<T>(check: (options: T) => void): (options: object) => void {
  return (options) => check(options as T);
}

const checks: readonly CheckCase[] = [
  {
    name: 'checkSpawn()',
    call: 'Reactor.spawn()',
    check: untyped(checkSpawn),
    required: {},
    options: {
      ioWorkers: integer(1, 32),
      respawn: flag,
      stallAfterMs: integer(10, DAY_MS),
      maxConnections: integer(1, 2 ** 21),
      commandRingBytes: ringBytes,
      eventRingBytes: ringBytes,
      reuseReadBuffer: flag,
      directWrites: flag,
      log: {
        good: [false, {}, { level: 'trace' }, { level: 'silent', fd: 1 }, { payloads: 64, redact: ['a.b'] }],
        bad: [true, null, 'warn', [], 0],
        allowed: 'false or an object',
      },
      logger: {
        good: [{ ...console, fatal: console.error }],
        bad: [null, true, {}, () => undefined],
        allowed: 'an object with the methods trace, debug, info, warn, error, fatal',
      },
    },
  },
  {
    name: 'checkListen()',
    call: 'listen()',
    check: untyped(checkListen),
    required: { port: 8080 },
    options: {
      ...connection,
      host: text,
      port: integer(0, 65_535),
      path: { ...path, bad: [] },
      mode: { good: [], bad: [-1, 0o1000, 0.5, '660', null], allowed: 'an integer from 0 to 511' },
      tls,
      backlog: integer(1, 65_535),
      dispatch: {
        good: ['owner', 'balance', 'all'],
        bad: ['', 'Owner', 'any', null, 1],
        allowed: "one of 'owner', 'balance', 'all'",
      },
      orphanTimeoutMs: integer(0, DAY_MS),
    },
  },
  { name: 'checkClient()', call: 'client()', check: untyped(checkClient), required: {}, options: client },
  {
    name: 'checkConnect()',
    call: 'connect()',
    check: untyped(checkConnect),
    required: { port: 8080 },
    options: connect,
  },
  {
    name: 'checkShorthandConnect()',
    call: 'connect()',
    check: untyped(checkShorthandConnect),
    required: { port: 8080 },
    options: { ...client, ...connect },
  },
  {
    name: 'checkServerClose()',
    call: 'close()',
    check: untyped(checkServerClose),
    required: {},
    options: { drainMs: integer(0, DAY_MS) },
  },
  {
    name: 'checkReactorClose()',
    call: 'close()',
    check: untyped(checkReactorClose),
    required: {},
    options: { timeoutMs: integer(0, DAY_MS) },
  },
  {
    name: 'checkRequest()',
    call: 'request()',
    check: untyped(checkRequest),
    required: {},
    options: { timeoutMs: integer(1, DAY_MS), signal },
  },
  {
    name: 'checkDuplex()',
    call: 'toDuplex()',
    check: untyped(checkDuplex),
    required: {},
    options: { allowHalfOpen: flag },
  },
  {
    name: 'checkWait()',
    call: 'flush()',
    check: untyped((options: { signal?: AbortSignal }) => checkWait('flush()', options)),
    required: {},
    options: { signal },
  },
];

/** The message of the ERR_REACTOR_INVALID_OPTION that a call must throw. */
function refusal(call: () => void): string {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error, 'it threw nothing').to.be.instanceOf(ReactorError);
  expect((error as ReactorError).code).to.equal('ERR_REACTOR_INVALID_OPTION');
  return (error as ReactorError).message;
}

for (const { name, call, check, required, options } of checks) {
  describe(name, () => {
    it('accepts what has no options but those that it needs', () => {
      check({ ...required });
    });

    it('takes undefined for the default', () => {
      for (const option of Object.keys(options)) {
        if (!Object.hasOwn(required, option)) check({ ...required, [option]: undefined });
      }
    });

    for (const [option, { good, bad, allowed }] of Object.entries(options)) {
      it(`accepts ${option} as far as it goes`, () => {
        for (const value of good) check({ ...required, [option]: value });
      });

      if (bad.length === 0) continue;
      it(`refuses any other ${option}, and says what was given and what is allowed`, () => {
        for (const value of bad) {
          const given = shown(value);
          expect(refusal(() => check({ ...required, [option]: value }))).to.equal(
            `${call}: option '${option}' must be ${allowed}, got ${given}`,
          );
        }
      });
    }

    it('refuses a name that it does not know, and lists all that there are', () => {
      const names = Object.keys(options);
      for (const unknown of ['nonsense', 'Port', 'toString', 'constructor', '']) {
        const message = refusal(() => check({ ...required, [unknown]: 1 }));
        const [problem, list] = message.split('; there are ');
        expect(problem).to.equal(`${call}: there is no option '${unknown}'`);
        expect(list?.split(', ').sort()).to.deep.equal(names.toSorted());
      }
    });

    it('refuses a name that it does not know even without a value: it is misspelt', () => {
      expect(refusal(() => check({ ...required, nonsense: undefined }))).to.match(/no option 'nonsense'/);
    });

    it('refuses what is no object', () => {
      for (const value of [null, undefined, 8080, 'localhost', true, () => {}]) {
        expect(refusal(() => check(value as unknown as object))).to.equal(
          `${call}: its options must be an object, got ${inspect(value)}`,
        );
      }
    });

    it('refuses an object of another kind, which would pass for options that say nothing', () => {
      const others = [
        new AbortController().signal,
        new Map([['port', 8080]]),
        new Set(),
        Promise.resolve(),
        new URLSearchParams(),
      ];
      for (const value of others) {
        expect(refusal(() => check(value))).to.equal(
          `${call}: its options must be an object, got ${inspect(value, { depth: 0 })}`,
        );
      }
    });

    if ('port' in required) {
      it('refuses options without a port', () => {
        for (const missing of [{}, { port: undefined }, { host: 'localhost' }]) {
          expect(refusal(() => check(missing))).to.equal(`${call}: option 'port' is missing`);
        }
      });
    }

    if ('path' in options) {
      it('accepts a path in place of host and port, and refuses it beside them', () => {
        check({ path: 'a' });
        check({ path: 'a'.repeat(103) });
        for (const beside of [{ port: 8080 }, { host: 'localhost' }, { host: 'localhost', port: 8080 }]) {
          expect(refusal(() => check({ path: 'a', ...beside }))).to.equal(
            `${call}: option 'path' takes the place of 'host' and 'port', and cannot be given with them`,
          );
        }
      });

      it('refuses any other path, and says how long it may be', () => {
        for (const value of path.bad)
          expect(refusal(() => check({ path: value }))).to.match(/'path' must be a path of 1/);
        const tooLong = '\u00fc'.repeat(128);
        expect(refusal(() => check({ path: tooLong }))).to.match(/'path' must be a path of 1 to \d+ bytes/);
      });
    }

    if ('mode' in options) {
      it('refuses limits.maxConnectionsPerAddress with a path', () => {
        check({ path: 'a', limits: { maxConnections: 1 } });
        expect(refusal(() => check({ path: 'a', limits: { maxConnectionsPerAddress: 1 } }))).to.match(
          /^listen\(\): option 'limits.maxConnectionsPerAddress' cannot be given with 'path'/,
        );
      });

      it('accepts mode with the path of a file only', () => {
        for (const mode of [0, 0o600, 0o777]) check({ path: 'a', mode });
        for (const address of [{ port: 8080 }, { path: '\0a' }]) {
          expect(refusal(() => check({ ...address, mode: 0o600 }))).to.match(
            /^listen\(\): option 'mode' goes with 'path'/,
          );
        }
      });
    }

    if ('limits' in options) {
      const limits: Record<string, OptionCase> = {
        maxFrameBytes: integer(256, 512 * MIB),
        maxRequests: integer(1, 1_000_000),
        firstFrameTimeoutMs: integer(1, DAY_MS),
        idleTimeoutMs: integer(1, DAY_MS),
        maxReceiveBytesPerSecond: integer(1024, 2 ** 40),
        maxSendBytesPerSecond: integer(1024, 2 ** 40),
        overRate: {
          good: ['throttle', 'close'],
          bad: ['', 'drop', null, true],
          allowed: "one of 'throttle', 'close'",
        },
        ...(call === 'listen()' && {
          maxConnections: integer(1, 2 ** 31 - 1),
          maxConnectionsPerAddress: integer(1, 2 ** 31 - 1),
          maxAcceptsPerSecond: integer(1, 2 ** 31 - 1),
        }),
      };
      for (const [limit, { good, bad, allowed }] of Object.entries(limits)) {
        it(`accepts limits.${limit} as far as it goes, or its default`, () => {
          for (const value of [...good, undefined]) check({ ...required, limits: { [limit]: value } });
        });

        it(`refuses any other limits.${limit}, and says what was given and what is allowed`, () => {
          for (const value of bad) {
            expect(refusal(() => check({ ...required, limits: { [limit]: value } }))).to.equal(
              `${call}: option 'limits.${limit}' must be ${allowed}, got ${inspect(value)}`,
            );
          }
        });
      }

      it('refuses a limit that it does not know, and lists all that there are', () => {
        expect(refusal(() => check({ ...required, limits: { maxFrameByte: 1000 } }))).to.equal(
          `${call}: there is no option 'limits.maxFrameByte'; there are ${Object.keys(limits).join(', ')}`,
        );
      });

      it('refuses limits that are no object', () => {
        for (const value of [null, 1000, 'none', true]) {
          expect(refusal(() => check({ ...required, limits: value }))).to.equal(
            `${call}: option 'limits' must be an object, got ${inspect(value)}`,
          );
        }
      });
    }
  });
}

/** The parts of an option that is an object: what else it must have, and each of its own options. */
interface FormCase {
  readonly base: Record<string, unknown>;
  readonly options: Record<string, OptionCase>;
}

const byteString: OptionCase = {
  good: ['\n', 'x'.repeat(16), '\u00e9'.repeat(8), Buffer.from([0]), new Uint8Array(16)],
  bad: [
    '',
    'x'.repeat(17),
    '\u00e9'.repeat(9),
    Buffer.alloc(0),
    new Uint8Array(17),
    10,
    null,
    ['\n'],
    new ArrayBuffer(2),
  ],
  allowed: 'a string or a Uint8Array of 1 to 16 bytes',
};
const codecForms: Record<string, FormCase> = {
  frame: { base: { type: 'frame' }, options: {} },
  raw: { base: { type: 'raw' }, options: {} },
  line: { base: { type: 'line' }, options: { delimiter: byteString, maxBytes: integer(1, 512 * MIB) } },
  'length-field': {
    base: { type: 'length-field', bytes: 2 },
    options: {
      offset: integer(0, 65_535),
      bytes: integer(1, 8),
      endian: { good: ['big', 'little'], bad: ['', 'BE', null, true], allowed: "one of 'big', 'little'" },
      adjustment: { ...integer(-512 * MIB, 512 * MIB), good: [-2, 0, 1000] },
      strip: { ...integer(0, 65_535), good: [0, 2, 65_535] },
    },
  },
  fixed: { base: { type: 'fixed', bytes: 1 }, options: { bytes: integer(1, 16 * MIB) } },
  'simple-reactor': {
    base: { type: 'simple-reactor' },
    options: { compress: flag, heartbeatMs: integer(10, DAY_MS) },
  },
  module: {
    base: { module: 'file:///codec.js' },
    options: {
      module: {
        good: [new URL('file:///a.js'), 'file:///a.js', 'data:text/javascript,'],
        bad: ['', null, 0, {}, ['file:///a.js']],
        allowed: 'a URL, such as new URL("./my-codec.js", import.meta.url)',
      },
      options: {
        good: [null, 0, 'x', { deep: [{ er: new Uint8Array(3) }] }, new Date(), new SharedArrayBuffer(8)],
        bad: [() => 1, { deep: [{ er: () => 1 }] }, Symbol('s'), new WeakMap(), { promise: Promise.resolve() }],
        allowed: 'something that can be posted to a thread: no functions, for example',
      },
    },
  },
};

describe('The forms of option codec', () => {
  const listen = (codec: unknown): void => checkListen({ port: 1, codec: codec as CodecOption });

  for (const [form, { base, options }] of Object.entries(codecForms)) {
    describe(form, () => {
      it('takes undefined for the default of what it does not need', () => {
        for (const option of Object.keys(options)) {
          if (!Object.hasOwn(base, option)) listen({ ...base, [option]: undefined });
        }
      });

      for (const [option, { good, bad, allowed }] of Object.entries(options)) {
        it(`accepts codec.${option} as far as it goes, and refuses any other`, () => {
          for (const value of good) listen({ ...base, [option]: value });
          for (const value of bad) {
            expect(refusal(() => listen({ ...base, [option]: value }))).to.equal(
              `listen(): option 'codec.${option}' must be ${allowed}, got ${shown(value)}`,
            );
          }
        });
      }

      it('refuses what it does not know, and lists what there is', () => {
        const names = Object.keys(options);
        for (const unknown of ['nonsense', 'toString', 'limit']) {
          const [problem, list] = refusal(() => listen({ ...base, [unknown]: 1 })).split('; there are ');
          expect(problem).to.equal(`listen(): there is no option 'codec.${unknown}'`);
          expect(list?.split(', ').sort()).to.deep.equal(names.length === 0 ? ['none'] : names.toSorted());
        }
      });
    });
  }

  it('say what is missing', () => {
    for (const type of ['length-field', 'fixed']) {
      for (const codec of [{ type }, { type, bytes: undefined }]) {
        expect(refusal(() => listen(codec))).to.equal("listen(): option 'codec.bytes' is missing");
      }
    }
    expect(refusal(() => listen({ module: undefined }))).to.equal("listen(): option 'codec.module' is missing");
  });

  it('refuse a strip that cuts the length field in two', () => {
    for (const strip of [3, 4, 5]) {
      expect(refusal(() => listen({ type: 'length-field', offset: 2, bytes: 4, strip }))).to.match(
        /^listen\(\): option 'codec' cannot work: strip is \d+, inside the length field /,
      );
    }
    for (const strip of [0, 1, 2, 6, 7, 2048]) listen({ type: 'length-field', offset: 2, bytes: 4, strip });
  });

  it('are checked for clients as for servers', () => {
    const codec = { type: 'fixed', bytes: 0 } as const;
    const bytes = /option 'codec.bytes' must be an integer/;
    expect(refusal(() => checkClient({ codec }))).to.match(bytes);
    expect(refusal(() => checkShorthandConnect({ port: 1, codec }))).to.match(bytes);
  });
});

describe('A path in place of the URL of a module', () => {
  it('is shown as a URL', () => {
    for (const path of ['./a.js', 'a.js', '/a.js', '../codecs/my_own-2.mjs']) {
      const text = `must be a URL, such as new URL("${path}", import.meta.url), got '${path}'`;
      expect(refusal(() => checkListen({ port: 1, codec: { module: path } }))).to.include(text);
      expect(refusal(() => checkListen({ port: 1, services: [path] }))).to.include(text);
    }
    for (const odd of ['"a.js"', 'a b.js', 'a'.repeat(61)]) {
      const text = 'new URL("./my-codec.js", import.meta.url)';
      expect(refusal(() => checkListen({ port: 1, codec: { module: odd } }))).to.include(text);
    }
  });
});

describe('The forms of option services', () => {
  it('are not a hole in the array', () => {
    const services = Array.from({ length: 1 }) as never[];
    delete services[0];
    expect(refusal(() => checkListen({ port: 1, services }))).to.include("option 'services.0'");
  });

  const listen = (...services: unknown[]): void => checkListen({ port: 8080, services } as ListenOptions);

  it('are a URL, as a URL or as text, or an object with one', () => {
    for (const value of ['', null, 1, [], () => {}]) {
      const given = inspect(value, { depth: 0 });
      expect(refusal(() => listen('file:///a.js', value))).to.equal(
        `listen(): option 'services.1' must be a URL, such as new URL("./my-service.js", import.meta.url), got ${given}`,
      );
    }
    expect(refusal(() => listen({}))).to.equal("listen(): option 'services.0.module' is missing");
    expect(refusal(() => listen({ module: 'service.js' }))).to.equal(
      `listen(): option 'services.0.module' must be a URL, such as new URL("service.js", import.meta.url), got 'service.js'`,
    );
    expect(refusal(() => listen({ module: 'file:///a.js', option: 1 }))).to.equal(
      "listen(): there is no option 'services.0.option'; there are module, options",
    );
    expect(refusal(() => listen({ module: 'file:///a.js', options: () => {} }))).to.match(
      /option 'services\.0\.options' must be something that can be posted to a thread/,
    );
  });
});

describe('Option compression', () => {
  const form: Record<string, OptionCase> = {
    thresholdBytes: integer(0, 512 * MIB),
    dictionary: {
      good: [new Uint8Array(1), Buffer.alloc(65_536)],
      bad: [new Uint8Array(0), new Uint8Array(65_537), 'words', [1, 2], new ArrayBuffer(8), null, true],
      allowed: 'a Uint8Array of 1 to 65536 bytes',
    },
  };

  for (const [option, { good, bad, allowed }] of Object.entries(form)) {
    it(`accepts compression.${option} as far as it goes, or its default, and refuses any other`, () => {
      for (const value of [...good, undefined]) {
        checkClient({ compression: { [option]: value } as CompressionOptions });
      }
      for (const value of bad) {
        expect(refusal(() => checkClient({ compression: { [option]: value } as CompressionOptions }))).to.equal(
          `client(): option 'compression.${option}' must be ${allowed}, got ${shown(value)}`,
        );
      }
    });
  }

  it('refuses what it does not know', () => {
    const compression = { level: 9 } as CompressionOptions;
    expect(refusal(() => checkClient({ compression }))).to.equal(
      "client(): there is no option 'compression.level'; there are thresholdBytes, dictionary",
    );
  });

  it("goes with codec 'frame' only", () => {
    const others: [CodecOption, string][] = [
      ['raw', 'raw'],
      ['line', 'line'],
      [{ type: 'raw' }, 'raw'],
      [{ type: 'length-field', bytes: 4 }, 'length-field'],
      [{ type: 'fixed', bytes: 4 }, 'fixed'],
      ['simple-reactor', 'simple-reactor'],
      [{ module: 'file:///a.js' }, 'module'],
    ];
    for (const [codec, name] of others) {
      for (const compression of [true, {}, { thresholdBytes: 1 }]) {
        const problem = `option 'compression' goes with codec 'frame' only, this one is '${name}'`;
        expect(refusal(() => checkListen({ port: 0, codec, compression }))).to.equal(`listen(): ${problem}`);
        expect(refusal(() => checkClient({ codec, compression }))).to.equal(`client(): ${problem}`);
        expect(refusal(() => checkShorthandConnect({ port: 1, codec, compression }))).to.equal(`connect(): ${problem}`);
      }
      checkClient({ codec, compression: false });
    }
    for (const codec of ['frame', { type: 'frame' }, undefined] as const) {
      checkClient(codec === undefined ? { compression: true } : { codec, compression: true });
    }
  });
});

describe('codecSettings()', () => {
  const maxFrameBytes = 16 * 1024 * 1024;

  it("is codec 'frame' without compression by default", () => {
    expect(codecSettings({})).to.deep.equal({ type: 'frame', maxFrameBytes, compression: undefined, heartbeatMs: 0 });
    expect(codecSettings({ codec: 'frame', compression: false })).to.deep.equal({
      type: 'frame',
      maxFrameBytes,
      compression: undefined,
      heartbeatMs: 0,
    });
    expect(codecSettings({ codec: { type: 'frame' } })).to.deep.equal({
      type: 'frame',
      maxFrameBytes,
      compression: undefined,
      heartbeatMs: 0,
    });
  });

  it('fills in the defaults of each form', () => {
    expect(codecSettings({ codec: 'raw' })).to.deep.equal({ type: 'raw' });
    const line = { type: 'line', delimiter: Uint8Array.of(10), maxBytes: 65_536 };
    expect(codecSettings({ codec: 'line' })).to.deep.equal(line);
    expect(codecSettings({ codec: { type: 'line' } })).to.deep.equal(line);
    expect(codecSettings({ codec: { type: 'length-field', bytes: 4 } })).to.deep.equal({
      type: 'length-field',
      offset: 0,
      bytes: 4,
      endian: 'big',
      adjustment: 0,
      strip: 4,
      maxFrameBytes,
    });
    expect(codecSettings({ codec: { type: 'length-field', offset: 3, bytes: 2 } })).to.include({ offset: 3, strip: 5 });
    expect(codecSettings({ codec: { type: 'fixed', bytes: 7 } })).to.deep.equal({ type: 'fixed', bytes: 7 });
    const simple = { type: 'simple-reactor', compress: true, heartbeatMs: 1000, maxFrameBytes };
    expect(codecSettings({ codec: 'simple-reactor' })).to.deep.equal(simple);
    expect(codecSettings({ codec: { type: 'simple-reactor' } })).to.deep.equal(simple);
    expect(codecSettings({ codec: { module: new URL('file:///a.js') } })).to.deep.equal({
      type: 'module',
      url: 'file:///a.js',
      options: undefined,
      maxFrameBytes,
    });
    expect(codecSettings({ codec: 'frame', compression: true })).to.deep.equal({
      type: 'frame',
      maxFrameBytes,
      compression: { thresholdBytes: 1024, dictionary: undefined },
      heartbeatMs: 0,
    });
    expect(codecSettings({ compression: {} })).to.deep.equal(codecSettings({ codec: 'frame', compression: true }));
  });

  it('takes what is given, with bytes of its own', () => {
    const memory = Buffer.from('-- words and a delimiter --');
    const dictionary = memory.subarray(3, 8);
    const delimiter = memory.subarray(15, 19);
    const line = codecSettings({ codec: { type: 'line', delimiter, maxBytes: 9 } });
    const frame = codecSettings({ compression: { thresholdBytes: 0, dictionary } });
    const text = codecSettings({ codec: { type: 'line', delimiter: '\u20ac\r\n' } });
    memory.fill(0);
    expect(line).to.deep.equal({ type: 'line', delimiter: Uint8Array.from(Buffer.from('deli')), maxBytes: 9 });
    expect(frame).to.deep.equal({
      type: 'frame',
      maxFrameBytes,
      compression: { thresholdBytes: 0, dictionary: Uint8Array.from(Buffer.from('words')) },
      heartbeatMs: 0,
    });
    expect(text).to.deep.include({ delimiter: Uint8Array.of(0xe2, 0x82, 0xac, 13, 10) });
    // It goes to another thread: not the pool that a Buffer is part of.
    if (line.type === 'line') expect(line.delimiter.buffer.byteLength).to.equal(4);
    if (frame.type === 'frame') expect(frame.compression?.dictionary?.buffer.byteLength).to.equal(5);
  });
});

describe('Refusals of options', () => {
  it('show values of any kind, and only the beginning of long ones', () => {
    const shown = (value: unknown): string =>
      refusal(() => checkListen({ port: value } as unknown as Parameters<typeof checkListen>[0])).split(', got ')[1] ??
      '';
    expect(shown('x'.repeat(10_000)).length).to.be.lessThan(120);
    expect(shown({ deeply: { nested: { value: 1 } } })).to.equal('{ deeply: [Object] }');
    expect(shown(Symbol('s'))).to.equal('Symbol(s)');
  });

  it('name the call that was given to checkWait()', () => {
    const options = { signal: 1 } as unknown as { signal: AbortSignal };
    expect(refusal(() => checkWait('ready()', options))).to.match(/^ready\(\): option 'signal'/);
  });

  it('come also for options that are inherited, hidden, or from a getter', () => {
    class Defaults {
      get highWaterMark(): unknown {
        return 'abc';
      }
    }
    const hidden = Object.defineProperty({ port: 1 }, 'codec', { value: 'nope', enumerable: false });
    for (const options of [Object.create({ port: 1, highWaterMark: 'abc' }), new Defaults()]) {
      expect(refusal(() => checkListen(options as ListenOptions))).to.include("option 'highWaterMark'");
    }
    expect(refusal(() => checkListen(hidden as ListenOptions))).to.include("option 'codec'");
    const limits = Object.create({ maxFrameBytes: -1 }) as object;
    expect(refusal(() => checkListen({ port: 1, limits }))).to.include("option 'limits.maxFrameBytes'");
    checkListen(Object.create({ port: 1, highWaterMark: 1000 }) as ListenOptions);
  });

  it('change nothing in the options', () => {
    const options = Object.freeze({ port: 1, limits: Object.freeze({ maxFrameBytes: 1000 }) });
    checkShorthandConnect(options);
    expect(options).to.deep.equal({ port: 1, limits: { maxFrameBytes: 1000 } });
  });
});
