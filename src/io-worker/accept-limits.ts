import { AcceptCounts } from '../shared/accept-counts.js';
import type { AcceptLimitSettings } from '../shared/limit-settings.js';

/** How many peers a server lets in: at once, from one address, in a second. */
export class AcceptLimits {
  readonly #settings: AcceptLimitSettings;
  readonly #counts: AcceptCounts;
  /** Connections by the address that they come from, while there is a limit for that. */
  readonly #byAddress = new Map<string, number>();

  constructor(settings: AcceptLimitSettings, worker: number) {
    this.#settings = settings;
    this.#counts = new AcceptCounts(settings.counts, worker);
  }

  /** Whether `admit` and `release` want to know the address. */
  get countsAddresses(): boolean {
    return this.#settings.maxConnectionsPerAddress !== undefined;
  }

  /** Returns the limit that it would go over, or undefined: it is let in, and `release` follows when it is gone. */
  admit(address: string, now: number = Date.now()): string | undefined {
    const { maxConnections, maxConnectionsPerAddress, maxAcceptsPerSecond } = this.#settings;
    const fromAddress = this.#byAddress.get(address) ?? 0;
    if (maxConnectionsPerAddress !== undefined && fromAddress >= maxConnectionsPerAddress) {
      return 'maxConnectionsPerAddress';
    }
    if (!this.#counts.open(maxConnections ?? Number.POSITIVE_INFINITY)) return 'maxConnections';
    // Last: who is turned away for another reason takes nobody's place.
    if (maxAcceptsPerSecond !== undefined && !this.#counts.accept(maxAcceptsPerSecond, now)) {
      this.#counts.close();
      return 'maxAcceptsPerSecond';
    }
    if (maxConnectionsPerAddress !== undefined) this.#byAddress.set(address, fromAddress + 1);
    return undefined;
  }

  release(address: string): void {
    this.#counts.close();
    const left = (this.#byAddress.get(address) ?? 0) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}
