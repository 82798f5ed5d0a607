// @ts-check
/** The logic of working-peers.js: computes for so many microseconds, then echoes. */
import { defineLogic } from 'simple-reactor';

/** @param {number} microseconds */
export function work(microseconds) {
  const end = performance.now() + microseconds / 1000;
  while (performance.now() < end);
}

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
