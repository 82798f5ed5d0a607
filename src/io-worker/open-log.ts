import { ownTarget } from '../shared/log-files.js';
import { type LogMessage, type LogWiring, logThreshold } from '../shared/log-protocol.js';
import { toErrorData } from '../shared/reactor-error.js';
import type { StatusBoard } from '../shared/status-board.js';
import { GatedLog, type LogThreshold } from './gated-log.js';
import { PinoSink } from './pino-sink.js';
import { PortSink } from './port-sink.js';

/** The log of an io worker. */
export function openLog(
  { settings, port }: LogWiring,
  at: {
    readonly worker: number;
    readonly ioWorkers: number;
    readonly threshold: LogThreshold;
    readonly board: StatusBoard;
  },
): GatedLog {
  const { backend, redact, startsAtOnce, payloadBytes } = settings;
  if (backend === undefined) return new GatedLog(new PortSink(port), at.threshold, at.board, payloadBytes);
  const own = ownTarget(backend, at.worker, at.ioWorkers);
  const sink = new PinoSink(own, { redact, worker: at.worker }, (error, what) => {
    const message: LogMessage = { what, error: toErrorData(error) };
    port.postMessage(message);
  });
  // Whatever is wrong with it, the io worker is needed more.
  if (startsAtOnce && at.threshold.logThreshold < logThreshold.SILENT) sink.tryToStart();
  return new GatedLog(sink, at.threshold, at.board, payloadBytes);
}
