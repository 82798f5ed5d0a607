import { tlsReasonOf } from '../shared/tls-settings.js';

/**
 * What a line says of an attempt that failed: the cause, without the address. That is in fields of its own, which `log.redact` may hide.
 *
 * @param target as messages of the error may have it
 */
export function errorFields(error: Error, target?: string): { readonly error: string; readonly code?: string } {
  const cause = error.cause instanceof Error ? error.cause : error;
  const { code } = cause as NodeJS.ErrnoException;
  const text = textOf(cause);
  return {
    error: target === undefined ? text : text.replace(` to ${target}`, ''),
    ...(code !== undefined && { code }),
  };
}

function textOf(cause: Error): string {
  // Of several addresses that were tried, each has an error of its own.
  if (cause instanceof AggregateError) return [...new Set(cause.errors.map(textOf))].join('; ');
  const { code, syscall } = cause as NodeJS.ErrnoException;
  // Node's messages of the system's errors go on with the address.
  if (syscall !== undefined && code !== undefined) return `${syscall} ${code}`;
  // Node's message has the name that was asked for, and those of the certificate.
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'The certificate is of another name';
  return tlsReasonOf(cause);
}
