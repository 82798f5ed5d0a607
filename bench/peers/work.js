// @ts-check
/** Keeps the thread busy for so long, by the clock: a number of loop turns would be another time on each machine. */
export function work(/** @type {number} */ microseconds) {
  if (microseconds === 0) return;
  const end = performance.now() + microseconds / 1000;
  while (performance.now() < end);
}
