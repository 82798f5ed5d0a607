/**
 * Remembers where a call comes from, for an error that comes out of it later: by then its own stack has lines of the library alone.
 * Returns what writes it into the error.
 */
export function calledFrom(call: (...args: never[]) => unknown): (error: unknown) => void {
  const place: { stack?: string } = {};
  Error.captureStackTrace(place, call);
  return (error) => {
    if (!(error instanceof Error)) return;
    // The first line names what is none.
    const [, ...lines] = (place.stack ?? '').split('\n');
    error.stack = [String(error), ...lines].join('\n');
  };
}
