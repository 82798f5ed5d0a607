import { ReactorError, thrownErrorData } from '../shared/reactor-error.js';

/** What a connection is told whose codec has thrown. */
export function codecFailed(thrown: unknown): ReactorError {
  const cause = tellable(thrown);
  return new ReactorError('ERR_REACTOR_CODEC_FAILED', `The codec failed: ${messageOf(cause)}`, { cause });
}

/** Anything can be thrown. */
export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** The same, unless it throws itself when it is asked what it is. */
export function tellable(thrown: unknown): unknown {
  try {
    thrownErrorData(thrown);
    return thrown;
  } catch {
    return new Error('Something was thrown that cannot be told');
  }
}
