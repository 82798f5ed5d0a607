import * as threads from 'node:worker_threads';

/** The types are those of Node 20, which has none. */
const { markAsUncloneable } = threads as { markAsUncloneable?: (object: object) => void };

/** Has postMessage() and structuredClone() refuse it: a copy would have none of its methods. Before Node 22.10 nothing can. */
export const markUncloneable: (object: object) => void = markAsUncloneable ?? (() => undefined);
