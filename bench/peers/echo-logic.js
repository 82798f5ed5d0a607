// @ts-check
/** The logic of the peers with a pool: see reactor-peers.js. */
import { defineLogic } from 'simple-reactor';
import { work } from './work.js';

let microseconds = 0;

export default defineLogic({
  start({ data }) {
    microseconds = Number(data);
  },
  onMessage(connection, message) {
    work(microseconds);
    connection.send(message);
  },
});
