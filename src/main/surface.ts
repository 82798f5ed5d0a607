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
