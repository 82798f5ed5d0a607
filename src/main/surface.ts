/**
 * Calls handlers on behalf of several connections in a row: when one throws, the error surfaces as from an EventEmitter whose
 * event came from outside, as an uncaught exception, and the others still get their turn.
 */
export function surfaceErrors(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

/** Calls both, the second one also when the first has thrown. If both do, no error is lost: the first one is thrown, the other surfaces. */
export function callBoth(first: () => void, second: () => void): void {
  let threw = true;
  try {
    first();
    threw = false;
  } finally {
    if (threw) surfaceErrors(second);
    else second();
  }
}
