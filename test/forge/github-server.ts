/** A server that speaks as much of GitHub's REST API as pull requests and their comments need, on a free port of this machine. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

export const TOKEN = 'github_pat_11AAAAAAA0secretsecretsecret';

export interface OpenedPull {
  readonly number: number;
  readonly head: string;
  readonly base: string;
  readonly title: string;
  readonly body: string;
  readonly html_url: string;
  state: 'open' | 'closed';
}

/** One that was merged, from a branch of the repository or of a fork. */
export interface MergedPull {
  readonly number: number;
  /** What the merge made of it on `base`, the last one being the merge's own: several where it was rebased. */
  readonly commits: readonly string[];
  readonly base: string;
  /** Of whom the repository was forked, where the branch is in a fork. */
  readonly fork?: string;
  isLocked?: boolean;
}

export interface GithubComment {
  readonly id: number;
  readonly issue: number;
  readonly author: string;
  body: string;
  /** How often it was changed. */
  edits: number;
}

export interface GithubRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

/** What is answered in place of what GitHub would: `silence` never answers, `cut` ends in the middle of the answer. */
export type Instead =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: object | string }
  | 'silence'
  | 'cut';

export interface GithubServer {
  readonly apiUrl: string;
  readonly requests: readonly GithubRequest[];
  readonly pulls: readonly OpenedPull[];
  /** In the order in which they were made. */
  readonly comments: readonly GithubComment[];
  /** A pull request is merged, and may be commented on. */
  merged(pull: MergedPull): void;
  /** Somebody writes a comment. */
  comment(issue: number, author: string, body: string): GithubComment;
  /** The next requests are answered so, one each. */
  insteadOfNext(...answers: readonly Instead[]): void;
  /** Whatever is more than reading is answered so from now on; undefined: as GitHub would. */
  refuseChanges(answer: Instead | undefined): void;
  /** What is asked so is done, and never answered, from now on. */
  keepAnswersOf(method: string | undefined): void;
  /** The token that is taken from now on. */
  setToken(token: string): void;
}

export interface GithubServerOptions {
  /** `owner/name`. */
  readonly repository?: string;
  /** Whose the token is; null: an app's, which may not ask. */
  readonly login?: string | null;
  /** Resolves when a request may be answered. */
  readonly before?: (request: GithubRequest) => Promise<void>;
  /** Whether the repository has the branch. */
  readonly hasBranch?: (branch: string) => Promise<boolean>;
}

/** It is closed after the test. */
export async function startGithub({
  repository = 'acme/fleet',
  login = 'tidegate-acme',
  before = async () => undefined,
  hasBranch = async () => true,
}: GithubServerOptions = {}): Promise<GithubServer> {
  const requests: GithubRequest[] = [];
  const pulls: OpenedPull[] = [];
  const instead: Instead[] = [];
  let token = TOKEN;
  const pullsPath = `/repos/${repository}/pulls`;
  const [owner = ''] = repository.split('/');

  const mergedPulls: MergedPull[] = [];
  const comments: GithubComment[] = [];
  let made = 0;
  let refused: Instead | undefined;
  let silentFor: string | undefined;

  function addComment(issue: number, author: string, body: string): GithubComment {
    made += 1;
    const comment = { id: 1_000_000 + made, issue, author, body, edits: 0 };
    comments.push(comment);
    return comment;
  }

  function pullBody({ number, base, commits, fork = owner }: MergedPull) {
    return {
      number,
      html_url: `https://github.com/${repository}/pull/${number}`,
      state: 'closed',
      merged_at: '2026-01-01T00:00:00Z',
      merge_commit_sha: commits.at(-1),
      head: { ref: 'release', repo: { full_name: repository.replace(owner, fork), fork: fork !== owner } },
      base: { ref: base, repo: { full_name: repository } },
    };
  }

  function commentBody({ id, issue, author, body }: GithubComment) {
    return {
      id,
      body,
      html_url: `https://github.com/${repository}/pull/${issue}#issuecomment-${id}`,
      user: { login: author, type: author.endsWith('[bot]') ? 'Bot' : 'User' },
    };
  }

  /** Of the routes of comments; undefined for others. */
  function commentsAnswer(asked: {
    method: string;
    at: string;
    query: string;
    body: string;
  }): Exclude<Instead, string> | undefined {
    const { method, at, query, body } = asked;
    const author = login ?? 'github-actions[bot]';
    const [, issue] = new RegExp(`^/repos/${repository}/issues/([0-9]+)/comments$`).exec(at) ?? [];
    const [, id] = new RegExp(`^/repos/${repository}/issues/comments/([0-9]+)$`).exec(at) ?? [];
    if (issue !== undefined) {
      const pull = mergedPulls.find(({ number }) => number === Number(issue));
      if (pull === undefined) return said(404, 'Not Found');
      if (method === 'GET')
        return page(
          comments.filter((each) => each.issue === pull.number),
          at,
          query,
        );
      if (pull.isLocked) return said(403, 'Unable to create comment because issue is locked.');
      const { body: text } = JSON.parse(body) as { body: string };
      if (text.length > 65_536) return invalid({ field: 'body', message: 'body is too long' });
      return { status: 201, body: commentBody(addComment(pull.number, author, text)) };
    }
    const comment = id === undefined ? undefined : comments.find((each) => each.id === Number(id));
    if (id === undefined) return undefined;
    if (comment === undefined) return said(404, 'Not Found');
    if (method === 'DELETE') {
      comments.splice(comments.indexOf(comment), 1);
      return { status: 204 };
    }
    comment.body = (JSON.parse(body) as { body: string }).body;
    comment.edits += 1;
    return { status: 200, body: commentBody(comment) };
  }

  function page(all: readonly GithubComment[], at: string, query: string): Exclude<Instead, string> {
    const asked = new URLSearchParams(query);
    const size = Math.min(100, Number(asked.get('per_page') ?? 30));
    const number = Number(asked.get('page') ?? 1);
    const last = Math.max(1, Math.ceil(all.length / size));
    const link = (to: number, rel: string) =>
      `<https://api.github.com${at}?per_page=${size}&page=${to}>; rel="${rel}"`;
    return {
      status: 200,
      headers: number < last ? { Link: `${link(number + 1, 'next')}, ${link(last, 'last')}` } : {},
      body: all.slice((number - 1) * size, number * size).map(commentBody),
    };
  }

  async function answer({ method, path, headers, body }: GithubRequest): Promise<Exclude<Instead, string>> {
    const [at, query] = path.split('?');
    if (headers['user-agent'] === undefined) return said(403, 'Request forbidden by administrative rules.');
    if (headers['authorization'] !== `Bearer ${token}`) return said(401, 'Bad credentials');
    if (at === '/user') {
      return login === null
        ? said(403, 'Resource not accessible by integration')
        : { status: 200, body: { login, id: 1, type: 'User' } };
    }
    const [, sha = ''] =
      new RegExp(`^/repos/${repository}/commits/([0-9a-f]{40})/pulls$`).exec(at ?? '') ?? [];
    if (method === 'GET' && sha !== '') {
      const found = mergedPulls.filter(({ commits }) => commits.includes(sha));
      return { status: 200, body: found.map(pullBody) };
    }
    const onComments = commentsAnswer({ method, at: at ?? '', query: query ?? '', body });
    if (onComments !== undefined) return onComments;
    if (at !== pullsPath) return said(404, 'Not Found');
    if (method === 'GET') {
      const wanted = new URLSearchParams(query);
      const found = pulls.filter(
        ({ head, base, state }) =>
          `${owner}:${head}` === wanted.get('head') &&
          base === wanted.get('base') &&
          state === wanted.get('state'),
      );
      return { status: 200, body: found.slice(0, Number(wanted.get('per_page'))) };
    }
    const { head, base, title, body: text } = JSON.parse(body) as OpenedPull;
    if (!(await hasBranch(head))) return invalid({ field: 'head', code: 'invalid' });
    if (pulls.some((each) => each.head === head && each.base === base && each.state === 'open')) {
      return invalid({ code: 'custom', message: `A pull request already exists for ${owner}:${head}.` });
    }
    const number = pulls.length + 1;
    const html_url = `https://github.com/${repository}/pull/${number}`;
    const pull: OpenedPull = { number, head, base, title, body: text, html_url, state: 'open' };
    pulls.push(pull);
    return { status: 201, body: pull };
  }

  const server = createServer(async (request, response) => {
    const asked = await readRequest(request);
    requests.push(asked);
    await before(asked);
    const refusal = asked.method === 'GET' ? undefined : refused;
    const given = instead.shift() ?? refusal ?? (await answer(asked));
    send(response, asked.method === silentFor ? 'silence' : given);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return {
    apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    pulls,
    comments,
    merged: (pull) => void mergedPulls.push(pull),
    comment: addComment,
    insteadOfNext: (...answers) => void instead.push(...answers),
    keepAnswersOf(method) {
      silentFor = method;
    },
    refuseChanges(next) {
      refused = next;
    },
    setToken(next) {
      token = next;
    },
  };
}

/** An answer with GitHub's words. */
export function said(
  status: number,
  message: string,
  headers: Record<string, string> = {},
): Exclude<Instead, string> {
  const documentation_url = 'https://docs.github.com/rest/pulls/pulls';
  return { status, headers, body: { message, documentation_url, status: String(status) } };
}

export function invalid(error: object): Exclude<Instead, string> {
  return {
    status: 422,
    body: { message: 'Validation Failed', errors: [{ resource: 'PullRequest', ...error }], status: '422' },
  };
}

async function readRequest(request: IncomingMessage): Promise<GithubRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { method = '', url = '', headers } = request;
  return { method, path: url, headers, body: Buffer.concat(chunks).toString() };
}

function send(response: ServerResponse, answer: Instead): void {
  if (answer === 'silence') return;
  if (answer === 'cut') {
    response.writeHead(201, { 'Content-Type': 'application/json', 'Content-Length': '1000' });
    response.write('{"number": 1, ', () => response.destroy());
    return;
  }
  const { status, headers, body = '' } = answer;
  const isPage = typeof body === 'string';
  const type = isPage ? 'text/html' : 'application/json; charset=utf-8';
  response.writeHead(status, { 'Content-Type': type, ...headers });
  response.end(isPage ? body : JSON.stringify(body));
}
