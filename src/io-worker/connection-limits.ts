import type { CloseReason } from '../shared/close-reason.js';
import { READ_BUFFER_BYTES } from '../shared/lane.js';
import type { ConnectionLimitSettings } from '../shared/limit-settings.js';
import { ReactorError } from '../shared/reactor-error.js';
import { SilenceWatch } from './silence-watch.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';
import { TokenBucket } from './token-bucket.js';

/** By so much of it, by chance, a first frame may be later. */
const FIRST_FRAME_SPREAD = 0.25;

/** The connection that has the limits. */
export interface LimitedConnection {
  /** What the peer has sent waits on this side, for this side's reasons: that nothing comes means nothing then. */
  readonly isDeaf: boolean;
  /** Grows with everything of the application's that passes, in either direction; not with heartbeats and the like. */
  readonly movement: number;
  /** A whole frame has come, of whatever kind. */
  readonly hasReceivedFrame: boolean;
  /** It is to be read no more for now, or again. */
  onThrottled(throttled: boolean): void;
  onOverLimit(reason: CloseReason, error: ReactorError): void;
}

/** What an open connection must keep to: its first frame, its silence, how fast it may be read. SendPace has the other direction. */
export class ConnectionLimits {
  readonly #connection: LimitedConnection;
  readonly #settings: ConnectionLimitSettings;
  readonly #wheel: TimingWheel;
  #firstFrame: SilenceWatch | undefined;
  readonly #idle: SilenceWatch | undefined;
  #movement = 0;
  readonly #bucket: TokenBucket | undefined;
  #throttle: Deadline | undefined;

  private constructor(
    settings: ConnectionLimitSettings,
    wheel: TimingWheel,
    connection: LimitedConnection,
    sinceMs: number,
  ) {
    this.#connection = connection;
    this.#settings = settings;
    this.#wheel = wheel;
    const { firstFrameTimeoutMs, idleTimeoutMs, maxReceiveBytesPerSecond } = settings;
    const isDeaf = (): boolean => connection.isDeaf;
    if (firstFrameTimeoutMs !== undefined) {
      // An attacker opens thousands at once: they are not closed at once.
      const spread = 1 + FIRST_FRAME_SPREAD * Math.random();
      const left = Math.max(1, firstFrameTimeoutMs * spread - sinceMs);
      this.#firstFrame = new SilenceWatch(wheel, left, isDeaf, () => this.#checkFirstFrame(firstFrameTimeoutMs));
    }
    if (idleTimeoutMs !== undefined) {
      this.#idle = new SilenceWatch(
        wheel,
        idleTimeoutMs,
        () => isDeaf() || this.#hasMoved(),
        () => this.#over('idle-timeout', 'idleTimeoutMs', `nothing but heartbeats passed for ${idleTimeoutMs} ms`),
      );
    }
    if (maxReceiveBytesPerSecond !== undefined) this.#bucket = new TokenBucket(maxReceiveBytesPerSecond, wheel.now);
  }

  /**
   * Undefined if there is nothing to keep to.
   * @param sinceMs how long ago it was accepted: TLS comes first
   */
  static of(
    settings: ConnectionLimitSettings,
    wheel: TimingWheel,
    connection: LimitedConnection,
    sinceMs: number,
  ): ConnectionLimits | undefined {
    const { firstFrameTimeoutMs, idleTimeoutMs, maxReceiveBytesPerSecond } = settings;
    if ((firstFrameTimeoutMs ?? idleTimeoutMs ?? maxReceiveBytesPerSecond) === undefined) return undefined;
    return new ConnectionLimits(settings, wheel, connection, sinceMs);
  }

  /** So many bytes have been read and decoded. */
  received(bytes: number): void {
    this.moved();
    const level = this.#bucket?.take(bytes, this.#wheel.now) ?? 0;
    if (level >= 0) return;
    if (this.#settings.closesOverRate) {
      const { maxReceiveBytesPerSecond } = this.#settings;
      const what = `the peer sent more than ${maxReceiveBytesPerSecond} bytes in a second`;
      this.#over('limit', 'maxReceiveBytesPerSecond', what);
      return;
    }
    this.#throttle ??= new Deadline(() => this.#connection.onThrottled(false));
    this.#connection.onThrottled(true);
    this.#wheel.set(this.#throttle, this.#bucket?.waitMs(0) ?? 0);
  }

  /** Something may have passed. */
  moved(): void {
    if (this.#idle !== undefined && this.#hasMoved()) this.#idle.heard();
  }

  /** The peer sends no more; it may still be sent something. */
  peerEnded(): void {
    this.#firstFrame?.stop();
  }

  /** This side ends, too: that has a time of its own. */
  ending(): void {
    this.#firstFrame?.stop();
    this.#idle?.stop();
  }

  stop(): void {
    this.ending();
    if (this.#throttle !== undefined) this.#wheel.clear(this.#throttle);
  }

  /** Since the last look. */
  #hasMoved(): boolean {
    const { movement } = this.#connection;
    if (movement === this.#movement) return false;
    this.#movement = movement;
    return true;
  }

  #checkFirstFrame(ms: number): void {
    this.#firstFrame?.stop();
    this.#firstFrame = undefined;
    if (this.#connection.hasReceivedFrame) return;
    this.#over('first-frame-timeout', 'firstFrameTimeoutMs', `the peer sent no whole frame within ${ms} ms`);
  }

  #over(reason: CloseReason, limit: string, what: string): void {
    this.#connection.onOverLimit(reason, overLimit(limit, what));
  }
}

/**
 * What one read may bring: not more than may pass in a second. What is too much is made up for by not reading, and who does not read for
 * a minute does not see for a minute that the peer has ended.
 */
export function bytesPerRead({ maxReceiveBytesPerSecond }: ConnectionLimitSettings): number {
  return Math.min(READ_BUFFER_BYTES, maxReceiveBytesPerSecond ?? READ_BUFFER_BYTES);
}

/** @param limit which of `limits` */
export function overLimit(limit: string, what: string): ReactorError {
  return new ReactorError('ERR_REACTOR_LIMIT', `Over limits.${limit}: ${what}`);
}
