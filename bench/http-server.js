// @ts-check
// A node:http server whose sockets are a reactor's, or plain ones to compare with: for wrk and the like.
// Run: node bench/http-server.js [reactor|plain] [port]. Prints where it listens; Ctrl-C ends it.
// Then: wrk -t1 -c100 -d10 http://127.0.0.1:8080/
import http from 'node:http';
import { Reactor } from 'simple-reactor';

const [kind = 'reactor', port = '8080'] = process.argv.slice(2);
const body = 'hello world\n';
const server = http.createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length });
  response.end(body);
});

if (kind === 'plain') {
  server.listen(Number(port), '127.0.0.1', () => console.log(`plain: http://127.0.0.1:${port}/`));
  process.once('SIGINT', () => process.exit());
} else {
  const reactor = await Reactor.spawn();
  const listener = await reactor.listen({ host: '127.0.0.1', port: Number(port), codec: 'raw' });
  listener.on(
    'connection',
    (connection) => void server.emit('connection', connection.toDuplex({ allowHalfOpen: true })),
  );
  console.log(`reactor: http://127.0.0.1:${listener.address.port}/`);
  process.once('SIGINT', () => reactor.destroy());
}
