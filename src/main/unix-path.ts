/** `sun_path` has room for one more, a terminating 0. Windows has named pipes, which may be longer. */
const MAX_BYTES: Partial<Record<NodeJS.Platform, number>> = { linux: 107, win32: 255 };
const MAX_BYTES_ELSEWHERE = 103;

/** The check of a path of a Unix domain socket; on Linux also the name of one without a file, which begins with `'\0'`. */
export function unixPath(value: unknown): string | undefined {
  const most = MAX_BYTES[process.platform] ?? MAX_BYTES_ELSEWHERE;
  const allowed = `a path of 1 to ${most} bytes`;
  if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > most) return allowed;
  const zero = value.lastIndexOf('\0');
  if (zero === -1) return undefined;
  if (process.platform !== 'linux') return `${allowed} without '\\0': only Linux has sockets without a file`;
  return zero === 0 && value.length > 1 ? undefined : `${allowed}, in which '\\0' is the first character, if any`;
}
