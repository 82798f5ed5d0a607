const MAX_LINE_BYTES = 1024;

/**
 * A chat for telnet: a line is a message, and `/name`, `/who` and `/quit` are commands.
 * @param {import('simple-reactor').Reactor} reactor
 * @param {number} port
 */
export async function startChat(reactor, port) {
  const server = await reactor.listen({
    host: '127.0.0.1',
    port,
    // Both "\r\n", which telnet sends, and a bare "\n" end a line; what is left of the former is trimmed.
    codec: { type: 'line', maxBytes: MAX_LINE_BYTES },
  });
  /** @type {Map<import('simple-reactor').TcpConnection, string>} */
  const names = new Map();
  let guests = 0;

  server.on('connection', (connection) => {
    names.set(connection, `guest${++guests}`);
    connection.send(`Welcome, ${names.get(connection)}. Commands: /name NAME, /who, /quit\r`);
    server.broadcast(`* ${names.get(connection)} has come\r`, { except: connection });
  });

  server.on('message', (connection, data) => {
    const line = data.toString().trim();
    const name = names.get(connection) ?? '';
    const [command, argument] = line.split(' ', 2);
    if (command === '/quit') connection.shutdown();
    else if (command === '/who') connection.send(`* ${[...names.values()].join(', ')}\r`);
    else if (command === '/name' && argument !== undefined) {
      names.set(connection, argument);
      server.broadcast(`* ${name} is now ${argument}\r`);
    } else if (line !== '') server.broadcast(`${name}: ${line}\r`, { except: connection });
  });

  server.on('disconnect', (connection, reason) => {
    server.broadcast(`* ${names.get(connection)} has gone (${reason})\r`);
    names.delete(connection);
  });
  return server;
}
