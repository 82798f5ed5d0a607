import { ReactorError } from '../shared/reactor-error.js';
import { tlsReasonOf } from '../shared/tls-settings.js';

/** What OpenSSL and Node's TLS report, in contrast to the system: a reset, for example, is none of it. */
export function isTlsError(error: Error): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_') || code === 'EPROTO');
}

export function tlsError(what: string, cause: Error): ReactorError {
  return new ReactorError('ERR_REACTOR_TLS', `${what}: ${tlsReasonOf(cause)}`, { cause });
}

/** An error as Node makes it. */
export function nodeError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
