import { expect } from 'chai';
import fc from 'fast-check';
import { type CloseReason, closeReasons } from '../../src/shared/close-reason.js';
import {
  decodeClose,
  decodeOpen,
  decodeTlsFailed,
  encodeClose,
  encodeOpen,
  encodeTlsFailed,
  type OpenEvent,
} from '../../src/shared/event-record.js';
import { fromErrorData, ReactorError } from '../../src/shared/reactor-error.js';

const open: OpenEvent = {
  origin: 7,
  attempt: 3,
  remoteAddress: '10.0.0.1',
  remotePort: 54_321,
  remoteFamily: 'IPv4',
  localAddress: '127.0.0.1',
  localPort: 80,
  handedOver: false,
  encrypted: false,
  reconnected: false,
};

describe('OPEN', () => {
  it('is laid out as the picture shows', () => {
    const expected = [
      '0000000000001c40',
      '0000000000000840',
      '31d4',
      '5000',
      '00',
      '08',
      Buffer.from('10.0.0.1').toString('hex'),
      Buffer.from('127.0.0.1').toString('hex'),
    ];
    expect(encodeOpen(open, open).toString('hex')).to.equal(expected.join(''));
  });

  it('comes out as it went in', () => {
    const events: OpenEvent[] = [
      open,
      { ...open, attempt: 0, remoteAddress: '::1', localAddress: 'fe80::1%eth0', remoteFamily: 'IPv6' },
      { ...open, origin: 2 ** 32 - 1, attempt: 2 ** 32 - 1, remotePort: 65_535, localPort: 65_535 },
      { ...open, handedOver: true },
      { ...open, encrypted: true },
      { ...open, reconnected: true },
      { ...open, remoteAddress: '', localAddress: `/tmp/${'\u00fc'.repeat(51)}`, remoteFamily: 'Unix' },
      { ...open, remoteAddress: '\0abstract', localAddress: '', remoteFamily: 'Unix' },
      { ...open, origin: 0, remotePort: 0, localPort: 0, remoteAddress: '', localAddress: '' },
    ];
    for (const event of events) expect(decodeOpen(encodeOpen(event, event))).to.deep.equal(event);
  });

  it('comes out as it went in, whatever the addresses', () => {
    const port = fc.integer({ min: 0, max: 65_535 });
    const id = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constant(''));
    const event = fc.record({
      origin: id,
      attempt: id,
      remoteAddress: address,
      remotePort: port,
      remoteFamily: fc.constantFrom('IPv4' as const, 'IPv6' as const, 'Unix' as const),
      localAddress: address,
      localPort: port,
      handedOver: fc.boolean(),
      encrypted: fc.boolean(),
      reconnected: fc.boolean(),
    });
    fc.assert(
      fc.property(event, (value) => {
        expect(decodeOpen(encodeOpen(value, value))).to.deep.equal(value);
      }),
    );
  });
});

describe('TLS_FAILED', () => {
  const error = new ReactorError('ERR_REACTOR_TLS', 'no', { cause: Object.assign(new Error('why'), { code: 'WHY' }) });

  it('is laid out as the picture shows', () => {
    const payload = encodeTlsFailed({ peer: { remoteAddress: '10.0.0.1', remotePort: 54_321 }, error });
    expect(payload.toString('hex', 0, 3)).to.equal('31d408');
    expect(payload.toString('latin1', 3)).to.match(/^10\.0\.0\.1\{"name":"ReactorError"/);
  });

  it('comes out as it went in', () => {
    for (const remoteAddress of ['::1', '']) {
      const event = decodeTlsFailed(encodeTlsFailed({ peer: { remoteAddress, remotePort: 7 }, error }));
      expect(event.peer).to.deep.equal({ remoteAddress, remotePort: 7 });
      const again = fromErrorData(event.error) as ReactorError;
      expect([again.code, again.message, (again.cause as { code?: string }).code]).to.deep.equal([
        'ERR_REACTOR_TLS',
        'no',
        'WHY',
      ]);
    }
  });
});

describe('CLOSE', () => {
  const counts = {
    lastReceivedAt: 1,
    bytesReceived: 2,
    bytesSent: 3,
    messagesReceived: 4,
    droppedMessages: 5,
    roundTripMs: 1.25,
  };
  const close = { reason: 'peer-end' as CloseReason, unsentBytes: 6, counts };

  it('is laid out as the picture shows', () => {
    const doubles = [6, 1, 2, 3, 4, 5, 1.25].map((value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleLE(value);
      return bytes.toString('hex');
    });
    const expected = `02000000${doubles.join('')}`;
    expect(encodeClose(close, undefined).toString('hex')).to.equal(expected);
    const withError = encodeClose(close, new Error('no'));
    expect(withError.toString('hex', 0, 60)).to.equal(expected);
    expect(withError.toString('utf8', 60)).to.equal('{"name":"Error","message":"no"}');
  });

  it('comes out as it went in for every reason', () => {
    for (const reason of closeReasons) {
      for (const flags of [{}, { isCut: true }, { reconnecting: true }, { isCut: true, reconnecting: true }]) {
        const event = { ...close, reason, ...flags };
        expect(decodeClose(encodeClose(event, undefined))).to.deep.equal(event);
      }
    }
  });

  it('counts beyond 32 bits', () => {
    const count = fc.oneof(fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER), fc.maxSafeNat());
    const event = fc.record({
      reason: fc.constantFrom(...closeReasons),
      unsentBytes: count,
      counts: fc.record({
        lastReceivedAt: count,
        bytesReceived: count,
        bytesSent: count,
        messagesReceived: count,
        droppedMessages: count,
        roundTripMs: count,
      }),
    });
    fc.assert(
      fc.property(event, (value) => {
        expect(decodeClose(encodeClose(value, undefined))).to.deep.equal(value);
      }),
    );
  });

  it('carries an error with its code and its nested causes', () => {
    const system = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', errno: -104, syscall: 'read' });
    const middle = new TypeError('Über “Gründe”', { cause: system });
    const error = new ReactorError('ERR_REACTOR_CONNECTION_LOST', 'The connection broke', { cause: middle });
    const event = decodeClose(encodeClose(close, error));
    expect(event).to.deep.equal({
      ...close,
      error: {
        name: 'ReactorError',
        message: 'The connection broke',
        code: 'ERR_REACTOR_CONNECTION_LOST',
        cause: {
          name: 'TypeError',
          message: 'Über “Gründe”',
          cause: { name: 'Error', message: 'read ECONNRESET', code: 'ECONNRESET', errno: -104, syscall: 'read' },
        },
      },
    });
    if (event.error === undefined) return;
    const rebuilt = fromErrorData(event.error);
    expect(rebuilt).to.be.instanceOf(ReactorError);
    expect((rebuilt.cause as Error).cause).to.include({ code: 'ECONNRESET', errno: -104, syscall: 'read' });
  });

  it('refuses a reason that it does not know', () => {
    const payload = encodeClose(close, undefined);
    payload.writeUInt32LE(closeReasons.length, 0);
    expect(() => decodeClose(payload)).to.throw(RangeError, String(closeReasons.length));
  });
});
