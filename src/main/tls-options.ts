import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { ReactorError } from '../shared/reactor-error.js';
import {
  makeSecureContext,
  type TlsBytes,
  type TlsClientSettings,
  type TlsCredentials,
  type TlsServerSettings,
  tlsReasonOf,
  tlsVersions,
} from '../shared/tls-settings.js';
import { type Check, type Checks, check, DAY_MS, flag, integer, oneOf, show, showKind, text } from './checks.js';

/** What servers and clients have in common. Named as in node:tls; no functions, which cannot be passed to another thread. */
export interface TlsOptions extends TlsCredentials {
  /** Protocols on offer, the preferred one first. Default: none, and ALPN is not used. */
  ALPNProtocols?: readonly string[] | undefined;
  /**
   * True (default): a peer whose certificate is not good (expired, of an authority that is not trusted, for another name) is
   * refused. False: it is not, and `connection.info()` tells.
   */
  rejectUnauthorized?: boolean | undefined;
  /** How long a handshake may take. Default 10,000 ms; 1 ms to one day. */
  handshakeTimeoutMs?: number | undefined;
}

/** `cert` and `key`, or `pfx`, or `sni` there must be. */
export interface TlsServerOptions extends TlsOptions {
  /** Ask clients for a certificate. With `rejectUnauthorized` those without a good one are refused. Default false. */
  requestCert?: boolean | undefined;
  /** Other certificates for clients that ask for these names; `*` stands for one label, as in `'*.example.org'`. */
  sni?: Readonly<Record<string, TlsCredentials>> | undefined;
}

export interface TlsClientOptions extends TlsOptions {
  /** The name that is asked for and that the certificate must have. Default: the host, if that is a name. */
  servername?: string | undefined;
}

const DEFAULT_HANDSHAKE_TIMEOUT_MS = 10_000;
const MAX_ALPN_BYTES = 255;

const bytes: Check = (value) =>
  isBytes(value) || (Array.isArray(value) && value.length > 0 && value.every(isBytes))
    ? undefined
    : 'a string or bytes, or an array of them';

const credentials: Checks<TlsCredentials> = {
  cert: bytes,
  key: bytes,
  passphrase: (value) => (typeof value === 'string' ? undefined : 'a string'),
  pfx: (value) => (isBytes(value) ? undefined : 'bytes'),
  ca: bytes,
  crl: bytes,
  ciphers: text,
  minVersion: oneOf(...tlsVersions),
  maxVersion: oneOf(...tlsVersions),
};

/** Of which a wrong value may be shown. */
const OPEN_OPTIONS: ReadonlySet<string> = new Set<keyof TlsServerOptions | keyof TlsClientOptions>([
  'minVersion',
  'maxVersion',
  'rejectUnauthorized',
  'handshakeTimeoutMs',
  'requestCert',
  'servername',
]);

const common: Checks<TlsOptions> = {
  ...credentials,
  ALPNProtocols: (value) =>
    Array.isArray(value) && value.length > 0 && value.every(isProtocol) ? undefined : 'an array of protocol names',
  rejectUnauthorized: flag,
  handshakeTimeoutMs: integer(1, DAY_MS),
};

const server: Checks<TlsServerOptions> = {
  ...common,
  requestCert: flag,
  sni: (value, path, call) => {
    if (typeof value !== 'object' || value === null) return 'an object with credentials by host name';
    for (const [name, each] of Object.entries(value)) checkAll(call, each, credentials, `${path}.${name}`);
    return undefined;
  },
};

const client: Checks<TlsClientOptions> = {
  ...common,
  servername: (value) => (typeof value === 'string' && value !== '' && isIP(value) === 0 ? undefined : 'a host name'),
};

/**
 * Throws ERR_REACTOR_INVALID_OPTION, also for what OpenSSL does not take.
 * @param version of several settings for one server, the highest holds
 */
export function tlsServerSettings(call: string, options: TlsServerOptions, version: number): TlsServerSettings {
  checkAll(call, options, server, 'tls');
  const sni = Object.entries(options.sni ?? {});
  if (!canIdentify(options) && sni.length === 0) {
    throw invalid(`${call}: option 'tls' of a server must have 'cert' and 'key', or 'pfx', or 'sni'`);
  }
  checkUsable(call, options, 'tls');
  for (const [name, each] of sni) {
    if (!canIdentify(each)) throw invalid(`${call}: option 'tls.sni.${name}' must have 'cert' and 'key', or 'pfx'`);
    checkUsable(call, each, `tls.sni.${name}`);
  }
  return {
    ...commonSettings(options),
    version,
    requestCert: options.requestCert === true,
    sni: Object.fromEntries(sni.map(([name, each]) => [name.toLowerCase(), copyCredentials(each)])),
  };
}

/** Throws ERR_REACTOR_INVALID_OPTION, also for what OpenSSL does not take. */
export function tlsClientSettings(
  call: string,
  options: boolean | TlsClientOptions | undefined,
): TlsClientSettings | undefined {
  if (options === undefined || options === false) return undefined;
  const given = options === true ? {} : options;
  checkAll(call, given, client, 'tls');
  checkUsable(call, given, 'tls');
  return { ...commonSettings(given), servername: given.servername };
}

function commonSettings(options: TlsOptions): Omit<TlsClientSettings, 'servername'> {
  return {
    ...copyCredentials(options),
    ALPNProtocols: [...(options.ALPNProtocols ?? [])],
    rejectUnauthorized: options.rejectUnauthorized !== false,
    handshakeTimeoutMs: options.handshakeTimeoutMs ?? DEFAULT_HANDSHAKE_TIMEOUT_MS,
  };
}

function checkAll<T>(call: string, options: unknown, checks: Checks<T>, path: string): void {
  for (const [name, value] of Object.entries(typeof options === 'object' && options !== null ? options : {})) {
    if (typeof value !== 'function') continue;
    const message = `${call}: option '${path}.${name}' is a function, and functions cannot be passed to the io worker`;
    throw invalid(`${message}; there are ${Object.keys(checks).join(', ')}`);
  }
  check(call, options, checks, `${path}.`, showOpenly);
}

/** Errors end in logs, where no key is to be. */
function showOpenly(value: unknown, name: string): string {
  return typeof value === 'object' || !OPEN_OPTIONS.has(name) ? showKind(value) : show(value);
}

/** What needs more than a look at one option. */
function checkUsable(call: string, options: TlsCredentials, path: string): void {
  const { cert, key, minVersion = 'TLSv1', maxVersion = 'TLSv1.3' } = options;
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid(`${call}: option '${path}' must have both 'cert' and 'key', or neither`);
  }
  if (tlsVersions.indexOf(minVersion) > tlsVersions.indexOf(maxVersion)) {
    throw invalid(`${call}: option '${path}.minVersion' is '${minVersion}', above '${path}.maxVersion'`);
  }
  try {
    // OpenSSL takes what is no certificate, a file's name for example, for an empty list: then nobody is trusted.
    for (const ca of [options.ca ?? []].flat()) new X509Certificate(ca as TlsBytes);
    makeSecureContext(options);
  } catch (error) {
    const hint = looksLikeFiles(options) ? ' (it takes what is in the files, not their names)' : '';
    throw invalid(`${call}: option '${path}' cannot be used: ${tlsReasonOf(error)}${hint}`, error);
  }
}

/** The most common mistake: `cert: 'cert.pem'`. */
function looksLikeFiles({ cert, key, ca }: TlsCredentials & { readonly ca?: unknown }): boolean {
  return [cert, key, ca].flat().some((value) => typeof value === 'string' && !value.includes('-----BEGIN'));
}

function canIdentify({ cert, pfx }: TlsCredentials): boolean {
  return cert !== undefined || pfx !== undefined;
}

function invalid(message: string, cause?: unknown): ReactorError {
  return new ReactorError('ERR_REACTOR_INVALID_OPTION', message, cause === undefined ? undefined : { cause });
}

function isBytes(value: unknown): value is TlsBytes {
  return typeof value === 'string' || value instanceof Uint8Array;
}

function isProtocol(value: unknown): boolean {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= MAX_ALPN_BYTES;
}

/** What is posted to the io worker: of a Buffer only its own bytes, and nothing that the caller may change. */
function copyCredentials(options: TlsCredentials): TlsCredentials {
  const copy: Record<string, unknown> = {};
  for (const name of Object.keys(credentials) as (keyof TlsCredentials)[]) {
    const value = options[name];
    if (value === undefined) continue;
    copy[name] = Array.isArray(value) ? value.map(copyBytes) : copyBytes(value as TlsBytes);
  }
  return copy;
}

function copyBytes(value: TlsBytes): TlsBytes {
  return typeof value === 'string' ? value : Uint8Array.from(value);
}
