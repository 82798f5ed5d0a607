import type { CloseReason } from '../shared/close-reason.js';
import { isReactorCode, ReactorError, thrownErrorData } from '../shared/reactor-error.js';

/** What a codec throws with one of these codes while it decodes is no fault of its own, but the peer's. */
const reasonsOfPeers: ReadonlyMap<unknown, CloseReason> = new Map([
  ['ERR_REACTOR_PROTOCOL', 'protocol-error'],
  ['ERR_REACTOR_FRAME_TOO_LARGE', 'frame-too-large'],
  ['ERR_REACTOR_DECOMPRESSION', 'decompression-failed'],
]);

/** How a connection ends whose codec has thrown in the middle of decoding. */
export function decodingFailed(thrown: unknown): { readonly reason: CloseReason; readonly error: ReactorError } {
  const cause = tellable(thrown);
  const error = reactorErrorOf(cause);
  const reason = reasonsOfPeers.get(error?.code);
  if (error !== undefined && reason !== undefined) return { reason, error };
  return { reason: 'protocol-error', error: failure(cause) };
}

/** By its code: a codec may have its ReactorError from another copy of this package. Undefined: it is none. */
export function reactorErrorOf(error: unknown): ReactorError | undefined {
  if (error instanceof ReactorError) return error;
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: unknown };
  if (!isReactorCode(code)) return undefined;
  return new ReactorError(code, error.message, error.cause === undefined ? {} : { cause: error.cause });
}

/** What a connection is told whose codec has thrown. */
export function codecFailed(thrown: unknown): ReactorError {
  return failure(tellable(thrown));
}

function failure(cause: unknown): ReactorError {
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
