// @ts-check
// What each thread of the pool runs.
import { defineLogic } from 'simple-reactor';

let index = -1;

export default defineLogic({
  start(context) {
    index = context.index;
  },
  onMessage(connection, data, info) {
    const request = data.toString();
    // The thread dies in the handler, so the message comes again, to another thread and marked. That is the time to be
    // careful with it: without this look at `redelivered` it would kill one thread after the other.
    if (request === 'deadly' && !info.redelivered) process.exit(1);
    connection.send(`${index} ${request}`);
  },
});
