import { defineService } from 'simple-reactor';

const PROBE = 64;
const ANSWER = 65;

export default defineService({
  name: 'answer',
  kinds: [PROBE],

  onOpen(connection) {
    connection.data = { probes: 0 };
  },

  onSystem(connection, _kind, data) {
    connection.data.probes++;
    connection.sendSystem(ANSWER, data);
  },

  // True: handled here. All else goes on to the application.
  onMessage(connection, data) {
    if (!data.equals(TIME)) return false;
    connection.send(`it is ${new Date().toISOString()}, and there have been ${connection.data.probes} probes`);
    return true;
  },
});

const TIME = Buffer.from('time');
