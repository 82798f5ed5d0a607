import { expect } from 'chai';
import { NO_COUNTS } from '../../src/shared/connection-table.js';
import { encodeClose } from '../../src/shared/event-record.js';
import { MIN_LANE_RING_BYTES } from '../../src/shared/lane.js';
import {
  type ErrorData,
  errorCodes,
  fromErrorData,
  ReactorError,
  type ReactorErrorCode,
  thrownErrorData,
  toErrorData,
} from '../../src/shared/reactor-error.js';
import { maxPayloadBytes } from '../../src/shared/ring-layout.js';
import { encodeServiceReport } from '../../src/shared/service-report.js';

/** The way between threads: as data, through a port or as JSON. */
function acrossThreads(error: unknown): Error {
  const data = toErrorData(error);
  const asJson = JSON.parse(JSON.stringify(data)) as ErrorData;
  expect(asJson).to.deep.equal(data);
  expect(structuredClone(data)).to.deep.equal(data);
  return fromErrorData(asJson);
}

describe('ReactorError', () => {
  it('is an Error with a name, a code, a message and, if given, a cause', () => {
    const cause = new Error('why');
    const error = new ReactorError('ERR_REACTOR_CLOSED', 'It is closed', { cause });
    expect(error).to.be.instanceOf(Error);
    expect(error).to.include({ name: 'ReactorError', code: 'ERR_REACTOR_CLOSED', message: 'It is closed', cause });
    expect(new ReactorError('ERR_REACTOR_CLOSED', 'It is closed')).to.not.have.own.property('cause');
  });

  it('is a ReactorError again in another thread, for every code', () => {
    const codes = Object.keys(errorCodes) as ReactorErrorCode[];
    expect(codes.length).to.be.greaterThan(10);
    for (const code of codes) {
      const rebuilt = acrossThreads(new ReactorError(code, `about ${code}`));
      expect(rebuilt).to.be.instanceOf(ReactorError);
      expect(rebuilt).to.include({ name: 'ReactorError', code, message: `about ${code}` });
      expect(rebuilt).to.not.have.own.property('cause');
    }
  });

  it('keeps its chain of causes, each with its own class and fields', () => {
    const system = Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:80'), {
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: '10.0.0.1',
      port: 80,
    });
    const inner = new ReactorError('ERR_REACTOR_CONNECT_FAILED', 'inner', { cause: system });
    const middle = new RangeError('middle', { cause: inner });
    const outer = acrossThreads(new ReactorError('ERR_REACTOR_INTERNAL', 'outer', { cause: middle }));
    expect(outer).to.be.instanceOf(ReactorError);
    expect(outer).to.include({ code: 'ERR_REACTOR_INTERNAL', message: 'outer' });
    expect(outer.cause).to.be.instanceOf(Error);
    expect(outer.cause).to.include({ name: 'RangeError', message: 'middle' });
    const rebuiltInner = (outer.cause as Error).cause;
    expect(rebuiltInner).to.be.instanceOf(ReactorError);
    expect(rebuiltInner).to.include({ code: 'ERR_REACTOR_CONNECT_FAILED', message: 'inner' });
    const rebuiltSystem = (rebuiltInner as Error).cause;
    expect(rebuiltSystem).to.be.instanceOf(Error);
    expect(rebuiltSystem).to.not.be.instanceOf(ReactorError);
    expect(rebuiltSystem).to.include({
      name: 'Error',
      message: 'connect ECONNREFUSED 10.0.0.1:80',
      code: 'ECONNREFUSED',
      errno: -111,
      syscall: 'connect',
      address: '10.0.0.1',
      port: 80,
    });
    expect(rebuiltSystem).to.not.have.own.property('cause');
  });
});

describe('Errors that are not ReactorErrors', () => {
  it('come out as Errors with name and message, and without fields that they did not have', () => {
    const rebuilt = acrossThreads(new SyntaxError('strange'));
    expect(rebuilt).to.include({ name: 'SyntaxError', message: 'strange' });
    for (const field of ['code', 'errno', 'syscall', 'address', 'port', 'cause']) {
      expect(rebuilt).to.not.have.own.property(field);
    }
  });

  it('keep values that look like nothing', () => {
    const rebuilt = acrossThreads(Object.assign(new Error(''), { errno: 0, port: 0, syscall: '' }));
    expect(rebuilt).to.include({ message: '', errno: 0, port: 0, syscall: '' });
  });

  it('do not become ReactorErrors because of a code that Object.prototype has', () => {
    for (const code of ['constructor', 'toString', '__proto__', 'ERR_REACTOR_UNKNOWN']) {
      const rebuilt = acrossThreads(Object.assign(new Error('odd'), { code }));
      expect(rebuilt).to.not.be.instanceOf(ReactorError);
      expect(rebuilt).to.include({ code, message: 'odd' });
    }
  });

  it('may be anything that was thrown', () => {
    expect(acrossThreads('a string')).to.include({ name: 'Error', message: 'a string' });
    expect(acrossThreads(undefined)).to.include({ name: 'Error', message: 'undefined' });
    expect(acrossThreads(null)).to.include({ name: 'Error', message: 'null' });
    expect(acrossThreads(42).message).to.equal('42');
  });

  it('may be a cause that is not an Error', () => {
    const rebuilt = acrossThreads(new ReactorError('ERR_REACTOR_ABORTED', 'aborted', { cause: 'the user' }));
    expect(rebuilt.cause).to.be.instanceOf(Error);
    expect(rebuilt.cause).to.include({ message: 'the user' });
  });

  it('may say as much as it likes, and still fits a record of the smallest ring', () => {
    const most = maxPayloadBytes(MIN_LANE_RING_BYTES);
    for (const character of ['\u0001', '\ud800', '\uffff', 'x']) {
      const text = character.repeat(1_000_000);
      const error: Error & { cause?: unknown } = Object.assign(new Error(text), {
        code: text,
        syscall: text,
        address: text,
        errno: text,
        port: text,
        stack: `Error: ${text}\n    at ${text}`,
      });
      error.name = text;
      error.cause = error;
      const failed = new ReactorError('ERR_REACTOR_CODEC_FAILED', text, { cause: error });
      const close = encodeClose({ reason: 'protocol-error', unsentBytes: 0, counts: NO_COUNTS }, failed);
      expect(close.length).to.be.below(most);
      const report = encodeServiceReport(1, {
        type: 'error',
        service: character.repeat(64),
        hook: 'onMessage',
        connectionId: Number.MAX_SAFE_INTEGER,
        error: thrownErrorData(error),
        action: 'disable',
      });
      expect(report.length).to.be.below(most);
      expect(Buffer.byteLength(JSON.stringify(thrownErrorData(text)))).to.be.below(most);
    }
    const rebuilt = acrossThreads(new ReactorError('ERR_REACTOR_PROTOCOL', 'x'.repeat(10_000)));
    expect(rebuilt.message).to.equal(`${'x'.repeat(4093)}...`);
    expect(acrossThreads(new Error('x'.repeat(4096))).message).to.have.length(4096);
  });
});

describe('The stack of an error', () => {
  function stackOf(data: ErrorData | undefined): string | undefined {
    return fromErrorData(JSON.parse(JSON.stringify(data)) as ErrorData).stack;
  }

  it('comes along of what a module of the user has thrown, and of its causes', () => {
    const inner = new TypeError('inner');
    const thrown = new RangeError('thrown', { cause: inner });
    for (const code of [
      'ERR_REACTOR_CODEC_FAILED',
      'ERR_REACTOR_SERVICE_FAILED',
      'ERR_REACTOR_LOGIC_FAILED',
    ] as const) {
      const data = toErrorData(new ReactorError(code, 'outer', { cause: thrown }));
      expect(data).to.not.have.property('stack');
      expect(stackOf(data.cause)).to.equal(thrown.stack);
      expect(stackOf(data.cause?.cause)).to.equal(inner.stack);
    }
    expect(stackOf(thrownErrorData(thrown))).to.equal(thrown.stack);
    const own = new ReactorError('ERR_REACTOR_UNSUPPORTED', 'sendSystem()');
    expect(stackOf(thrownErrorData(own))).to.equal(own.stack);
  });

  it('stays behind of all others', () => {
    const cause = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
    const data = toErrorData(new ReactorError('ERR_REACTOR_CONNECT_FAILED', 'outer', { cause }));
    expect(JSON.stringify(data)).to.not.include('stack');
  });

  it('has its lines also behind a message that is cut, and is cut itself', () => {
    const long = thrownErrorData(new Error('y'.repeat(100_000)));
    expect(long.stack).to.have.length.below(9000);
    expect(long.stack).to.match(/^Error: y+\.\.\.\n {4}at .*reactor-error\.test/);
    const deep = thrownErrorData(
      Object.assign(new Error('deep'), { stack: `Error: deep${'\n    at x'.repeat(10_000)}` }),
    );
    expect(deep.stack).to.have.length(4 + 4096);
    expect(thrownErrorData(Object.assign(new Error('odd'), { stack: 7 }))).to.not.have.property('stack');
  });

  it('goes with an error in a circle', () => {
    const error = new Error('round');
    error.cause = error;
    expect(stackOf(thrownErrorData(error))).to.equal(error.stack);
  });
});
