/** What a runner of GitHub Actions gives an action: a workspace that was checked out, an event, and an environment; and what it reads afterwards. */
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { git, temporaryFolder, writeFiles } from '../cli/fixture.ts';
import { TOKEN } from '../forge/github-server.ts';

export const BUNDLE = fileURLToPath(new URL('../../dist/action/index.js', import.meta.url));

export interface Repository {
  /** Bare, with `main`, and with what the pull request's branch became merged into it, as GitHub makes it. */
  readonly origin: string;
  readonly base: string;
}

/** `main` has the one, and pull request 5 changes it to the other; null removes a file. */
export async function repositoryWith(
  main: Readonly<Record<string, string>>,
  pull: Readonly<Record<string, string>>,
): Promise<Repository> {
  const folder = await temporaryFolder();
  const work = join(folder, 'work');
  await git(folder, 'init', '--quiet', '-b', 'main', 'work');
  await writeFiles(work, main);
  await git(work, 'add', '.');
  await git(work, 'commit', '--quiet', '-m', 'Begin');
  const base = await git(work, 'rev-parse', 'HEAD');
  await git(work, 'checkout', '--quiet', '-b', 'release');
  await writeFiles(work, pull);
  await git(work, 'add', '.');
  await git(work, 'commit', '--quiet', '--allow-empty', '-m', 'Release');
  await git(work, 'checkout', '--quiet', 'main');
  await git(work, 'merge', '--quiet', '--no-ff', '-m', 'Merge the pull request', 'release');
  await git(work, 'update-ref', 'refs/pull/5/merge', 'HEAD');
  await git(work, 'reset', '--quiet', '--hard', base);
  const origin = join(folder, 'origin.git');
  await git(folder, 'clone', '--quiet', '--mirror', 'work', 'origin.git');
  return { origin, base };
}

/** Puts files on a branch of their own, as the server does with its record. */
export async function addBranch(
  { origin }: Repository,
  branch: string,
  files: Readonly<Record<string, string>>,
): Promise<void> {
  const folder = await temporaryFolder();
  await git(folder, 'init', '--quiet', '-b', branch);
  await writeFiles(folder, files);
  await git(folder, 'add', '.');
  await git(folder, 'commit', '--quiet', '-m', 'Record');
  await git(folder, 'push', '--quiet', origin, branch);
}

/** As actions/checkout does it: `depth` 0 for everything. */
export async function checkout(
  { origin }: Repository,
  { ref = 'refs/pull/5/merge', depth = 0, into = '.' } = {},
): Promise<string> {
  const workspace = await temporaryFolder();
  const folder = join(workspace, into);
  await mkdir(folder, { recursive: true });
  await git(folder, 'init', '--quiet', '-b', 'main');
  await git(folder, 'remote', 'add', 'origin', `file://${origin}`);
  const all = depth === 0 ? ['+refs/heads/*:refs/remotes/origin/*'] : [`--depth=${depth}`];
  await git(folder, 'fetch', '--quiet', '--no-tags', 'origin', ...all, `+${ref}:refs/remotes/pull/merge`);
  await git(folder, 'checkout', '--quiet', '--detach', 'refs/remotes/pull/merge');
  return workspace;
}

export interface ActionRun {
  readonly exit: number | null;
  readonly log: string;
  readonly errors: string;
  readonly summary: string;
  readonly outputs: Readonly<Record<string, string>>;
}

export interface ActionGiven {
  readonly workspace: string;
  readonly inputs?: Readonly<Record<string, string>>;
  /** Of the event `pull_request`, unless given. */
  readonly event?: { readonly name: string; readonly payload: object };
  readonly base?: string;
  readonly apiUrl?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly bundle?: string;
}

/** Runs the committed bundle as a process that has nothing but what a runner gives. */
export async function runBundle(given: ActionGiven): Promise<ActionRun> {
  const folder = await temporaryFolder();
  const files = {
    output: join(folder, 'output'),
    summary: join(folder, 'summary'),
    event: join(folder, 'event.json'),
  };
  await mkdir(join(folder, 'temp'));
  const event = given.event ?? { name: 'pull_request', payload: pullRequestEvent(given.base ?? '') };
  await Promise.all([
    writeFile(files.output, ''),
    writeFile(files.summary, ''),
    writeFile(files.event, JSON.stringify(event.payload)),
  ]);
  const inputs = { 'github-token': TOKEN, ...given.inputs };
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    CI: 'true',
    GITHUB_ACTIONS: 'true',
    GITHUB_WORKSPACE: given.workspace,
    GITHUB_EVENT_NAME: event.name,
    GITHUB_EVENT_PATH: files.event,
    GITHUB_REPOSITORY: 'acme/fleet',
    GITHUB_SERVER_URL: 'https://github.com',
    // Where nobody listens.
    GITHUB_API_URL: given.apiUrl ?? 'http://127.0.0.1:9',
    GITHUB_RUN_ID: '77',
    GITHUB_OUTPUT: files.output,
    GITHUB_STEP_SUMMARY: files.summary,
    RUNNER_TEMP: join(folder, 'temp'),
    ...Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value]),
    ),
    ...given.env,
  };
  const child = spawn(process.execPath, [given.bundle ?? BUNDLE], { cwd: given.workspace, env });
  const [out, err]: [string[], string[]] = [[], []];
  child.stdout.on('data', (chunk) => out.push(String(chunk)));
  child.stderr.on('data', (chunk) => err.push(String(chunk)));
  const exit = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return {
    exit,
    log: out.join(''),
    errors: err.join(''),
    summary: await readFile(files.summary, 'utf8'),
    outputs: outputsIn(await readFile(files.output, 'utf8')),
  };
}

export function pullRequestEvent(base: string): object {
  return {
    pull_request: { number: 5, base: { ref: 'main', sha: base } },
    repository: { default_branch: 'main' },
  };
}

/** As a runner reads them: a name, and a value up to the line that was announced. */
function outputsIn(text: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  const lines = text.split('\n');
  while (lines.length > 0) {
    const [, name, end] = /^([^=<]+)<<(.+)$/.exec(lines.shift() ?? '') ?? [];
    if (name === undefined || end === undefined) continue;
    const at = lines.indexOf(end);
    if (at < 0) throw new Error(`the output ${name} does not end`);
    found[name] = lines
      .splice(0, at + 1)
      .slice(0, -1)
      .join('\n');
  }
  return found;
}

/** What a folder holds, for tests that nothing else is there. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  return (await readdir(folder)).sort();
}
