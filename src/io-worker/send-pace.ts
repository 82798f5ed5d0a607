import { Deadline, type TimingWheel } from './timing-wheel.js';
import { TokenBucket } from './token-bucket.js';

/** While it waits, a connection writes about so often: what has gathered meanwhile leaves at once. */
const PAUSES_PER_SECOND = 40;

/** What a pace tells its output. */
export interface PaceOwner {
  /** There is room again. */
  onRoom(): void;
  /** More is to be written than may be, and that is not to wait. */
  onOverRate(): void;
}

/** How fast a connection may write (`maxSendBytesPerSecond`). */
export class SendPace {
  readonly #bytesPerSecond: number;
  readonly #closesOverRate: boolean;
  readonly #bucket: TokenBucket;
  readonly #wheel: TimingWheel;
  readonly #owner: PaceOwner;
  readonly #deadline: Deadline;

  constructor(bytesPerSecond: number, closesOverRate: boolean, wheel: TimingWheel, owner: PaceOwner) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#closesOverRate = closesOverRate;
    this.#bucket = new TokenBucket(bytesPerSecond, wheel.now);
    this.#wheel = wheel;
    this.#owner = owner;
    this.#deadline = new Deadline(() => owner.onRoom());
  }

  /** Of `waiting` bytes, how many may be written now. 0: `onRoom` follows. */
  room(waiting: number): number {
    // It will be looked at again anyway: what is added meanwhile waits for that.
    if (this.#deadline.isSet) return 0;
    const level = this.#bucket.level(this.#wheel.now);
    if (this.#closesOverRate && waiting > level) {
      this.#owner.onOverRate();
      return 0;
    }
    const least = Math.min(waiting, this.#bytesPerSecond / PAUSES_PER_SECOND);
    if (level >= least) return Math.ceil(level);
    this.#wheel.set(this.#deadline, this.#bucket.waitMs(least));
    return 0;
  }

  spent(bytes: number): void {
    this.#bucket.take(bytes, this.#wheel.now);
  }

  stop(): void {
    this.#wheel.clear(this.#deadline);
  }
}
