// @ts-check
// The demo's server process: sends every message back, and blocks its main thread when told to.
import { Reactor } from 'simple-reactor';
import { block, handleCommands, letProcessEnd, tellMain } from './channel.js';

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0 });
let received = 0;
let sent = 0;
/** Connections may end from now on. */
let over = false;

server.on('message', (connection, data) => {
  received++;
  if (connection.send(data)) sent++;
});
server.on('disconnect', (_connection, reason) => {
  if (!over) tellMain('failure', `the server lost a connection (${reason})`);
});
reactor.on('error', (error) => tellMain('failure', `the server's io worker ended: ${error.message}`));

handleCommands({
  block,
  finish() {
    over = true;
    tellMain('counts', { open: server.connectionCount, opened: reactor.stats().accepted, sent, received });
  },
  async close() {
    await reactor.close();
    letProcessEnd();
  },
});
tellMain('listening', server.address.port);
