// @ts-check
import { defineService } from 'simple-reactor';

/** Answers every message with itself: see reactor-peers.js. */
export default defineService({
  name: 'echo',
  onMessage(connection, data) {
    connection.send(data);
    return true;
  },
});
