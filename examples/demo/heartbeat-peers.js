// @ts-check
// The peers of both servers: one client for each, with the same options. It counts what the connections have seen.
import { Reactor } from 'simple-reactor';
import { handleCommands, letProcessEnd, tellMain } from './channel.js';
import { HEARTBEAT } from './heartbeat-settings.js';

/** Less than the time between two signs of life, so that each of them is seen. */
const LOOK_INTERVAL_MS = 10;
const TELL_INTERVAL_MS = 100;

/** The connections to one server. */
class Peers {
  #client;
  /** @type {Map<import('simple-reactor').TcpConnection, number>} the open ones, each with the time of its last sign of life */
  #lastSigns = new Map();
  #connections = 0;
  #timedOut = 0;
  #otherEnds = 0;
  #signs = 0;
  #silence = 0;

  /** @param {Reactor} reactor */
  constructor(reactor) {
    this.#client = reactor.client({ heartbeat: HEARTBEAT });
    this.#client.on('disconnect', (connection, reason) => {
      this.#look(connection, Date.now());
      this.#lastSigns.delete(connection);
      if (reason === 'heartbeat-timeout') this.#timedOut++;
      else this.#otherEnds++;
    });
  }

  /**
   * @param {number} port
   * @param {number} count
   */
  async connect(port, count) {
    const attempts = Array.from({ length: count }, () => this.#client.connect({ host: '127.0.0.1', port }));
    for (const connection of await Promise.all(attempts)) this.#lastSigns.set(connection, connection.lastReceivedAt);
    this.#connections += count;
  }

  look() {
    const now = Date.now();
    for (const connection of this.#lastSigns.keys()) this.#look(connection, now);
  }

  /**
   * @param {import('simple-reactor').TcpConnection} connection
   * @param {number} now
   */
  #look(connection, now) {
    const before = this.#lastSigns.get(connection);
    const last = connection.lastReceivedAt;
    if (before === undefined || last === 0) return;
    // What was silent until just now counts, too.
    this.#silence = Math.max(this.#silence, now - last, before === 0 ? 0 : last - before);
    if (last === before) return;
    this.#signs++;
    this.#lastSigns.set(connection, last);
  }

  /** Counts from here on. */
  count() {
    this.look();
    this.#signs = 0;
    this.#silence = 0;
  }

  /** @returns {import('./channel.js').Life} */
  life() {
    const roundTrips = [];
    for (const connection of this.#lastSigns.keys()) {
      // None yet.
      const roundTrip = connection.rttMs ?? 0;
      if (roundTrip > 0) roundTrips.push(roundTrip);
    }
    roundTrips.sort((a, b) => a - b);
    return {
      connections: this.#connections,
      open: this.#client.connectionCount,
      timedOut: this.#timedOut,
      otherEnds: this.#otherEnds,
      signs: this.#signs,
      silence: this.#silence,
      roundTrip: roundTrips[Math.floor(roundTrips.length / 2)],
    };
  }
}

const reactor = await Reactor.spawn();
reactor.on('error', (error) => tellMain('failure', `the peers' io worker ended: ${error.message}`));
const peers = { reactor: new Peers(reactor), net: new Peers(reactor) };
const timers = [
  setInterval(() => {
    peers.reactor.look();
    peers.net.look();
  }, LOOK_INTERVAL_MS),
  setInterval(() => tellMain('lives', { reactor: peers.reactor.life(), net: peers.net.life() }), TELL_INTERVAL_MS),
];

handleCommands({
  async connect(
    /** @type {{ ports: Record<import('./channel.js').ServerKind, number>, connections: number }} */ options,
  ) {
    const { ports, connections } = options;
    await Promise.all([peers.reactor.connect(ports.reactor, connections), peers.net.connect(ports.net, connections)]);
    tellMain('connected');
  },
  count() {
    peers.reactor.count();
    peers.net.count();
  },
  async close() {
    for (const timer of timers) clearInterval(timer);
    await reactor.close();
    letProcessEnd();
  },
});
tellMain('ready');
