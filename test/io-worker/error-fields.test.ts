import { expect } from 'chai';
import { errorFields } from '../../src/io-worker/error-fields.js';
import { ReactorError } from '../../src/shared/reactor-error.js';

const ADDRESS = '192.0.2.7';
const TARGET = `${ADDRESS}:4711`;

function refused(address: string): Error {
  return Object.assign(new Error(`connect ECONNREFUSED ${address}:4711`), { code: 'ECONNREFUSED', syscall: 'connect' });
}

describe('what the log says of an attempt that failed', () => {
  for (const [what, cause, expected] of [
    ['the system', refused(ADDRESS), { error: 'connect ECONNREFUSED', code: 'ECONNREFUSED' }],
    [
      'the system, for several addresses',
      Object.assign(new AggregateError([refused(ADDRESS), refused('::1')]), { code: 'ECONNREFUSED' }),
      { error: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
    ],
    [
      'TLS, about the name',
      Object.assign(new Error(`Host: ${ADDRESS}. is not cert's CN`), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' }),
      { error: 'The certificate is of another name', code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    ],
    [
      'OpenSSL',
      Object.assign(new Error('00:error:0A:SSL routines'), { code: 'ERR_SSL_X', reason: 'wrong version number' }),
      { error: 'wrong version number', code: 'ERR_SSL_X' },
    ],
    ['a codec', new Error('no such codec'), { error: 'no such codec' }],
  ] as const) {
    it(`is the reason of ${what}, without an address`, () => {
      const error = new ReactorError('ERR_REACTOR_TLS', `Nothing with ${TARGET}: ${cause.message}`, { cause });
      expect(errorFields(error, TARGET)).to.deep.equal(expected);
    });
  }

  it('is the message if there is no other reason, without the target', () => {
    const error = new ReactorError('ERR_REACTOR_CONNECT_TIMEOUT', `No connection to ${TARGET} within 5 ms`);
    expect(errorFields(error, TARGET)).to.deep.equal({ error: 'No connection within 5 ms', code: error.code });
  });
});
