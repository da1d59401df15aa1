/** A server that speaks as much of GitHub's REST API as pull requests need, on a free port of this machine. */
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
  /** The next requests are answered so, one each. */
  insteadOfNext(...answers: readonly Instead[]): void;
  /** The token that is taken from now on. */
  setToken(token: string): void;
}

export interface GithubServerOptions {
  /** `owner/name`. */
  readonly repository?: string;
  /** Whether the repository has the branch. */
  readonly hasBranch?: (branch: string) => Promise<boolean>;
}

/** It is closed after the test. */
export async function startGithub({
  repository = 'acme/fleet',
  hasBranch = async () => true,
}: GithubServerOptions = {}): Promise<GithubServer> {
  const requests: GithubRequest[] = [];
  const pulls: OpenedPull[] = [];
  const instead: Instead[] = [];
  let token = TOKEN;
  const pullsPath = `/repos/${repository}/pulls`;
  const [owner = ''] = repository.split('/');

  async function answer({ method, path, headers, body }: GithubRequest): Promise<Exclude<Instead, string>> {
    const [at, query] = path.split('?');
    if (headers['user-agent'] === undefined) return said(403, 'Request forbidden by administrative rules.');
    if (headers['authorization'] !== `Bearer ${token}`) return said(401, 'Bad credentials');
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
    send(response, instead.shift() ?? (await answer(asked)));
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
    insteadOfNext: (...answers) => void instead.push(...answers),
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
