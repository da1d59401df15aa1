/** Which repository of a forge a git URL leads to. */
import { parsePlace } from '../git/place.ts';

export interface ForgeRepository {
  /** As the forge's pages have it: a name, with a port where it is not that of https. */
  readonly host: string;
  readonly owner: string;
  readonly name: string;
}

/** Undefined for a folder, and for a path that is not `owner/name`. Throws {@link GitRepositoryError} for a URL of no use. */
export function repositoryAt(repo: string): ForgeRepository | undefined {
  const place = parsePlace(repo);
  if (place.kind === 'local') return undefined;
  // `git@host:owner/name` is ssh's short form.
  const url = URL.parse(place.url.includes('://') ? place.url : `ssh://${place.url.replace(':', '/')}`);
  if (url === null) return undefined;
  const [owner = '', name = '', ...more] = url.pathname
    .replace(/^\/+|\/+$/g, '')
    .replace(/\.git$/, '')
    .split('/');
  if (more.length > 0 || !isPart(owner) || !isPart(name)) return undefined;
  // Another port is ssh's, or that of a server which has its API elsewhere.
  const host = url.protocol === 'https:' ? url.host : url.hostname.toLowerCase();
  // GitHub's ssh over port 443 has a host name of its own.
  return { host: host === 'ssh.github.com' ? 'github.com' : host, owner, name };
}

function isPart(text: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(text) && text !== '.' && text !== '..';
}
