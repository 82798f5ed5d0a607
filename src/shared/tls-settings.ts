import tls from 'node:tls';

/** PEM as text or bytes, or the bytes of a PFX. */
export type TlsBytes = string | Uint8Array;

/** Who one is, whom one trusts, and how one speaks: as node:tls names it. */
export interface TlsCredentials {
  /** Certificate chain, PEM. */
  cert?: TlsBytes | readonly TlsBytes[] | undefined;
  /** Its private key, PEM. */
  key?: TlsBytes | readonly TlsBytes[] | undefined;
  /** Of the key or the PFX. */
  passphrase?: string | undefined;
  /** Certificate and key in one, PKCS#12. */
  pfx?: TlsBytes | undefined;
  /** Certificates of the authorities that one trusts, PEM. Default: those that come with Node. */
  ca?: TlsBytes | readonly TlsBytes[] | undefined;
  /** Revocation lists, PEM. */
  crl?: TlsBytes | readonly TlsBytes[] | undefined;
  /** Cipher suites, in OpenSSL's notation. Default: Node's. */
  ciphers?: string | undefined;
  /** Default: Node's, `'TLSv1.2'`. */
  minVersion?: TlsVersion | undefined;
  /** Default: Node's, `'TLSv1.3'`. */
  maxVersion?: TlsVersion | undefined;
}

/** In ascending order. */
export const tlsVersions = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof tlsVersions)[number];

/** What both sides need, checked and with defaults filled in. */
interface TlsSettings extends TlsCredentials {
  readonly ALPNProtocols: readonly string[];
  readonly rejectUnauthorized: boolean;
  readonly handshakeTimeoutMs: number;
}

export interface TlsServerSettings extends TlsSettings {
  /** Of several settings for one server, the highest holds. */
  readonly version: number;
  readonly requestCert: boolean;
  readonly sni: Readonly<Record<string, TlsCredentials>>;
}

export interface TlsClientSettings extends TlsSettings {
  readonly servername: string | undefined;
}

/** What is known of a connection with TLS. */
export interface TlsInfo {
  /** `'TLSv1.3'` or the like. */
  readonly protocol: string;
  /** `'TLS_AES_256_GCM_SHA384'` or the like. */
  readonly cipher: string;
  readonly alpnProtocol?: string;
  /** The name that the client has asked for. */
  readonly servername?: string;
  /** The peer has shown a certificate of an authority that this side trusts. False on a server that does not request one. */
  readonly authorized: boolean;
  /** Why not: `'CERT_HAS_EXPIRED'` or the like. */
  readonly authorizationError?: string;
  readonly peerCertificate?: PeerCertificate;
}

/** A distinguished name by its parts: `{ O: 'Example', CN: 'localhost' }`. */
export type CertificateName = Readonly<Record<string, string | readonly string[]>>;

export interface PeerCertificate {
  readonly subject: CertificateName;
  readonly issuer: CertificateName;
  /** `'DNS:localhost, IP Address:127.0.0.1'` or the like; empty if there are none. */
  readonly subjectaltname: string;
  /** As `'Jan  1 00:00:00 2020 GMT'`, which `Date` can read. */
  readonly validFrom: string;
  readonly validTo: string;
  readonly fingerprint256: string;
  readonly serialNumber: string;
}

/** Throws OpenSSL's error if something cannot be read or does not fit together. */
export function makeSecureContext(credentials: TlsCredentials): tls.SecureContext {
  const { cert, key, passphrase, pfx, ca, crl, ciphers, minVersion, maxVersion } = credentials;
  // It takes any array of bytes, whatever its types say.
  return tls.createSecureContext({ cert, key, passphrase, pfx, ca, crl, ciphers, minVersion, maxVersion } as object);
}

/** What OpenSSL says went wrong, without its addresses and line numbers. */
export function tlsReasonOf(error: unknown): string {
  const { reason, message } = error as Error & { reason?: unknown };
  return typeof reason === 'string' && reason !== '' ? reason : message;
}
