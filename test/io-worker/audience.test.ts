import { expect } from 'chai';
import { Audience } from '../../src/io-worker/audience.js';
import type { EventLane } from '../../src/io-worker/event-lane.js';
import type { TcpConnection } from '../../src/io-worker/tcp-connection.js';
import { TimingWheel } from '../../src/io-worker/timing-wheel.js';
import { boardCounter, StatusBoard } from '../../src/shared/status-board.js';

/** A thread that gets the events of so many connections. */
class Lane {
  connections = 0;
  get asLane(): EventLane {
    return this as unknown as EventLane;
  }
}

/** A connection, and the lanes that it has been attached to. */
class Connection {
  readonly on: Lane[] = [];
  isDropped = false;
  onOrphaned: () => void = () => {};

  readonly input: object = (() => {
    const self = this;
    return {
      get isDropped(): boolean {
        return self.isDropped;
      },
      recipients: {
        has: (lane: Lane) => self.on.includes(lane),
        get isHeld(): boolean {
          return self.on.length === 0;
        },
      },
    };
  })();

  attach(lane: Lane): void {
    this.on.push(lane);
    lane.connections++;
  }

  orphan(): void {
    this.onOrphaned();
  }

  get asConnection(): TcpConnection {
    return this as unknown as TcpConnection;
  }
}

describe('Audience', () => {
  let board: StatusBoard;
  let first: Lane;
  let second: Lane;

  function audience(dispatch: 'owner' | 'balance' | 'all', orphanTimeoutMs = 60_000): Audience {
    return new Audience(dispatch, orphanTimeoutMs, board, new TimingWheel());
  }

  function place(who: Audience, count: number): Connection[] {
    const connections = Array.from({ length: count }, () => new Connection());
    for (const connection of connections) expect(who.place(connection.asConnection)).to.equal(true);
    return connections;
  }

  const held = (): number => board.counter(boardCounter.HELD);

  beforeEach(() => {
    board = StatusBoard.allocate();
    first = new Lane();
    second = new Lane();
  });

  it("gives all connections to the most senior lane, dispatch 'owner', and to the next when it leaves", () => {
    const who = audience('owner');
    who.add(first.asLane, 2, []);
    who.add(second.asLane, 1, []);
    place(who, 3);
    expect([first.connections, second.connections]).to.deep.equal([0, 3]);
    who.remove(second.asLane);
    place(who, 2);
    expect([first.connections, second.connections]).to.deep.equal([2, 3]);
  });

  it("gives each connection to the lane with the fewest, dispatch 'balance'", () => {
    const who = audience('balance');
    first.connections = 3;
    who.add(first.asLane, 1, []);
    who.add(second.asLane, 2, []);
    place(who, 5);
    expect([first.connections, second.connections]).to.deep.equal([4, 4]);
  });

  it("gives every connection to every lane, dispatch 'all', also those that were there before", () => {
    const who = audience('all');
    who.add(first.asLane, 1, []);
    const [connection] = place(who, 1) as [Connection];
    who.add(second.asLane, 2, [connection.asConnection]);
    expect(connection.on).to.deep.equal([first, second]);
  });

  it('gives nobody a connection whose input is dropped', () => {
    const who = audience('all');
    const dropped = new Connection();
    dropped.isDropped = true;
    who.add(first.asLane, 1, [dropped.asConnection]);
    expect(dropped.on).to.deep.equal([]);
  });

  it('attaches nothing twice when a lane is added twice', () => {
    const who = audience('all');
    who.add(first.asLane, 1, []);
    const [connection] = place(who, 1) as [Connection];
    who.add(first.asLane, 1, [connection.asConnection]);
    expect(connection.on.length).to.equal(1);
  });

  it('holds connections while there is no lane, in order, and counts them', () => {
    const who = audience('balance');
    const connections = place(who, 3);
    expect(held()).to.equal(3);
    who.forget((connections[1] as Connection).asConnection);
    who.forget((connections[1] as Connection).asConnection);
    expect(held()).to.equal(2);
    who.add(first.asLane, 1, []);
    expect(connections.map(({ on }) => on.length)).to.deep.equal([1, 0, 1]);
    expect(held()).to.equal(0);
  });

  it('does not hold them if they are not to be held', () => {
    expect(audience('owner', 0).place(new Connection().asConnection)).to.equal(false);
    expect(held()).to.equal(0);
  });

  it('gives them up when no lane has come in time', async () => {
    const [connection] = place(audience('owner', 1), 1) as [Connection];
    await new Promise<void>((resolve) => {
      connection.onOrphaned = resolve;
    });
    expect(held()).to.equal(0);
  });

  it('passes unfinished messages on unless everybody has got them anyway', () => {
    const passing = (['owner', 'balance', 'all'] as const).map((dispatch) => audience(dispatch).passesOn);
    expect(passing).to.deep.equal([true, true, false]);
  });
});
