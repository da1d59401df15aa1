/** What went wrong with a remote, in a sentence that ends with what to do. Never with what the server said in full, nor with credentials. */
import { type DurationMs, formatDuration } from '../core/model/time.ts';
import { errorCode } from '../durable-fs.ts';
import type { Remote } from './engine.ts';
import { GitRemoteError } from './errors.ts';

export function httpTrouble(
  remote: Remote,
  { status, isPush, content }: { status: number; isPush: boolean; content: Buffer },
): GitRemoteError {
  const cause = new Error(`HTTP ${status}: ${printable(content.toString('utf8', 0, EXCERPT_MAX))}`);
  // Azure DevOps shows its sign-in page with 203.
  if (status === 401 || status === 203) return unauthorized(remote, cause);
  if (status === 403) return forbidden(remote, isPush, cause);
  if (status === 404 || status === 410) return missing(remote, cause);
  return unreachable(
    remote,
    `answers with HTTP ${status}: look at the server, or wait until it is well again`,
    cause,
  );
}

export function networkTrouble(
  remote: Remote,
  found: { readonly idleMs: DurationMs } | { readonly error: unknown },
): GitRemoteError {
  if ('idleMs' in found)
    return unreachable(remote, `has sent nothing for ${formatDuration(found.idleMs)}${BETWEEN}`);
  const code =
    causes(found.error)
      .map(errorCode)
      .find((each) => each !== undefined) ?? '';
  if (TLS.test(code)) return tls(remote, code, found.error);
  const what = NETWORK.get(code);
  return unreachable(
    remote,
    what ?? `cannot be reached (${code || String(found.error)})${BETWEEN}`,
    found.error,
  );
}

/** Git's own messages, as `LC_ALL=C` has them. */
export function nativeTrouble(
  remote: Remote,
  { stderr, isPush }: { stderr: string; isPush: boolean },
): GitRemoteError {
  const cause = new Error(printable(stderr.slice(-EXCERPT_MAX)));
  const said = (pattern: RegExp) => pattern.exec(stderr)?.[0];
  if (said(/could not read (Username|Password)|Authentication failed|HTTP 401|error: 401/))
    return unauthorized(remote, cause);
  if (said(/Permission denied \((publickey|password|keyboard)/)) {
    const message =
      `${remote.url} does not accept our ssh key: add the public key of this user there, ` +
      'and name the private one in ~/.ssh/config or GIT_SSH_COMMAND';
    return new GitRemoteError('unauthorized', message, cause);
  }
  if (said(/Host key verification failed/)) {
    const message =
      `${remote.url}: the host's ssh key is not known here, or has changed: compare it with what the host publishes, ` +
      'then add it to ~/.ssh/known_hosts';
    return new GitRemoteError('unauthorized', message, cause);
  }
  if (said(/error: 403|HTTP 403|denied to|access denied|not allowed to push/i))
    return forbidden(remote, isPush, cause);
  if (
    said(
      /repository '.*' not found|does not appear to be a git repository|Repository not found|error: (404|410)/,
    )
  )
    return missing(remote, cause);
  if (
    said(
      /not valid: is this a git repository|invalid (server )?(response|content-type)|unable to update url base/,
    )
  )
    return notGit(remote, 'answers with something else', cause);
  const certificate = said(/SSL[^\n]*|certificate[^\n]*|gnutls_handshake[^\n]*/i);
  if (certificate !== undefined) return tls(remote, printable(certificate), cause);
  if (said(/Could not resolve host(name)?/))
    return unreachable(remote, NETWORK.get('ENOTFOUND') ?? '', cause);
  if (said(/Connection refused|Failed to connect|Couldn't connect/))
    return unreachable(remote, NETWORK.get('ECONNREFUSED') ?? '', cause);
  if (said(/hung up|early EOF|unexpected disconnect|Empty reply|transfer closed|Connection (reset|closed)/))
    return unreachable(remote, NETWORK.get('ECONNRESET') ?? '', cause);
  const lock = /Unable to create '(.*\.lock)': File exists/.exec(stderr)?.[1];
  if (lock !== undefined)
    return unreachable(
      remote,
      `is being fetched by another git, which holds ${printable(lock)}: it is tried again by itself`,
      cause,
    );
  if (said(/Operation too slow|timed out/i))
    return unreachable(remote, `has sent nothing for too long${BETWEEN}`, cause);
  const last =
    stderr
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/^(fatal|error): /, '') ?? '';
  return unreachable(remote, `cannot be reached (${printable(last.slice(0, 200))})${BETWEEN}`, cause);
}

/** The answer came, whole, and makes no sense. */
export function garbled(remote: Remote, error: unknown): GitRemoteError {
  const name = error instanceof Error ? error.name : String(error);
  return unreachable(remote, `has sent a garbled answer (${name})${BETWEEN}`, error);
}

export function cutShort(remote: Remote): GitRemoteError {
  return unreachable(remote, `has sent half an answer${BETWEEN}`);
}

export function notGit({ url }: Remote, what: string, cause?: unknown): GitRemoteError {
  const message = `${url} ${what} and is no git repository: name the URL that \`git clone\` takes`;
  return new GitRemoteError('not-git', message, cause);
}

function unauthorized({ url, credentials }: Remote, cause: unknown): GitRemoteError {
  const message =
    credentials === undefined
      ? `${url} asks for credentials: set TIDEGATE_GIT_TOKEN, and TIDEGATE_GIT_USERNAME where the server wants one`
      : `${url} does not accept the credentials: the token has expired, was revoked or is for another server; ` +
        'set TIDEGATE_GIT_TOKEN to a new one, or correct TIDEGATE_GIT_USERNAME';
  return new GitRemoteError('unauthorized', message, cause);
}

function forbidden({ url, credentials }: Remote, isPush: boolean, cause: unknown): GitRemoteError {
  const who = credentials === undefined ? 'us without a token' : 'the token';
  const message = isPush
    ? `${url} does not let ${who} push: give it write access to the repository's contents`
    : `${url} does not let ${who} read: give it read access to the repository's contents`;
  return new GitRemoteError('forbidden', message, cause);
}

function missing({ url, credentials }: Remote, cause: unknown): GitRemoteError {
  const hidden =
    credentials === undefined
      ? 'it is private and wants a token (TIDEGATE_GIT_TOKEN)'
      : 'the token may not see it';
  return new GitRemoteError(
    'missing',
    `there is no repository at ${url}, or ${hidden}: correct either`,
    cause,
  );
}

function tls({ url }: Remote, what: string, cause: unknown): GitRemoteError {
  const message =
    `${url} has no TLS certificate that is trusted here (${what}): correct the certificate or the host's name, ` +
    'or name your own authority in NODE_EXTRA_CA_CERTS (engine isomorphic) or GIT_SSL_CAINFO (engine native)';
  return new GitRemoteError('unreachable', message, cause);
}

function unreachable({ url }: Remote, what: string, cause?: unknown): GitRemoteError {
  return new GitRemoteError('unreachable', `${url} ${what}`, cause);
}

const BETWEEN = ': look at the server, and at proxies and the network between';

const NETWORK: ReadonlyMap<string, string> = new Map([
  ['ENOTFOUND', 'has a host name that nobody knows: correct the URL, or look at the name service'],
  ['EAI_AGAIN', 'has a host name that cannot be resolved now: look at the name service'],
  ['ECONNREFUSED', 'refuses the connection: see that the server runs and the port is right'],
  ['ECONNRESET', `has cut the connection${BETWEEN}`],
  ['UND_ERR_SOCKET', `has cut the connection${BETWEEN}`],
  ['ETIMEDOUT', 'does not answer: look at the network and firewalls between'],
  ['UND_ERR_CONNECT_TIMEOUT', 'does not answer: look at the network and firewalls between'],
  ['EHOSTUNREACH', `has no way to it from here${BETWEEN}`],
  ['ENETUNREACH', `has no way to it from here${BETWEEN}`],
]);

/** Node's codes for certificates (OpenSSL's verify errors) and for a handshake that failed. */
const TLS = /CERT|SELF_SIGNED|SIGNATURE|^ERR_SSL|^ERR_TLS|^EPROTO|CRL/;

const EXCERPT_MAX = 500;

/** An error and what caused it, outermost first; innermost codes say most, but only the outermost have them at times. */
function causes(error: unknown): unknown[] {
  const chain: unknown[] = [];
  for (let each = error; each instanceof Error && chain.length < 5; each = each.cause) {
    chain.push(each, ...(each instanceof AggregateError ? each.errors : []));
  }
  return chain;
}

/** On one line, without what a terminal would obey. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out.
  return text.replace(/[\x00-\x1f\x7f-\x9f]+/g, ' ').trim();
}
