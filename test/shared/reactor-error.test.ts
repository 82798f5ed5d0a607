import { expect } from 'chai';
import {
  type ErrorData,
  errorCodes,
  fromErrorData,
  ReactorError,
  type ReactorErrorCode,
  toErrorData,
} from '../../src/shared/reactor-error.js';

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
    const text = '\u0001'.repeat(1_000_000);
    const error: Error & { cause?: unknown } = Object.assign(new Error(text), {
      code: text,
      syscall: text,
      address: text,
    });
    error.name = text;
    error.cause = error;
    expect(JSON.stringify(toErrorData(error)).length).to.be.below(128 * 1024);
    expect(JSON.stringify(toErrorData(text)).length).to.be.below(128 * 1024);
    const rebuilt = acrossThreads(new ReactorError('ERR_REACTOR_PROTOCOL', 'x'.repeat(10_000)));
    expect(rebuilt.message).to.equal(`${'x'.repeat(4093)}...`);
    expect(acrossThreads(new Error('x'.repeat(4096))).message).to.have.length(4096);
  });
});
