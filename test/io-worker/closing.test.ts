import { expect } from 'chai';
import { FrameCodec } from '../../src/io-worker/frame-codec.js';
import type { TcpConnection } from '../../src/io-worker/tcp-connection.js';
import type { CloseReason } from '../../src/shared/close-reason.js';
import { decodeClose, eventKind } from '../../src/shared/event-record.js';
import { frameKind } from '../../src/shared/frame-format.js';
import type { ConnectionLimitSettings } from '../../src/shared/limit-settings.js';
import { ReactorError } from '../../src/shared/reactor-error.js';
import { HandIoWorker } from '../fixtures/hand-io-worker.js';

const KIB = 1024;

describe('TcpConnection, closing', () => {
  let io: HandIoWorker;

  beforeEach(() => {
    io = new HandIoWorker();
  });

  /** Why it has closed, as the thread hears it. */
  function reasonTold(): CloseReason | undefined {
    let reason: CloseReason | undefined;
    while (io.events.next()) {
      const { kind, memory, offset, length } = io.events;
      if (kind === eventKind.CLOSE) {
        const payload = Buffer.alloc(length);
        memory.copyOut(offset, length, payload, 0);
        ({ reason } = decodeClose(payload));
      }
      io.events.release();
    }
    return reason;
  }

  const ends: Record<string, (connection: TcpConnection) => void> = {
    'local-destroy': (connection) => connection.destroy('local-destroy'),
    'idle-timeout': (connection) =>
      connection.onOverLimit('idle-timeout', new ReactorError('ERR_REACTOR_LIMIT', 'idle')),
  };
  for (const [reason, end] of Object.entries(ends)) {
    it(`is for '${reason}' if it is, also when more waits than may be sent and that is a reason as well`, () => {
      const limits = { maxSendBytesPerSecond: KIB, closesOverRate: true } as ConnectionLimitSettings;
      const { connection } = io.open(new FrameCodec(64 * KIB), { limits });
      connection.sendFromService('send()', Buffer.alloc(8 * KIB), frameKind.DATA);
      end(connection);
      expect(reasonTold()).to.equal(reason);
      expect(connection.unsentBytes).to.equal(8 * KIB + 6);
    });
  }
});
