/**
 * What Piscina loads in the threads of a LogicPool. It loads modules with require(), and a thread that is terminated in the middle of
 * that with an ES module (since the start of another one has failed) takes the whole process along, on Node 20 at least. A thread
 * in the middle of import() does not.
 */
type LogicWorker = typeof import('./logic-worker.js', { with: { 'resolution-mode': 'import' }});

module.exports.runLogic = async (task: Parameters<LogicWorker['runLogic']>[0]): Promise<void> => {
  const { runLogic } = await import('./logic-worker.js');
  return runLogic(task);
};
