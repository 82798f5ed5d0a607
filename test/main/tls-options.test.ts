import { expect } from 'chai';
import type { TlsServerOptions } from '../../src/index.js';
import { tlsClientSettings, tlsServerSettings } from '../../src/main/tls-options.js';
import { ReactorError } from '../../src/shared/reactor-error.js';
import { ca, certificateFile, identity } from '../fixtures/certificates.js';
import { causeCode } from '../fixtures/events.js';

const own = identity('server');
const pfx = certificateFile('server.pfx');
const encrypted = certificateFile('server-encrypted-key.pem');

/** The ERR_REACTOR_INVALID_OPTION that the options must cause. */
function refusal(call: () => unknown): ReactorError {
  let error: unknown;
  try {
    call();
  } catch (thrown) {
    error = thrown;
  }
  expect(error, 'it threw nothing').to.be.instanceOf(ReactorError);
  expect((error as ReactorError).code).to.equal('ERR_REACTOR_INVALID_OPTION');
  return error as ReactorError;
}

/** As a JavaScript user might call it. */
function ofServer(options: object): unknown {
  return tlsServerSettings('listen()', options as TlsServerOptions, 0);
}

function ofClient(options: unknown): unknown {
  return tlsClientSettings('client()', options as object);
}

describe('the TLS options of a server', () => {
  const good: Record<string, object> = {
    'certificate and key as bytes': own,
    'certificate and key as text': { cert: own.cert.toString(), key: own.key.toString() },
    'arrays of them': { cert: [own.cert], key: [own.key], ca: [ca, own.cert.toString()] },
    'a key with a passphrase': { cert: own.cert, key: encrypted, passphrase: 'secret' },
    'a PFX': { pfx, passphrase: 'secret' },
    'certificates by name only': { sni: { 'example.org': own, '*.example.org': identity('wildcard') } },
    'versions and ciphers': { ...own, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'ECDHE+AESGCM' },
    'all the rest': { ...own, ca: [ca], requestCert: true, rejectUnauthorized: false, ALPNProtocols: ['a', 'b'] },
  };
  for (const [what, options] of Object.entries(good)) {
    it(`may be ${what}`, () => void ofServer(options));
  }

  const bad: Record<string, readonly [options: object, message: RegExp, cause?: string]> = {
    'no certificate': [{}, /option 'tls' of a server must have 'cert' and 'key', or 'pfx', or 'sni'/],
    'a certificate without its key': [{ cert: own.cert }, /must have both 'cert' and 'key'/],
    'text that is no certificate': [{ ...own, cert: 'no' }, /'tls' cannot be used/, 'ERR_OSSL_PEM_NO_START_LINE'],
    'a key that is none': [{ ...own, key: Buffer.from('no') }, /'tls' cannot be used/, 'ERR_OSSL_UNSUPPORTED'],
    // OpenSSL would trust nobody and say nothing.
    'an authority that is none': [
      { ...own, ca: '/etc/ca.pem' },
      /cannot be used: .*no start line/,
      'ERR_OSSL_PEM_NO_START_LINE',
    ],
    'the key of another certificate': [
      { ...own, key: identity('renewed').key },
      /'tls' cannot be used: key values mismatch/,
      'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
    ],
    'a wrong passphrase': [
      { cert: own.cert, key: encrypted, passphrase: 'no' },
      /cannot be used/,
      'ERR_OSSL_BAD_DECRYPT',
    ],
    'ciphers that do not exist': [{ ...own, ciphers: 'NONE-SUCH' }, /cannot be used/, 'ERR_SSL_NO_CIPHER_MATCH'],
    'a version that does not exist': [{ ...own, minVersion: 'SSLv3' }, /'tls.minVersion' must be one of 'TLSv1'/],
    'a lowest version above the highest': [
      { ...own, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' },
      /'tls.minVersion' is 'TLSv1.3', above 'tls.maxVersion'/,
    ],
    'a function': [
      { ...own, SNICallback: () => undefined },
      /'tls.SNICallback' is a function, and functions cannot be passed to the io worker; there are cert, key/,
    ],
    'an option that does not exist': [{ ...own, certs: 'x' }, /there is no option 'tls.certs'; there are cert, key/],
    "a client's option": [{ ...own, servername: 'localhost' }, /there is no option 'tls.servername'/],
    'a path in place of bytes': [{ ...own, ca: 17 }, /'tls.ca' must be a string or bytes, or an array of them, got 17/],
    'no protocols': [{ ...own, ALPNProtocols: [] }, /'tls.ALPNProtocols' must be an array of protocol names/],
    'a protocol that is too long': [{ ...own, ALPNProtocols: ['x'.repeat(256)] }, /'tls.ALPNProtocols' must be/],
    'a time that is none': [{ ...own, handshakeTimeoutMs: 0 }, /'tls.handshakeTimeoutMs' must be an integer from 1/],
    'no object by name': [{ ...own, sni: 'localhost' }, /'tls.sni' must be an object/],
    'no certificate for a name': [{ ...own, sni: { 'a.b': {} } }, /'tls.sni.a.b' must have 'cert' and 'key', or 'pfx'/],
    'a bad certificate for a name': [
      { ...own, sni: { 'a.b': { ...own, key: identity('renewed').key } } },
      /'tls.sni.a.b' cannot be used/,
      'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
    ],
    'a function for a name': [{ sni: { 'a.b': { ...own, ca: () => '' } } }, /'tls.sni.a.b.ca' is a function/],
  };
  for (const [what, [options, message, cause]] of Object.entries(bad)) {
    it(`may not be ${what}`, () => {
      const error = refusal(() => ofServer(options));
      expect(error.message)
        .to.match(/^listen\(\): /)
        .and.to.match(message);
      expect(causeCode(error)).to.equal(cause);
    });
  }

  it('must be an object', () => {
    for (const options of [true, null, 'x', [], new Map()]) {
      expect(refusal(() => ofServer(options as object)).message).to.match(/option 'tls' must be an object/);
    }
  });

  it('are not shown by errors: these end in logs', () => {
    const secret = own.key.toString();
    for (const options of [
      secret,
      { ...own, key: { pem: secret } },
      { ...own, passphrase: { secret } },
      { ...own, sni: secret },
      { ...own, sni: { 'a.b': secret } },
      { ...own, sni: { 'a.b': { ...own, pfx: [secret] } } },
      { ...own, ALPNProtocols: secret },
      { ...own, servername: { secret } },
      { ...own, minVersion: [secret] },
    ]) {
      const { message } = refusal(() => ofServer(options as object));
      expect(message).to.match(/(got an? (string|object|array)|there is no option)/);
      expect(message).not.to.contain('PRIVATE KEY');
    }
  });

  it('become data of their own: no pool of buffers goes along, and later changes do nothing', () => {
    const cert = Buffer.from(own.cert);
    const { cert: copied } = tlsServerSettings('listen()', { cert, key: own.key }, 0);
    cert.fill(0);
    expect(Buffer.from(copied as Uint8Array).equals(own.cert)).to.equal(true);
    expect((copied as Uint8Array).buffer.byteLength).to.equal(own.cert.length);
  });
});

describe('the TLS options of a client', () => {
  it('may be none', () => {
    expect(ofClient(undefined)).to.equal(undefined);
    expect(ofClient(false)).to.equal(undefined);
  });

  it('may be true for the defaults', () => {
    const expected = {
      ALPNProtocols: [],
      rejectUnauthorized: true,
      handshakeTimeoutMs: 10_000,
      servername: undefined,
    };
    expect(ofClient(true)).to.deep.equal(expected);
    expect(ofClient({})).to.deep.equal(expected);
  });

  it('refuse a name that is an address', () => {
    for (const servername of ['127.0.0.1', '::1', '', 7]) {
      expect(refusal(() => ofClient({ servername })).message).to.match(/'tls.servername' must be a host name/);
    }
  });

  it('refuse functions', () => {
    const error = refusal(() => ofClient({ checkServerIdentity: () => undefined }));
    expect(error.message).to.match(/^client\(\): option 'tls.checkServerIdentity' is a function/);
  });
});
