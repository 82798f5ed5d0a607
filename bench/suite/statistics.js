// @ts-check
/** @typedef {{ median: number, lowest: number, highest: number }} Spread */

/** @param {readonly number[]} values  at least one */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/**
 * @param {readonly number[]} values  at least one
 * @returns {Spread}
 */
export function spread(values) {
  return { median: median(values), lowest: Math.min(...values), highest: Math.max(...values) };
}
