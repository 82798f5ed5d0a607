// @ts-check
// A server of the demo whose heartbeats come from the io worker.
import { Reactor } from 'simple-reactor';
import { block, handleCommands, letProcessEnd, tellMain } from './channel.js';
import { HEARTBEAT } from './heartbeat-settings.js';

const reactor = await Reactor.spawn();
const server = await reactor.listen({ host: '127.0.0.1', port: 0, heartbeat: HEARTBEAT });
reactor.on('error', (error) => tellMain('failure', `the server's io worker ended: ${error.message}`));

handleCommands({
  block,
  async close() {
    await reactor.close();
    letProcessEnd();
  },
});
tellMain('listening', server.address.port);
