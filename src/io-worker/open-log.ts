import { join, parse } from 'node:path';
import { type BackendSettings, type LogMessage, type LogWiring, logThreshold } from '../shared/log-protocol.js';
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
  const own = at.ioWorkers > 1 && backend.rotate !== undefined ? ownFile(backend, at.worker) : backend;
  const sink = new PinoSink(own, { redact, worker: at.worker }, (error) => {
    const message: LogMessage = { failed: toErrorData(error) };
    port.postMessage(message);
  });
  // Whatever is wrong with it, the io worker is needed more.
  if (startsAtOnce && at.threshold.logThreshold < logThreshold.SILENT) sink.tryToStart();
  return new GatedLog(sink, at.threshold, at.board, payloadBytes);
}

/** Several cannot rotate one file: 'app.log' becomes 'app-io0.log', of which rotation makes 'app-io0.1.log'. */
function ownFile(backend: BackendSettings, worker: number): BackendSettings {
  const { dir, name, ext } = parse(String(backend.to));
  return { ...backend, to: join(dir, `${name}-io${worker}${ext}`) };
}
