import { once } from 'node:events';
import net from 'node:net';
import { expect } from 'chai';
import { type AcceptedHandle, peerAddressOf, takeHandles } from '../../src/io-worker/accepted-handles.js';

interface Listening {
  onconnection: (status: number, handle: unknown) => void;
}

describe('accepted handles', () => {
  let server: net.Server;
  let listening: Listening;

  beforeEach(async () => {
    server = net.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    listening = (server as unknown as { _handle: Listening })._handle;
  });

  afterEach(async () => {
    server.close();
    await once(server, 'close');
  });

  it('come before the server has made a socket, with the address of their peer, and can be made one', async () => {
    server.on('connection', () => expect.fail('the server has made a socket'));
    const accepted = new Promise<AcceptedHandle>((resolve) => takeHandles(server, resolve));
    const near = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
    const handle = await accepted;
    expect(peerAddressOf(handle)).to.equal('127.0.0.1');
    const far = new net.Socket({ handle } as net.SocketConstructorOpts);
    near.end('hello');
    const [bytes] = (await once(far, 'data')) as [Buffer];
    expect(bytes.toString()).to.equal('hello');
    far.end();
    await Promise.all([once(far, 'close'), once(near, 'close')]);
  });

  it('that look different are the server’s, as is what could not be accepted', async () => {
    const told: unknown[][] = [];
    listening.onconnection = function (this: unknown, ...args: unknown[]): void {
      expect(this).to.equal(listening);
      told.push(args);
    };
    const taken: unknown[] = [];
    takeHandles(server, (handle) => taken.push(handle));
    const known = { reading: false, useUserBuffer: () => undefined, close: () => undefined };
    const strange = [
      {},
      undefined,
      { ...known, reading: 0 },
      { ...known, useUserBuffer: 1 },
      { ...known, close: null },
    ];
    for (const handle of strange) listening.onconnection(0, handle);
    listening.onconnection(-24, known);
    expect(taken).to.deep.equal([]);
    expect(told).to.deep.equal([...strange.map((handle) => [0, handle]), [-24, known]]);
    listening.onconnection(0, known);
    expect(taken).to.deep.equal([known]);
  });

  it('are left to a server whose own handle looks different', () => {
    const take = (): void => expect.fail('taken');
    for (const handle of [undefined, null, {}, { onconnection: 'later' }]) {
      const strange = { _handle: handle };
      takeHandles(strange as unknown as net.Server, take);
      expect(strange).to.deep.equal({ _handle: handle });
    }
  });

  it('have no address when their peer is gone', () => {
    const handle = { reading: false, useUserBuffer: () => undefined, close: () => undefined };
    expect(peerAddressOf(handle)).to.equal('');
    expect(peerAddressOf({ ...handle, getpeername: () => -107 })).to.equal('');
  });
});
