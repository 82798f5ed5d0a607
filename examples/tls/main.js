// @ts-check
// A server with TLS that wants to know its clients, and three clients: one that is good, one that it refuses, and one that
// refuses it. Then the server gets a new certificate while a connection goes on. make-certificates.sh has made the
// certificates; for a server of your own, make your own.
// Run: node examples/tls/main.js. Prints who was let in and who was not, and why; exits with code 1 if that is not as expected.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Reactor, ReactorError } from 'simple-reactor';

/** @param {string} name */
const pem = (name) => readFileSync(new URL(`${name}.pem`, import.meta.url));
const ca = pem('ca-cert');

const reactor = await Reactor.spawn();
const server = await reactor.listen({
  host: 'localhost',
  port: 0,
  tls: { cert: pem('server-cert'), key: pem('server-key'), ca, requestCert: true },
});
server.on('connection', async (connection) => {
  const { tls } = await connection.info();
  const { CN: name } = tls?.peerCertificate?.subject ?? {};
  console.log(`server: ${name} is here, with ${tls?.protocol}`);
});
server.on('message', (connection, data) => {
  connection.send(data);
});
const address = { host: 'localhost', port: server.address.port };

console.log('1. a client with a certificate that the server trusts');
const client = reactor.client({ tls: { ca, cert: pem('client-cert'), key: pem('client-key') } });
const connection = await client.connect(address);
connection.send('hello');
console.log(`client: the echo is '${(await once(connection, 'message'))[0]}'`);

console.log('2. a client without a certificate');
const refused = once(server, 'tlsClientError');
const anonymous = await reactor.connect({ ...address, codec: 'raw', tls: { ca } });
const [reason, { error: why }] = await once(anonymous, 'close');
console.log(`client: ${reason}, ${why?.message}`);
console.log(`server: ${(await refused)[0].cause.code}`);

console.log('3. a client that does not trust the server');
try {
  await reactor.connect({ ...address, tls: true });
  throw new Error('It should have been refused');
} catch (error) {
  if (!(error instanceof ReactorError)) throw error;
  console.log(`client: ${error.code}, ${/** @type {NodeJS.ErrnoException} */ (error.cause).code}`);
}

console.log('4. a new certificate');
await server.updateTls({ cert: pem('new-server-cert'), key: pem('new-server-key'), ca, requestCert: true });
const newcomer = await client.connect(address);
/** @param {import('simple-reactor').TcpConnection} of */
const serial = async (of) => (await of.info()).tls?.peerCertificate?.serialNumber;
if ((await serial(newcomer)) === (await serial(connection))) throw new Error('The certificate should be another one');
connection.send('still here');
console.log(
  `client: a new connection sees the new one; the old connection is '${(await once(connection, 'message'))[0]}'`,
);

await reactor.close();
