import type { ConnectionAddresses } from '../shared/event-record.js';

/** What a server's heartbeat says: both ends as Python writes such pairs, and the time in seconds. */
export function heartbeatText(addresses: ConnectionAddresses, now: number): string {
  const { localAddress, localPort, remoteAddress, remotePort } = addresses;
  const seconds = now / 1000;
  const time = Number.isInteger(seconds) ? `${seconds}.0` : String(seconds);
  return `('${localAddress}', ${localPort})#('${remoteAddress}', ${remotePort})#${time}`;
}

/** Notices that a peer has been silent for too long. */
export class SilenceWatch {
  readonly #limitMs: number;
  readonly #onSilence: () => void;
  #heardAt: number = performance.now();
  #timer: NodeJS.Timeout;
  #lastLook: NodeJS.Immediate | undefined;
  #stopped = false;
  readonly #isDeaf: () => boolean;

  /**
   * @param isDeaf while it is true nobody reads what the peer sends, so its silence means nothing
   * @param onSilence is called once
   */
  constructor(limitMs: number, isDeaf: () => boolean, onSilence: () => void) {
    this.#limitMs = limitMs;
    this.#isDeaf = isDeaf;
    this.#onSilence = onSilence;
    this.#timer = this.#wait(limitMs);
  }

  heard(): void {
    this.#heardAt = performance.now();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#lastLook);
  }

  #wait(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      const rest = this.#rest();
      if (rest > 0) {
        this.#timer = this.#wait(rest);
        return;
      }
      // After a long stop of this thread timers come first, and what the peer has sent meanwhile comes after them.
      this.#lastLook = setImmediate(() => this.#decide());
    }, Math.ceil(milliseconds)).unref();
  }

  #decide(): void {
    const rest = this.#rest();
    if (rest > 0) this.#timer = this.#wait(rest);
    else if (!this.#stopped) this.#onSilence();
  }

  /** How long the peer may still be silent. */
  #rest(): number {
    if (this.#isDeaf()) this.heard();
    return this.#heardAt + this.#limitMs - performance.now();
  }
}
