// A chat for telnet, with codec 'line'. Run: node examples/line-protocol/main.js
// With a port it stays: node examples/line-protocol/main.js 7007, then telnet 127.0.0.1 7007, twice.
import { Reactor } from 'simple-reactor';
import { startChat } from './chat.js';

const port = process.argv[2] === undefined ? undefined : Number(process.argv[2]);
const reactor = await Reactor.spawn();
const server = await startChat(reactor, port ?? 0);
console.log(`listening on 127.0.0.1:${server.address.port}`);

if (port === undefined) {
  // Two of the library's own clients play a short scene; each prints what it hears.
  const ada = await join('Ada');
  const bob = await join('Bob');
  await ada.heard('is now Bob');
  bob.connection.send('hello');
  await ada.heard('Bob: hello');
  ada.connection.send('/who');
  await ada.heard('* Ada, Bob');
  bob.connection.send('/quit');
  await ada.heard('Bob has gone');
  await reactor.close();
}

/** @param {string} name */
async function join(name) {
  const connection = await reactor.connect({ host: '127.0.0.1', port: server.address.port, codec: 'line' });
  const lines = connection[Symbol.asyncIterator]();
  /** @param {string} text */
  const heard = async (text) => {
    for (;;) {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name} never heard '${text}'`);
      const line = String(value).trim();
      console.log(`${name} hears: ${line}`);
      if (line.includes(text)) return;
    }
  };
  connection.send(`/name ${name}`);
  await heard(`is now ${name}`);
  return { connection, heard };
}
