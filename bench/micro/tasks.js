// @ts-check
import { Bench } from 'tinybench';

const WARM_UP_MS = 100;
const NS = 1e6;

/** Tasks of many operations each, so that reading the clock does not count; figures are those of one operation. */
export class Tasks {
  #bench;
  /** @type {Map<string, number>} */
  #operations = new Map();

  /** @param {number} ms for each task */
  constructor(ms) {
    this.#bench = new Bench({
      time: ms,
      iterations: 5,
      warmupTime: Math.min(ms, WARM_UP_MS),
      warmupIterations: 2,
      throws: true,
    });
  }

  /**
   * @param {string} name
   * @param {number} operations
   * @param {() => unknown} run
   */
  add(name, operations, run) {
    this.#operations.set(name, operations);
    this.#bench.add(name, run);
  }

  async run() {
    await this.#bench.run();
    return this.#bench.tasks.map(({ name, result }) => {
      if (result.state !== 'completed') throw new Error(`'${name}' is ${result.state}`);
      const { latency } = result;
      const perOperation = (/** @type {number} */ ms) => (ms * NS) / (this.#operations.get(name) ?? 1);
      return {
        name,
        p50: perOperation(latency.p50),
        p99: perOperation(latency.p99),
        samples: latency.samplesCount,
      };
    });
  }
}
