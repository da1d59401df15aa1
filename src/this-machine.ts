/** Which hosts are this machine: what is said to them nobody overhears, and nobody else reaches what listens there. */

/** `localhost`, 127.0.0.0/8 or `::1`, with or without brackets. `127.example.org` is the name of another machine. */
export function isThisMachine(host: string): boolean {
  return /^(localhost|127(\.[0-9]{1,3}){3}|::1|\[::1\])$/.test(host);
}
