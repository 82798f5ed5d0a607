// @ts-check
// An http server of node:http whose sockets live on a reactor, and a client of node:http that connects with one.
// Run: node examples/http/main.js. Prints three answers and how the connection ended; exits with code 1 if one is wrong.
import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import { Reactor } from 'simple-reactor';

const HOST = '127.0.0.1';
const reactor = await Reactor.spawn();

// ---- the server ----

const httpServer = http.createServer(async (request, response) => {
  const body = await text(request);
  response.end(`${request.method} ${request.url} from ${request.socket.remoteAddress}: ${body || 'no body'}`);
});
const server = await reactor.listen({ host: HOST, port: 0, codec: 'raw' });
server.on('connection', (connection) => {
  // An http server decides itself whether the end of a request ends the connection.
  httpServer.emit('connection', connection.toDuplex({ allowHalfOpen: true }));
});
server.on('disconnect', (_connection, reason) => console.log(`the server's connection has closed: ${reason}`));
// As if it had begun to listen: from now on it looks after requestTimeout and the like.
httpServer.emit('listening');

// ---- the client ----

class ReactorAgent extends http.Agent {
  /**
   * @override
   * @param {http.ClientRequestArgs} options
   * @param {(error: Error | null, stream: import('node:stream').Duplex) => void} done
   */
  createConnection({ port }, done) {
    reactor.connect({ host: HOST, port: Number(port), codec: 'raw' }).then(
      (connection) => done(null, connection.toDuplex()),
      (error) => done(error, /** @type {any} */ (undefined)),
    );
    return undefined;
  }
}

// One connection, used again for each request.
const agent = new ReactorAgent({ keepAlive: true, maxSockets: 1 });

/** @param {string} method @param {string} path @param {string} [body] */
async function ask(method, path, body) {
  const request = http.request({ host: HOST, port: server.address.port, method, path, agent });
  request.end(body);
  const [response] = await once(request, 'response');
  const answer = await text(response);
  console.log(`${response.statusCode} ${answer}`);
  const expected = `${method} ${path} from ${HOST}: ${body ?? 'no body'}`;
  if (answer !== expected) throw new Error(`The answer should have been '${expected}'`);
}

await ask('GET', '/one');
await ask('POST', '/two', 'hello world');
await ask('PUT', '/three', 'x'.repeat(20));

// ---- the end ----

agent.destroy();
httpServer.close();
await reactor.close();
