/** Runs something that is told when `ms` have passed, and leaves no timer behind. */
export async function withDeadline<T>(ms: number, run: (deadline: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), ms);
  try {
    return await run(deadline.signal);
  } finally {
    clearTimeout(timer);
  }
}
