import { ReactorError } from '../shared/reactor-error.js';

/** What a connection is told whose codec has thrown. */
export function codecFailed(cause: unknown): ReactorError {
  return new ReactorError('ERR_REACTOR_CODEC_FAILED', `The codec failed: ${messageOf(cause)}`, { cause });
}

/** Anything can be thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
