import { defineService } from 'simple-reactor';

const PROBE = 64;
const ANSWER = 65;

/** @type {Int32Array} */
let rounds = new Int32Array(1);

export default defineService({
  name: 'probe',
  kinds: [ANSWER],

  /** @param {import('simple-reactor').ServiceContext<{ everyMs: number, rounds: Int32Array }>} context */
  start(context) {
    rounds = context.options.rounds;
    context.every(context.options.everyMs, () => {
      for (const connection of context.connections) connection.sendSystem(PROBE, `${performance.now()}`);
    });
  },

  onSystem() {
    Atomics.add(rounds, 0, 1);
  },
});
