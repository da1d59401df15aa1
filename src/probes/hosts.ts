/** Which hosts gates may ask: a list that the server is started with, as the URLs stand in the repository. */
import { ProbeError } from './errors.ts';

export interface AllowedHost {
  /** As it stands in a URL that was parsed: lower case, punycode, IPv6 in brackets. */
  readonly hostname: string;
  /** Absent: HTTPS on its own port, and nothing else. */
  readonly port?: number;
}

const HOST = /^(\[[0-9a-fA-F:.]+\]|[^\s:[\]/\\?#@*,%]+)(?::([0-9]{1,5}))?$/;

/** `host` or `host:port`. Throws {@link ProbeError} for anything else; `place` is where it was written. */
export function parseHost(text: string, place: string): AllowedHost {
  const [, host = '', port] = HOST.exec(text) ?? [];
  const isHost = host !== '' && URL.canParse(`https://${host}/`);
  if (!isHost || (port !== undefined && (Number(port) < 1 || Number(port) > 65_535))) {
    throw new ProbeError(
      `${place}: expected HOST or HOST:PORT, found "${text.slice(0, 200)}"; ` +
        'name each host in full, without https:// and path, for example checks.example.org',
    );
  }
  const { hostname } = new URL(`https://${host}/`);
  return { hostname, ...(port === undefined ? {} : { port: Number(port) }) };
}

/**
 * Whether one of the hosts is the URL's, name for name. What is listed with a port is asked as the URL says; what is listed
 * without, by HTTPS alone: else whoever writes the URL could choose that everybody on the way may read and answer.
 */
export function isAllowed(url: URL, hosts: readonly AllowedHost[]): boolean {
  const port = url.port === '' ? DEFAULT_PORTS.get(url.protocol) : Number(url.port);
  return hosts.some(
    (each) =>
      each.hostname === url.hostname &&
      (each.port === undefined ? url.protocol === 'https:' && port === 443 : each.port === port),
  );
}

const DEFAULT_PORTS: ReadonlyMap<string, number> = new Map([
  ['http:', 80],
  ['https:', 443],
]);
