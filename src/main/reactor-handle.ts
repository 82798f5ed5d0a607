import { inspect } from 'node:util';
import { ReactorError } from '../shared/reactor-error.js';
import { Registry } from '../shared/registry.js';

/**
 * What another thread needs to attach to a reactor: shared memory and numbers. It can be posted to any number of threads, put into
 * `workerData` and used any number of times, and does not keep anything alive.
 */
export interface ReactorHandle {
  /** Names the reactor within the process. */
  readonly reactor: string;
  readonly registry: SharedArrayBuffer;
  readonly ioWorkers: number;
  readonly stallAfterMs: number;
}

/** Throws ERR_REACTOR_INVALID_ARGUMENT if it is no handle. */
export function checkHandle(handle: unknown): asserts handle is ReactorHandle {
  const { reactor, registry, ioWorkers, stallAfterMs } = (handle ?? {}) as Partial<ReactorHandle>;
  const isComplete =
    typeof reactor === 'string' &&
    registry instanceof SharedArrayBuffer &&
    registry.byteLength === Registry.BYTES &&
    Number.isInteger(ioWorkers) &&
    Number.isInteger(stallAfterMs);
  if (isComplete) return;
  throw new ReactorError(
    'ERR_REACTOR_INVALID_ARGUMENT',
    `attach() takes the handle of a reactor (reactor.handle), got ${inspect(handle, { depth: 0, maxStringLength: 60 })}`,
  );
}
