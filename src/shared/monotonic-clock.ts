// The global name is behind a getter, which costs a quarter of a look at the clock.
const { performance } = globalThis;

/** Milliseconds since this thread has started, with fractions; no change of the time of day moves it. */
export function monotonicMs(): number {
  return performance.now();
}
