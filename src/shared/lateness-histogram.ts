/**
 * How late things were, in buckets that are each a fifth wider than the one before: percentiles within 20 %, in 512 bytes of
 * shared memory. One thread notes, any may read.
 *
 * ```
 *  bucket   0          1           2           ...   62            63
 *           < 0.5 ms   < 0.6 ms    < 0.72 ms         < 40.5 s      anything
 * ```
 */
export const LATENESS_BUCKETS = 64;
const FIRST_BUCKET_MS = 0.5;
const GROWTH = 1.2;

/** In ms. */
export interface Lateness {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** What they are made of: how many were later than the bucket before and earlier than `belowMs`. Empty ones are left out. */
  readonly histogram: readonly { readonly belowMs: number; readonly count: number }[];
}

/** The bucket of a lateness in ms. */
export function latenessBucket(ms: number): number {
  if (ms < FIRST_BUCKET_MS) return 0;
  return Math.min(LATENESS_BUCKETS - 1, 1 + Math.floor(Math.log(ms / FIRST_BUCKET_MS) / Math.log(GROWTH)));
}

/** @param counts how many fell into each bucket @param max the largest of all, exactly */
export function latenessOf(counts: ArrayLike<number>, max: number): Lateness {
  let total = 0;
  const histogram: { belowMs: number; count: number }[] = [];
  for (let bucket = 0; bucket < LATENESS_BUCKETS; bucket++) {
    const count = counts[bucket] as number;
    total += count;
    const isLast = bucket === LATENESS_BUCKETS - 1;
    if (count > 0)
      histogram.push({ belowMs: isLast ? Number.POSITIVE_INFINITY : FIRST_BUCKET_MS * GROWTH ** bucket, count });
  }
  const percentile = (share: number): number => {
    let left = total * share;
    for (let bucket = 0; bucket < LATENESS_BUCKETS; bucket++) {
      left -= counts[bucket] as number;
      // The upper end of the bucket: nothing looks better than it was.
      if (left <= 0) return Math.min(max, FIRST_BUCKET_MS * GROWTH ** bucket);
    }
    return max;
  };
  return { p50: percentile(0.5), p99: percentile(0.99), p999: percentile(0.999), max, histogram };
}
