/** What people name a repository by: a folder, or a URL as `git clone` takes it. */
import { fileURLToPath } from 'node:url';
import { isThisMachine } from '../this-machine.ts';
import { GitRepositoryError } from './errors.ts';

export type Place =
  | { readonly kind: 'local'; readonly path: string }
  | { readonly kind: 'http'; readonly url: string; readonly isProtected: boolean }
  | { readonly kind: 'ssh'; readonly url: string };

/** Throws {@link GitRepositoryError} where `text` is a URL that cannot be used; it is not repeated where it holds a password. */
export function parsePlace(text: string): Place {
  if (text.startsWith('-')) throw refused(text, 'begins with a dash, which git would take for an option');
  if (HELPER.test(text)) throw refused(text, `names a helper program of git's; ${FORMS}`);
  if (!SCHEME.test(text))
    return SCP_LIKE.test(text) ? { kind: 'ssh', url: text } : { kind: 'local', path: text };
  const url = URL.parse(text);
  if (url === null) throw refused(text, 'is no URL');
  switch (url.protocol) {
    case 'file:':
      return { kind: 'local', path: localPath(url) };
    case 'ssh:':
      if (url.password !== '')
        throw refused(hidden(url), 'has a password in it; ssh takes keys: take it out');
      return { kind: 'ssh', url: text };
    case 'http:':
    case 'https:':
      return httpPlace(url);
    default:
      throw refused(text, `has the scheme ${url.protocol}//, which is not supported; ${FORMS}`);
  }
}

function httpPlace(url: URL): Place {
  if (url.username !== '' || url.password !== '') {
    throw refused(
      hidden(url),
      'has credentials in it, where logs and process lists show them; take them out, revoke them if they were shown, and set TIDEGATE_GIT_TOKEN (and TIDEGATE_GIT_USERNAME) instead',
    );
  }
  if (url.search !== '' || url.hash !== '')
    throw refused(url.origin + url.pathname, 'has a ? or # behind it; take that away');
  return {
    kind: 'http',
    url: url.href.replace(/\/+$/, ''),
    isProtected: url.protocol === 'https:' || isThisMachine(url.hostname),
  };
}

function localPath(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw refused(url.href, 'names no folder of this machine; file:///path/to/repository does', error);
  }
}

const SCHEME = /^[a-z][a-z0-9+.-]*:\/\//i;
const FORMS = 'name a folder, or a URL with https://, http://, ssh:// or file://';
/** `ext::…` runs what stands behind it (gitremote-helpers(7)). */
const HELPER = /^[a-z][a-z0-9+.-]*::/i;
/** `[user@]host:path`; a slash before the colon makes it a folder (git-clone(1), GIT URLS). */
const SCP_LIKE = /^[^/:]+:./;

function hidden(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

function refused(shown: string, problem: string, cause?: unknown): GitRepositoryError {
  return new GitRepositoryError(shown, `${shown} ${problem}`, cause);
}
