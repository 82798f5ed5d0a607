import type { HeartbeatSettings } from '../shared/heartbeat-settings.js';
import { Deadline, type TimingWheel } from './timing-wheel.js';

/** Pings may be late by so much of the interval, so that those of many connections go out together and wake this thread once. */
const PING_SLACK_SHARE = 1 / 128;

/** Each interval is chosen anew between so much of it and all of it; the first one is spread wider: all may have connected at once. */
const LEAST_SHARE = 0.95;
const LEAST_FIRST_SHARE = 0.2;

/** This thread has stood still if it comes to look so much of the timeout too late, and so many ms. */
const STOPPED_SHARE = 0.1;
const STOPPED_MS = 50;
/** Then the peer has so much of the timeout to answer a ping: it could not have been heard. */
const GRACE_SHARE = 0.5;

/** What a heartbeat asks of its connection. */
export interface HeartbeatOwner {
  /** False: what the peer sends is not read, so that its silence means nothing. */
  readonly isReading: boolean;
  /** False: it cannot be sent at present. */
  ping(clock: number): boolean;
  /** A ping has left, so many ms after it was due. */
  onPinged(latenessMs: number): void;
  /** Nothing came for `silentMs`. */
  onSilent(silentMs: number): void;
}

/**
 * Sees to it that both sides of a connection know that the other one is there: a ping whenever nothing came for an interval,
 * and an end when nothing came for the timeout.
 *
 * One deadline, which is set again when it is due and not with each byte that comes.
 */
export class Heartbeat {
  readonly #settings: HeartbeatSettings;
  readonly #wheel: TimingWheel;
  readonly #owner: HeartbeatOwner;
  readonly #random: () => number;
  readonly #deadline = new Deadline(() => this.#onDue());
  // Times are whole ms, which lie in the object itself and not in one more each: a thread that pings thousands of connections finds none of
  // that in its cache.
  #heardAt: number;
  #pingedAt = 0;
  /** Until then the peer could not be heard. */
  #deafUntil = 0;
  /** How long after the last byte or ping the next ping is due. */
  #wait: number;
  /** Of the ping that has not been answered; those behind it repeat it. */
  #clock: number | undefined;
  #lastLook: NodeJS.Immediate | undefined;
  #stopped = false;
  readonly #slackMs: number;
  /** Peers are to think that this side is dead. */
  isSilenced = false;

  constructor(
    settings: HeartbeatSettings,
    wheel: TimingWheel,
    owner: HeartbeatOwner,
    random: () => number = Math.random,
  ) {
    this.#settings = settings;
    this.#wheel = wheel;
    this.#owner = owner;
    this.#random = random;
    this.#slackMs = Math.max(1, Math.round(PING_SLACK_SHARE * settings.intervalMs));
    this.#heardAt = Math.ceil(wheel.now);
    this.#wait = this.#intervalFrom(LEAST_FIRST_SHARE);
    this.#plan(this.#heardAt);
  }

  /** Something came. */
  heard(): void {
    this.#heardAt = Math.ceil(this.#wheel.now);
  }

  /** Returns how long the answer took, in ms; undefined if it answers nothing. */
  answered(clock: number): number | undefined {
    if (clock !== this.#clock) return undefined;
    this.#clock = undefined;
    return this.#wheel.now - clock;
  }

  stop(): void {
    this.#stopped = true;
    this.#wheel.clear(this.#deadline);
    clearImmediate(this.#lastLook);
  }

  get #silentSince(): number {
    return Math.max(this.#heardAt, this.#deafUntil);
  }

  get #pingDue(): number {
    return Math.max(this.#heardAt, this.#pingedAt) + this.#wait;
  }

  #plan(now: number): void {
    const silentAt = this.#silentSince + this.#settings.timeoutMs;
    const pingAt = this.#pingDue;
    if (pingAt < silentAt) this.#wheel.set(this.#deadline, Math.max(1, pingAt - now), this.#slackMs);
    else this.#wheel.set(this.#deadline, Math.max(1, silentAt - now));
  }

  #onDue(): void {
    const now = this.#wheel.now;
    if (!this.#owner.isReading) this.#deafUntil = Math.ceil(now);
    if (now - this.#silentSince >= this.#settings.timeoutMs) {
      // After a long stop of this thread timers come first, and what the peer has sent meanwhile comes after them.
      this.#lastLook = setImmediate(() => this.#decide());
      return;
    }
    if (now >= this.#pingDue) this.#ping(now);
    this.#plan(now);
  }

  #decide(): void {
    if (this.#stopped) return;
    const { timeoutMs } = this.#settings;
    const now = this.#wheel.now;
    const silentMs = now - this.#silentSince;
    if (silentMs >= timeoutMs) {
      if (silentMs - timeoutMs < Math.max(STOPPED_MS, STOPPED_SHARE * timeoutMs)) {
        this.#owner.onSilent(silentMs);
        return;
      }
      this.#deafUntil = Math.ceil(now - timeoutMs + GRACE_SHARE * timeoutMs);
      this.#ping(now);
    }
    this.#plan(now);
  }

  #ping(now: number): void {
    const lateness = now - this.#pingDue;
    this.#pingedAt = Math.floor(now);
    this.#wait = this.#intervalFrom(LEAST_SHARE);
    if (this.isSilenced) return;
    const clock = this.#clock ?? now;
    // Too much of the codec's own waits already: the peer does not read, and is no nearer to an answer.
    if (!this.#owner.ping(clock)) return;
    this.#clock = clock;
    this.#owner.onPinged(Math.max(0, lateness));
  }

  #intervalFrom(leastShare: number): number {
    return Math.round(this.#settings.intervalMs * (leastShare + (1 - leastShare) * this.#random()));
  }
}
