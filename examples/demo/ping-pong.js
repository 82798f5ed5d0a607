// @ts-check

/** One connection that sends a message, waits for its echo, then sends the next. */
export class PingPong {
  sent = 0;
  received = 0;
  #connection;
  #name;
  #onRoundTrip;
  #left = 0;
  /** The message under way. */
  #message = '';
  #sentAt = 0;

  /**
   * @param {import('simple-reactor').TcpConnection} connection
   * @param {number} name  is part of every message, so that an echo on the wrong connection is noticed
   * @param {(milliseconds: number) => void} onRoundTrip
   * @param {(cause: string) => void} onWrongEcho
   */
  constructor(connection, name, onRoundTrip, onWrongEcho) {
    this.#connection = connection;
    this.#name = name;
    this.#onRoundTrip = onRoundTrip;
    connection.on('message', (data) => {
      const echo = data.toString();
      this.received++;
      // One answer is right at any time: what is lost, doubled or overtaken shows as another one, or as none.
      if (this.#left > 0 && echo === this.#message) {
        this.#onEcho();
        return;
      }
      const expected = this.#left > 0 ? `'${this.#message}'` : 'nothing';
      onWrongEcho(`a connection waited for ${expected} and received '${echo}'`);
    });
  }

  /** @param {number} roundTrips */
  play(roundTrips) {
    this.#left = roundTrips;
    this.#ping();
  }

  #ping() {
    // The number goes on from run to run: an echo of an earlier run is noticed, too.
    this.#message = `hello world ${this.#name}/${this.sent}`;
    this.#sentAt = performance.now();
    if (this.#connection.send(this.#message)) this.sent++;
  }

  #onEcho() {
    const milliseconds = performance.now() - this.#sentAt;
    this.#left--;
    if (this.#left > 0) this.#ping();
    this.#onRoundTrip(milliseconds);
  }
}
