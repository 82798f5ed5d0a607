import type tls from 'node:tls';
import type { CertificateName, PeerCertificate, TlsInfo } from '../shared/tls-settings.js';

/** What is known of a connection whose handshake is done, as plain data. */
export function tlsInfoOf(socket: tls.TLSSocket): TlsInfo {
  // The types have it as an Error, and promise a servername only as boolean; it is a code, and a name.
  const authorizationError = socket.authorizationError as unknown;
  const servername = (socket as { servername?: unknown }).servername;
  const { alpnProtocol } = socket;
  const peerCertificate = certificateOf(socket.getPeerCertificate());
  return {
    protocol: socket.getProtocol() ?? '',
    cipher: socket.getCipher()?.name ?? '',
    ...(typeof alpnProtocol === 'string' && { alpnProtocol }),
    ...(typeof servername === 'string' && servername !== '' && { servername }),
    authorized: socket.authorized,
    ...(authorizationError != null && { authorizationError: String(authorizationError) }),
    ...(peerCertificate !== undefined && { peerCertificate }),
  };
}

/** Of a peer without a certificate Node has an empty object. */
function certificateOf(certificate: Partial<tls.PeerCertificate> | null): PeerCertificate | undefined {
  if (certificate?.fingerprint256 === undefined) return undefined;
  return {
    subject: nameOf(certificate.subject),
    issuer: nameOf(certificate.issuer),
    subjectaltname: certificate.subjectaltname ?? '',
    validFrom: certificate.valid_from ?? '',
    validTo: certificate.valid_to ?? '',
    fingerprint256: certificate.fingerprint256,
    serialNumber: certificate.serialNumber ?? '',
  };
}

function nameOf(name: tls.Certificate | undefined): CertificateName {
  return { ...name } as unknown as CertificateName;
}
