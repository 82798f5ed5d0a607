import fs from 'node:fs';
import net from 'node:net';

/** Names that begin so are no files. Only Linux has them. */
const ABSTRACT = '\0';

/**
 * Listens on a Unix domain socket. A file that is left of a process that has died is replaced; one that somebody listens on, and
 * one that is no socket, is not touched.
 */
export async function listenOnPath(
  server: net.Server,
  { path, mode, backlog }: { readonly path: string; readonly mode: number | undefined; readonly backlog: number },
): Promise<void> {
  try {
    await bind(server, path, mode, backlog);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !(await removeIfStale(path))) throw error;
    await bind(server, path, mode, backlog);
  }
}

function bind(server: net.Server, path: string, mode: number | undefined, backlog: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path, backlog, exclusive: true }, resolve);
    // Bound by now, and nobody has been accepted.
    if (mode === undefined || !server.listening) return;
    try {
      fs.chmodSync(path, mode);
    } catch (error) {
      server.close();
      reject(error);
    }
  });
}

/** True: there is no such file any more. */
async function removeIfStale(path: string): Promise<boolean> {
  if (path.startsWith(ABSTRACT)) return false;
  const found = socketAt(path);
  if (found === undefined || (await isAnswered(path))) return false;
  // Another process may have replaced it meanwhile.
  const now = socketAt(path);
  if (now === undefined || now.ino !== found.ino || now.ctimeMs !== found.ctimeMs) return false;
  fs.unlinkSync(path);
  return true;
}

function socketAt(path: string): fs.Stats | undefined {
  const stats = fs.lstatSync(path, { throwIfNoEntry: false });
  return stats?.isSocket() === true ? stats : undefined;
}

/** Only a refusal says that nobody listens: one that is too busy, or not for this user, is somebody. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect({ path });
    const done = (answered: boolean): void => {
      probe.destroy();
      resolve(answered);
    };
    probe.once('connect', () => done(true));
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code !== 'ECONNREFUSED'));
  });
}
