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

export const OVERDUE: unique symbol = Symbol('overdue');

/** Settles as the promise does, or resolves with OVERDUE if it has not done so after `ms`. */
export async function orOverdue<T>(promise: Promise<T>, ms: number): Promise<T | typeof OVERDUE> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<typeof OVERDUE>((resolve) => {
    timer = setTimeout(() => resolve(OVERDUE), ms);
  });
  try {
    return await Promise.race([promise, overdue]);
  } finally {
    clearTimeout(timer);
  }
}
