import { inspect } from 'node:util';
import { expect } from 'chai';
import { attach, LogicPool } from '../../src/index.js';
import { identity } from '../fixtures/certificates.js';
import { until } from '../fixtures/events.js';
import { HOST, props, scene } from '../fixtures/scene.js';

const LOGIC = new URL('../fixtures/thread-logic.js', import.meta.url);

describe('console.log', () => {
  const stage = scene();
  const own = props();

  it('shows what one wants to know of each object', async () => {
    const { server, client, far } = await stage.pair();
    const { port } = server.address;
    expect(inspect(far)).to.equal(
      `TcpConnection {\n  id: ${far.id},\n  state: 'open',\n  remoteAddress: '127.0.0.1',\n` +
        `  remotePort: ${far.remotePort},\n  bufferedAmount: 0\n}`,
    );
    const shown = { breakLength: Number.POSITIVE_INFINITY, compact: 3 };
    expect(inspect(server, shown)).to.equal(
      `TcpServer { id: ${server.id}, address: '127.0.0.1:${port}', state: 'open', dispatch: 'owner', isSubscribed: true, connectionCount: 1 }`,
    );
    expect(inspect(client, shown)).to.equal(`TcpClient { id: ${client.id}, state: 'open', connectionCount: 1 }`);
    expect(inspect(stage.reactor.group('room'))).to.equal("Group { name: 'room' }");
    const { handle } = stage.reactor;
    const { connections } = stage.reactor.stats();
    const reactor = `Reactor { name: '${handle.reactor}', state: 'open', ioWorkers: 1, connections: ${connections} }`;
    expect(inspect(stage.reactor, shown)).to.equal(reactor);
    expect(inspect(await attach(handle), shown)).to.equal(reactor);
  });

  it('shows the same as JSON, for logs', async () => {
    const { server, client, far } = await stage.pair();
    const { id, remotePort } = far;
    const connection = { id, state: 'open', remoteAddress: '127.0.0.1', remotePort, bufferedAmount: 0 };
    expect(JSON.parse(JSON.stringify({ far, client }))).to.deep.equal({
      far: connection,
      client: { id: client.id, state: 'open', connectionCount: 1 },
    });
    expect(JSON.parse(JSON.stringify(server))).to.include({ id: server.id, state: 'open', dispatch: 'owner' });
  });

  it('shows the state of what is closed, and of a pool', async () => {
    const reactor = await own.spawn();
    const server = await reactor.listen({ host: HOST, port: 0, dispatch: 'balance' });
    const client = reactor.client();
    const pool = await LogicPool.start(server, { filename: LOGIC, threads: 1, data: {} });
    expect(inspect(pool)).to.equal(`LogicPool { server: ${server.id}, state: 'open', threads: 1 }`);
    await client.close();
    await reactor.close();
    await until(() => pool.threads === 0);
    expect(inspect(pool)).to.equal(`LogicPool { server: ${server.id}, state: 'closed', threads: 0 }`);
    expect(inspect(server)).to.contain("state: 'closed'");
    expect(inspect(client)).to.contain("state: 'closed'");
    expect(inspect(reactor)).to.contain("state: 'closed'");
  });

  it('shows no private key, and the name alone where it is not to go deeper', async () => {
    const tls = identity('server');
    const server = await stage.listen({ tls });
    expect(inspect(server, { depth: null, showHidden: true })).to.not.contain('PRIVATE KEY');
    expect(inspect([[server]], { depth: 0 })).to.equal('[ [Array] ]');
    expect(inspect({ server }, { depth: 0 })).to.equal('{ server: [TcpServer] }');
    expect(() => stage.reactor.group('room').join(server as never)).to.throw(/ got TcpServer \{/);
  });
});
