/** From these versions on, several sockets may listen on one port, and the kernel spreads connections over them. */
const SINCE = [
  { major: 22, minor: 12 },
  { major: 23, minor: 1 },
] as const;
const PLATFORMS: readonly NodeJS.Platform[] = ['linux', 'freebsd', 'sunos', 'aix'];

/** Whether several io workers can listen on the same port: net.Server has `reusePort`, and the system does it. */
export const sharesPorts: boolean = canSharePorts(process.versions.node, process.platform);

export function canSharePorts(version: string, platform: NodeJS.Platform): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const since = SINCE.find((each) => each.major === major);
  const known = since === undefined ? major > 23 : minor >= since.minor;
  return known && PLATFORMS.includes(platform);
}

let hasWarned = false;

/** Told once. */
export function warnOfSingleHome(ioWorker: number): void {
  if (hasWarned) return;
  hasWarned = true;
  process.emitWarning(
    `This Node (${process.version}, ${process.platform}) cannot share a port between io workers, so that a server lives on one of ` +
      `them: this one on io worker ${ioWorker}. Outgoing connections are spread over all. Node 22.12 and later can, on Linux.`,
    { type: 'ReactorWarning', code: 'REACTOR_SINGLE_IO_WORKER' },
  );
}
