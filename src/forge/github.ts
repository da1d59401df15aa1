/**
 * Pull requests on GitHub and GitHub Enterprise, by the REST API.
 *
 * https://docs.github.com/en/rest/pulls/pulls
 * https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
 */
import type { Clock } from '../clock.ts';
import { type DurationMs, formatInstant, type Instant, MINUTE, SECOND } from '../core/model/time.ts';
import { ForgeError } from './errors.ts';
import type { Forge, PullRequest, PullRequestResult } from './forge.ts';
import type { ForgeRepository } from './repository-url.ts';

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

const TIMEOUT_MS = 15 * SECOND;
/** Several times what a list of one pull request takes. */
const ANSWER_BYTES_MAX = 1024 * 1024;
/** What GitHub takes at most; it counts characters. */
const TITLE_LENGTH_MAX = 256;
const BODY_LENGTH_MAX = 65_536;
/** "Best practices": after a secondary limit without a time, wait for at least a minute. */
const LIMITED_MS = MINUTE;

export function githubApi(options: GithubOptions): Forge {
  const { owner, name } = options.repository;
  const context: Context = {
    ...options,
    place: `${options.repository.host}/${owner}/${name}`,
    pullsUrl: `${apiBase(options)}/repos/${owner}/${name}/pulls`,
    headers: headersFor(options.token),
  };
  return {
    async openPullRequest(request, signal) {
      const { title, body, branch: head, base } = request;
      const asked = await ask(context, signal, {
        method: 'POST',
        url: context.pullsUrl,
        body: {
          title: title.slice(0, TITLE_LENGTH_MAX),
          body: body.slice(0, BODY_LENGTH_MAX),
          head,
          base,
        },
      });
      if (asked.kind !== 'answered') return asked;
      if (asked.status === 201) return opened(context, asked.body);
      if (asked.status !== 422) return refusal(context, asked);
      const known = await findOpen(context, request, signal);
      return known ?? refusal(context, asked);
    },
  };
}

interface Context extends GithubOptions {
  /** For messages: `github.com/acme/fleet`. */
  readonly place: string;
  readonly pullsUrl: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The pull request that is open already, if there is one. */
async function findOpen(
  context: Context,
  { branch, base }: PullRequest,
  signal: AbortSignal,
): Promise<PullRequestResult | undefined> {
  const { owner } = context.repository;
  const query = new URLSearchParams({ head: `${owner}:${branch}`, base, state: 'open', per_page: '1' });
  const asked = await ask(context, signal, { method: 'GET', url: `${context.pullsUrl}?${query}` });
  if (asked.kind !== 'answered') return asked;
  if (asked.status !== 200) return refusal(context, asked);
  const [found] = Array.isArray(asked.body) ? asked.body : [];
  return found === undefined ? undefined : opened(context, found);
}

function opened({ place }: Context, pullRequest: unknown): PullRequestResult {
  const url = memberOf(pullRequest, 'html_url');
  if (typeof url === 'string' && url.length <= 500 && /^https?:\/\/[\x21-\x7e]+$/.test(url))
    return { kind: 'open', url };
  return refused(`${place} answered without the URL of the pull request; look there whether it is open`);
}

// Asking

interface Answered {
  readonly kind: 'answered';
  readonly status: number;
  readonly headers: Headers;
  /** Undefined where it was no JSON. */
  readonly body: unknown;
}

/** The answer, or why there is none. Redirects are not followed: the token is for one host. */
async function ask(
  { fetch, headers, place, timeoutMs = TIMEOUT_MS }: Context,
  signal: AbortSignal,
  request: { method: 'GET' | 'POST'; url: string; body?: object },
): Promise<Answered | Extract<PullRequestResult, { kind: 'refused' }>> {
  const { method, url, body } = request;
  try {
    const response = await fetch(url, {
      method,
      headers,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const { status } = response;
    return { kind: 'answered', status, headers: response.headers, body: await readJson(response) };
  } catch (error) {
    return refused(`${place} cannot be asked: ${causeOf(error, timeoutMs)}; it is tried again`);
  }
}

/** At most so much as an answer of the API has. */
async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > ANSWER_BYTES_MAX) return undefined; // Leaving the loop cancels the stream.
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    // A page, as proxies answer: its status says enough.
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function causeOf(error: unknown, timeoutMs: DurationMs): string {
  if (!(error instanceof Error)) return String(error);
  if (error.name === 'TimeoutError') return `no answer within ${timeoutMs / SECOND} s`;
  // fetch says only that it failed, and why in the cause.
  const { cause } = error;
  return cause instanceof Error && cause.message !== '' ? cause.message : error.message;
}

function headersFor(token: string): Readonly<Record<string, string>> {
  // Anything else makes fetch fail with a message that shows the header.
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new ForgeError(
      'TIDEGATE_GITHUB_TOKEN holds white space or is empty; set it to the token alone, or unset it',
    );
  }
  return {
    Accept: 'application/vnd.github+json',
    Authorization: `Bearer ${token}`,
    'Content-Type': 'application/json',
    'User-Agent': 'tidegate',
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
  const isLocal = url?.protocol === 'http:' && /^(localhost|127\..*|\[::1\])$/.test(url.hostname);
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

// Refusals

function refused(reason: string, retryAt?: Instant): Extract<PullRequestResult, { kind: 'refused' }> {
  return { kind: 'refused', reason, ...(retryAt === undefined ? {} : { retryAt }) };
}

/** What the answer means for whoever set the token. */
function refusal(context: Context, answer: Answered): PullRequestResult {
  const { place, clock } = context;
  const retryAt = limitedUntil(answer, clock.now());
  if (retryAt !== undefined) {
    return refused(
      `${place} limits how often it is asked; it is tried again after ${formatInstant(retryAt)}`,
      retryAt,
    );
  }
  const { status } = answer;
  // A server that shows what it was sent shows the token, too.
  const said = saidBy(answer.body).replaceAll(context.token, '(token)');
  switch (status) {
    case 401:
      return refused(
        `${place} does not know the token: it has expired or was revoked; set TIDEGATE_GITHUB_TOKEN to a new one`,
      );
    case 403:
    case 404:
      return refused(
        `${place} does not let the token open pull requests (${status}${said}); ` +
          'give it the permission "Pull requests: write" for this repository, or a classic token the scope repo',
      );
    case 422:
      return refused(`${place} refuses the pull request${said}; open one by hand, or merge the branch`);
    default: {
      const isMoved = status >= 300 && status < 400;
      const next = isMoved
        ? 'the repository was renamed or moved: give --repo its new URL'
        : 'it is tried again';
      return refused(`${place} answered ${status}${said}; ${next}`);
    }
  }
}

/** When a rate limit ends, if the answer is about one. "Rate limits for the REST API". */
function limitedUntil({ status, headers, body }: Answered, now: Instant): Instant | undefined {
  if (status !== 403 && status !== 429) return undefined;
  const afterSeconds = numberIn(headers.get('retry-after'));
  if (afterSeconds !== undefined) return now + afterSeconds * SECOND;
  const resetSeconds = numberIn(headers.get('x-ratelimit-reset'));
  if (headers.get('x-ratelimit-remaining') === '0' && resetSeconds !== undefined) {
    return Math.max(now, resetSeconds * SECOND);
  }
  return status === 429 || /rate limit/i.test(saidBy(body)) ? now + LIMITED_MS : undefined;
}

function numberIn(text: string | null): number | undefined {
  return text !== null && /^[0-9]{1,12}$/.test(text) ? Number(text) : undefined;
}

/** GitHub's own words, with those about single fields, as `: words`; empty where there are none. */
function saidBy(body: unknown): string {
  const errors = memberOf(body, 'errors');
  const details = (Array.isArray(errors) ? errors : []).slice(0, 3).map((each: unknown) => {
    const [message, field, code] = ['message', 'field', 'code'].map((key) => memberOf(each, key));
    return typeof message === 'string'
      ? message
      : [field, code].filter((text) => typeof text === 'string').join(' ');
  });
  const words = [memberOf(body, 'message'), ...details].filter(
    (text) => typeof text === 'string' && text !== '',
  );
  return words.length === 0 ? '' : `: ${excerpt(words.join(', '))}`;
}

function excerpt(text: string): string {
  const line = text.replaceAll(/\p{Cc}+/gu, ' ');
  return line.length <= 200 ? line : `${line.slice(0, 200)}…`;
}

function memberOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Readonly<Record<string, unknown>>)[key]
    : undefined;
}
