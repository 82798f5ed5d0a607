import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { Heartbeat, type HeartbeatOwner } from '../../src/io-worker/heartbeat.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { HandClock } from '../fixtures/hand-clock.js';

const INTERVAL = 1000;
const TIMEOUT = 3000;
const SLACK = 8;

class Connection implements HeartbeatOwner {
  isReading = true;
  takesPings = true;
  readonly pings: { readonly at: number; readonly clock: number; readonly late: number }[] = [];
  silentMs: number | undefined;
  #clock = 0;
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  ping(clock: number): boolean {
    this.#clock = clock;
    return this.takesPings;
  }

  onPinged(late: number): void {
    this.pings.push({ at: this.#now(), clock: this.#clock, late });
  }

  onSilent(silentMs: number): void {
    this.silentMs = silentMs;
  }
}

describe('Heartbeat', () => {
  let clock: HandClock;
  let wheel: TimingWheel;
  let connection: Connection;

  /** @param random the least and the most that chance can bring */
  function start(random = 1): Heartbeat {
    clock = new HandClock();
    wheel = new TimingWheel(clock);
    connection = new Connection(() => wheel.now);
    return new Heartbeat(
      { intervalMs: INTERVAL, timeoutMs: TIMEOUT, stallAfterMs: 5000, stallAction: 'report' },
      wheel,
      connection,
      () => random,
    );
  }

  async function moveTo(ms: number, step = 1): Promise<void> {
    for (let at = Math.ceil(wheel.now); at <= ms; at += step) {
      clock.moveTo(clock.time + Math.max(0, at - wheel.now));
      await turn();
    }
  }

  it('asks for a sign of life when nothing came for an interval, and again after the next', async () => {
    start();
    await moveTo(2.5 * INTERVAL, 50);
    expect(connection.pings).to.have.length(2);
    const [first, second] = connection.pings;
    expect(first?.at).to.be.within(INTERVAL, INTERVAL + 50 + SLACK);
    expect(second?.at).to.be.within(2 * INTERVAL, 2 * INTERVAL + 100 + SLACK);
    for (const { late } of connection.pings) expect(late).to.be.within(0, 50 + SLACK);
  });

  it('chooses each interval by chance: the first from a fifth on, others from 95 of 100', async () => {
    start(0);
    await moveTo(INTERVAL * 1.2, 10);
    const [first, second] = connection.pings.map(({ at }) => at);
    expect(first).to.be.within(0.2 * INTERVAL, 0.2 * INTERVAL + 10 + SLACK);
    expect((second ?? 0) - (first ?? 0)).to.be.within(0.95 * INTERVAL, 0.95 * INTERVAL + 20 + SLACK);
  });

  it('asks nothing while traffic shows life', async () => {
    const heartbeat = start();
    for (let at = 0; at <= 5 * TIMEOUT; at += INTERVAL / 2) {
      await moveTo(at, 100);
      heartbeat.heard();
    }
    expect(connection.pings).to.deep.equal([]);
    expect(connection.silentMs).to.equal(undefined);
  });

  it('measures the time from the first of the pings that have not been answered', async () => {
    const heartbeat = start();
    await moveTo(2.5 * INTERVAL, 50);
    const sent = connection.pings.map((ping) => ping.clock);
    expect(sent[1]).to.equal(sent[0]);
    expect(heartbeat.answered(-1)).to.equal(undefined);
    expect(heartbeat.answered(sent[0] as number)).to.be.closeTo(1.5 * INTERVAL, 100);
    expect(heartbeat.answered(sent[0] as number), 'a second answer').to.equal(undefined);
  });

  it('ends between 1 and 1.2 timeouts after the last byte', async () => {
    for (const random of [0, 0.5, 1]) {
      const heartbeat = start(random);
      await moveTo(700, 10);
      heartbeat.heard();
      const heardAt = wheel.now;
      while (connection.silentMs === undefined) await moveTo(wheel.now + 10, 10);
      expect(wheel.now - heardAt).to.be.within(TIMEOUT, 1.2 * TIMEOUT);
      expect(connection.silentMs).to.be.within(TIMEOUT, 1.2 * TIMEOUT);
      heartbeat.stop();
    }
  });

  it('does not count silence while nothing is read, but goes on to ask: the peer listens', async () => {
    start();
    connection.isReading = false;
    await moveTo(4 * TIMEOUT, 50);
    expect(connection.silentMs).to.equal(undefined);
    expect(connection.pings.length).to.be.at.least(10);
    connection.isReading = true;
    const from = wheel.now;
    while (connection.silentMs === undefined) await moveTo(wheel.now + 50, 50);
    expect(wheel.now - from).to.be.at.least(TIMEOUT - INTERVAL - 50);
  });

  it('gives the peer time for an answer when this thread has stood still itself', async () => {
    start();
    await moveTo(INTERVAL / 2, 50);
    clock.moveTo(clock.time + 10 * TIMEOUT);
    await turn();
    await turn();
    expect(connection.silentMs, 'at once').to.equal(undefined);
    expect(connection.pings.length).to.be.greaterThan(0);
    const from = wheel.now;
    while (connection.silentMs === undefined) await moveTo(wheel.now + 50, 50);
    expect(wheel.now - from).to.be.within(TIMEOUT / 2 - 50, TIMEOUT / 2 + 100);
  });

  it('hears what came while it stood still before it decides', async () => {
    const heartbeat = start();
    clock.moveTo(clock.time + TIMEOUT + 10);
    // What the poll phase brings, between the deadline and the decision.
    heartbeat.heard();
    await turn();
    await turn();
    expect(connection.silentMs).to.equal(undefined);
    heartbeat.stop();
  });

  it('counts no ping that cannot be sent, and tries again', async () => {
    start();
    connection.takesPings = false;
    await moveTo(1.5 * INTERVAL, 50);
    expect(connection.pings).to.deep.equal([]);
    connection.takesPings = true;
    await moveTo(2.5 * INTERVAL, 50);
    expect(connection.pings).to.have.length(1);
  });

  it('asks nothing while it is silenced, and goes on to listen', async () => {
    const heartbeat = start();
    heartbeat.isSilenced = true;
    await moveTo(TIMEOUT + 100, 50);
    expect(connection.pings).to.deep.equal([]);
    expect(connection.silentMs).to.not.equal(undefined);
  });

  it('leaves nothing behind when it is stopped', () => {
    const heartbeat = start();
    expect(wheel.size).to.equal(1);
    heartbeat.stop();
    expect(wheel.size).to.equal(0);
  });
});
