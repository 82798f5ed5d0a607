import { inspect } from 'node:util';
import { expect } from 'chai';
import {
  checkClient,
  checkConnect,
  checkListen,
  checkReactorClose,
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
  good: ['frame', 'raw'],
  bad: ['line', '', 'Frame', null, 0, ['raw'], { type: 'line' }],
  allowed: "one of 'frame', 'raw'",
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
  messages,
  highWaterMark: integer(1, 32 * MIB),
  overflow,
  // It has a table of its own below.
  limits: { good: [{}, { maxFrameBytes: 1000 }], bad: [], allowed: '' },
  shutdownTimeoutMs: integer(1, DAY_MS),
  allowHalfOpen: flag,
};
const connect: Record<string, OptionCase> = {
  host: text,
  port: integer(1, 65_535),
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
      backlog: integer(1, 65_535),
      dispatch: {
        good: ['owner', 'balance', 'all'],
        bad: ['', 'Owner', 'any', null, 1],
        allowed: "one of 'owner', 'balance', 'all'",
      },
      orphanTimeoutMs: integer(0, DAY_MS),
    },
  },
  { name: 'checkClient()', call: 'client()', check: untyped(checkClient), required: {}, options: connection },
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
    options: { ...connection, ...connect },
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
          const given = inspect(value, { depth: 0 });
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

    if ('limits' in options) {
      const maxFrameBytes = integer(256, 512 * MIB);

      it('accepts limits.maxFrameBytes as far as it goes, or its default', () => {
        for (const value of [...maxFrameBytes.good, undefined])
          check({ ...required, limits: { maxFrameBytes: value } });
      });

      it('refuses any other limits.maxFrameBytes, and says what was given and what is allowed', () => {
        for (const value of maxFrameBytes.bad) {
          expect(refusal(() => check({ ...required, limits: { maxFrameBytes: value } }))).to.equal(
            `${call}: option 'limits.maxFrameBytes' must be ${maxFrameBytes.allowed}, got ${inspect(value)}`,
          );
        }
      });

      it('refuses a limit that it does not know, and lists all that there are', () => {
        expect(refusal(() => check({ ...required, limits: { maxFrameByte: 1000 } }))).to.equal(
          `${call}: there is no option 'limits.maxFrameByte'; there are maxFrameBytes`,
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

  it('change nothing in the options', () => {
    const options = Object.freeze({ port: 1, limits: Object.freeze({ maxFrameBytes: 1000 }) });
    checkShorthandConnect(options);
    expect(options).to.deep.equal({ port: 1, limits: { maxFrameBytes: 1000 } });
  });
});
