/**
 * A git server for tests: git's own `git http-backend` behind node:http on the loopback, with faults on demand. What it
 * serves are the repositories below a folder. And a stand-in for ssh, which runs git here.
 */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { wanted } from '../system.ts';

export interface GitRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly service: 'git-upload-pack' | 'git-receive-pack';
  /** What is asked: to list branches, for objects, or to move a branch. */
  readonly purpose: 'list' | 'fetch' | 'push';
  readonly headers: IncomingMessage['headers'];
}

/** What becomes of a request instead of git's whole answer. */
export type Fault =
  /** The connection is cut before git is asked. */
  | { readonly kind: 'cut' }
  /** Git does what it was asked, and the connection is cut before its answer. */
  | { readonly kind: 'lose-answer' }
  /** Nothing comes, ever. */
  | { readonly kind: 'hang' }
  /** The answer begins, and then nothing comes. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** The answer comes after this long. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** The answer, cut off; `politely` as if it were whole. */
  | { readonly kind: 'truncate'; readonly at: number; readonly politely: boolean }
  /** The answer with one bit the other way. */
  | { readonly kind: 'flip'; readonly at: number }
  | {
      readonly kind: 'answer';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    };

export interface GitServer {
  readonly url: string;
  /** Every request so far, the oldest first. */
  readonly requests: GitRequest[];
  /** Decides about each request from now on; undefined serves everything. `at` is 0–1 of the answer's length. */
  fault: ((request: GitRequest) => Fault | undefined | Promise<Fault | undefined>) | undefined;
  /** Basic authentication; undefined lets everybody in. */
  login: { readonly username: string; readonly password: string } | undefined;
  close(): Promise<void>;
}

/** Whether this machine has what the server needs; CI installs it. */
export const hasGitServer: boolean = wanted(findBackend() !== undefined, 'git http-backend');

export async function startGitServer(
  folder: string,
  options: { readonly port?: number; readonly tls?: { readonly key: string; readonly cert: string } } = {},
): Promise<GitServer> {
  const backend = findBackend();
  if (backend === undefined) throw new Error('git http-backend is not on this machine');
  const running = new Set<Promise<void>>();

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await collect(request);
    const asked = described(request, body);
    server.requests.push(asked);
    const fault = await server.fault?.(asked);
    if (fault?.kind === 'cut') return void response.destroy();
    if (fault?.kind === 'hang') return;
    if (fault?.kind === 'answer') {
      response.writeHead(fault.status, { 'content-type': 'text/html', ...fault.headers });
      return void response.end(fault.body ?? '<html>Hello</html>');
    }
    if (!isLoggedIn(request, server.login)) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' });
      return void response.end();
    }
    if (fault?.kind === 'delay') await new Promise((go) => setTimeout(go, fault.ms));
    const answer = await runBackend(backend ?? '', folder, { request, body });
    if (fault?.kind === 'lose-answer') return void response.destroy();
    const { status, headers, content } = answer;
    if (fault?.kind === 'flip' && content.length > 0) {
      const at = Math.min(content.length - 1, Math.floor(fault.at * content.length));
      content[at] = (content[at] ?? 0) ^ 0x10;
    }
    const end = fault?.kind === 'truncate' ? Math.floor(fault.at * content.length) : content.length;
    const isPolite = fault?.kind !== 'truncate' || fault.politely;
    response.writeHead(status, { ...headers, 'content-length': isPolite ? end : content.length });
    if (fault?.kind === 'stall') return void response.write(content.subarray(0, fault.afterBytes));
    if (isPolite) return void response.end(content.subarray(0, end));
    response.write(content.subarray(0, end), () => response.destroy());
  }

  const handle = (request: IncomingMessage, response: ServerResponse) => {
    const work = serve(request, response).catch(() => void response.destroy());
    running.add(work);
    void work.finally(() => running.delete(work));
  };
  const http = options.tls === undefined ? createServer(handle) : createSecureServer(options.tls, handle);
  await new Promise<void>((resolve) => http.listen(options.port ?? 0, '127.0.0.1', resolve));
  const server: GitServer = {
    url: `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${(http.address() as AddressInfo).port}`,
    requests: [],
    fault: undefined,
    login: undefined,
    async close() {
      http.closeAllConnections();
      await new Promise<void>((resolve) => http.close(() => resolve()));
      await Promise.all(running);
    },
  };
  return server;
}

function findBackend(): string | undefined {
  try {
    const path = join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend');
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function described({ method = 'GET', url = '/', headers }: IncomingMessage, body: Buffer): GitRequest {
  const service = url.includes('git-receive-pack') ? 'git-receive-pack' : 'git-upload-pack';
  const isFetch = headers['content-encoding'] === 'gzip' || body.includes('want ');
  const purpose = service === 'git-receive-pack' ? 'push' : isFetch ? 'fetch' : 'list';
  return { method, url, service, purpose, headers };
}

function isLoggedIn({ headers }: IncomingMessage, login: GitServer['login']): boolean {
  if (login === undefined) return true;
  const token = Buffer.from(`${login.username}:${login.password}`).toString('base64');
  return headers.authorization === `Basic ${token}`;
}

/** CGI (RFC 3875), as git-http-backend(1) describes it. */
async function runBackend(
  backend: string,
  folder: string,
  { request, body }: { request: IncomingMessage; body: Buffer },
): Promise<{ status: number; headers: Record<string, string>; content: Buffer }> {
  const { pathname, search } = new URL(request.url ?? '/', 'http://localhost');
  const child = spawn(backend, {
    env: {
      PATH: process.env['PATH'],
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_CONFIG_COUNT: '2',
      GIT_CONFIG_KEY_0: 'http.receivepack',
      GIT_CONFIG_VALUE_0: 'true',
      GIT_CONFIG_KEY_1: 'safe.directory',
      GIT_CONFIG_VALUE_1: '*',
      REQUEST_METHOD: request.method,
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: search.slice(1),
      CONTENT_LENGTH: String(body.length),
      CONTENT_TYPE: request.headers['content-type'] ?? '',
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
      HTTP_GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_ADDR: '127.0.0.1',
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.on('error', () => {});
  child.stdin.end(body);
  const output = await collect(child.stdout);
  const end = output.indexOf('\r\n\r\n');
  const lines = output.toString('latin1', 0, end).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => line.split(/: (.*)/s, 2)).map(([k = '', v = '']) => [k, v]),
  );
  const status = Number.parseInt(headers['Status'] ?? '200', 10);
  delete headers['Status'];
  return { status, headers, content: output.subarray(end + 4) };
}

/** An "ssh" (for GIT_SSH_COMMAND) that runs what it is asked to on this machine, whatever the host. */
export async function localSsh(folder: string): Promise<string> {
  const path = join(folder, 'ssh');
  await writeFile(path, '#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n');
  await chmod(path, 0o755);
  return path;
}
