/**
 * Asking GitHub and GitHub Enterprise, by the REST API: where it is, who we are, one question and its answer.
 *
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
 */
import type { Clock } from '../../clock.ts';
import { type DurationMs, SECOND } from '../../core/model/time.ts';
import { isHeaderToken, type RequestMessage, request } from '../../request.ts';
import { isThisMachine } from '../../this-machine.ts';
import { ForgeError } from '../errors.ts';
import type { Refused } from '../forge.ts';
import type { ForgeRepository } from '../repository-url.ts';

export interface GithubOptions {
  readonly repository: ForgeRepository;
  readonly token: string;
  /** Where the API is; unless given, where GitHub has it for the repository's host. */
  readonly apiUrl?: string | undefined;
  readonly fetch: typeof fetch;
  readonly clock: Pick<Clock, 'now'>;
  /** For one request and its whole answer. */
  readonly timeoutMs?: DurationMs;
}

/** Everything that questions have in common. */
export interface Context extends GithubOptions {
  /** For messages: `github.com/acme/fleet`. */
  readonly place: string;
  readonly apiBase: string;
  /** What the questions about the repository begin with. */
  readonly repositoryUrl: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Answered {
  readonly kind: 'answered';
  readonly status: number;
  readonly headers: Headers;
  /** Undefined where it was no JSON. */
  readonly body: unknown;
}

const TIMEOUT_MS = 15 * SECOND;
/** Several times what one pull request or comment takes. */
const ANSWER_BYTES_MAX = 1024 * 1024;

/** Throws {@link ForgeError} for settings of no use. */
export function contextOf(options: GithubOptions): Context {
  const { host, owner, name } = options.repository;
  const base = apiBase(options);
  return {
    ...options,
    place: `${host}/${owner}/${name}`,
    apiBase: base,
    repositoryUrl: `${base}/repos/${owner}/${name}`,
    headers: headersFor(options.token),
  };
}

/** The answer, or why there is none. Redirects are not followed: the token is for one host. */
export async function ask(
  { fetch, headers, place, timeoutMs = TIMEOUT_MS }: Context,
  signal: AbortSignal,
  question: { method: RequestMessage['method']; url: string; body?: object; answerBytesMax?: number },
): Promise<Answered | Refused> {
  const { method, url, body, answerBytesMax = ANSWER_BYTES_MAX } = question;
  const message = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const options = { fetch, timeoutMs, answerBytesMax };
  const reply = await request(new URL(url), message, signal, options);
  switch (reply.kind) {
    case 'none':
      return { kind: 'refused', reason: `${place} cannot be asked: ${reply.cause}; it is tried again` };
    case 'redirect':
      return {
        kind: 'refused',
        reason: `${place} answered ${reply.status}; the repository was renamed or moved: give --repo its new URL`,
      };
    case 'replied':
      return {
        kind: 'answered',
        status: reply.status,
        headers: reply.headers,
        // A page, as proxies answer, or an answer without end: its status says enough.
        body: reply.body.kind === 'json' ? reply.body.value : undefined,
      };
  }
}

function headersFor(token: string): Readonly<Record<string, string>> {
  if (!isHeaderToken(token)) {
    throw new ForgeError(
      'TIDEGATE_GITHUB_TOKEN holds white space or is empty; set it to the token alone, or unset it',
    );
  }
  return {
    Accept: 'application/vnd.github+json',
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    'X-GitHub-Api-Version': '2022-11-28',
  };
}

/** Without a slash at its end. Only this machine is given the token without TLS. */
function apiBase({ apiUrl, repository: { host } }: GithubOptions): string {
  if (apiUrl === undefined) {
    if (host === 'github.com') return 'https://api.github.com';
    // GitHub Enterprise Cloud with data residency has its API beside its pages, GitHub Enterprise Server below them.
    return host.endsWith('.ghe.com') ? `https://api.${host}` : `https://${host}/api/v3`;
  }
  const url = URL.canParse(apiUrl) ? new URL(apiUrl) : undefined;
  const isLocal = url?.protocol === 'http:' && isThisMachine(url.hostname);
  if (
    url === undefined ||
    !(url.protocol === 'https:' || isLocal) ||
    url.username !== '' ||
    url.search !== ''
  ) {
    throw new ForgeError(
      'TIDEGATE_GITHUB_API_URL: expected an https URL such as https://github.example.org/api/v3, found another; correct it',
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}
