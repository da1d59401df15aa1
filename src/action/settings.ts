/**
 * What a runner says in the environment of an action, as one value that was checked: the inputs, and where it runs
 * (https://docs.github.com/actions/reference/workflows-and-actions/variables). Nothing else reads the environment, but for git.
 */
import { readFile, realpath } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { relative, resolve, sep } from 'node:path';
import { isAbsent } from '../durable-fs.ts';
import { type ForgeRepository, repositoryAt } from '../forge/repository-url.ts';
import { memberOf } from '../request.ts';

export interface Settings {
  /** The root of the fleet repository. */
  readonly root: string;
  /** The same below the workspace: `` for the workspace itself, else as `fleets/homes`. */
  readonly folder: string;
  /** Undefined: the default branch is compared with. */
  readonly base: string | undefined;
  readonly branch: string;
  readonly isStrict: boolean;
  readonly simulates: boolean;
  /** Undefined: no comment is wanted, or there is no pull request to write one on. */
  readonly comment: CommentSettings | undefined;
  /** Where a step's outputs and summary are read from afterwards. */
  readonly outputFile: string | undefined;
  readonly summaryFile: string | undefined;
  /** Emptied after the job. */
  readonly temporaryFolder: string;
  /** The page of this run. */
  readonly runUrl: string | undefined;
}

export interface CommentSettings {
  readonly pullRequest: number;
  readonly repository: ForgeRepository;
  readonly apiUrl: string | undefined;
  /** Empty: there is none. */
  readonly token: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Or what is wrong, as a sentence with the next step. */
export type ReadSettings =
  | { readonly ok: true; readonly settings: Settings }
  | { readonly ok: false; readonly message: string };

class SettingError extends Error {
  override readonly name = 'SettingError';
  readonly code = 'action-setting';
}

export async function readSettings(env: Environment): Promise<ReadSettings> {
  try {
    return { ok: true, settings: await settingsIn(env) };
  } catch (error) {
    if (error instanceof SettingError) return { ok: false, message: error.message };
    throw error;
  }
}

async function settingsIn(env: Environment): Promise<Settings> {
  const event = await readEvent(env['GITHUB_EVENT_PATH']);
  const place = await placeOf(input(env, 'path') || '.', env['GITHUB_WORKSPACE']);
  const wantsComment = flag(env, 'comment', true);
  return {
    ...place,
    base: baseOf(input(env, 'base'), event),
    branch: textAt(event, 'repository', 'default_branch') ?? 'main',
    isStrict: flag(env, 'strict', false),
    simulates: flag(env, 'simulate', false),
    comment: wantsComment ? commentOf(env, event) : undefined,
    outputFile: env['GITHUB_OUTPUT'] || undefined,
    summaryFile: env['GITHUB_STEP_SUMMARY'] || undefined,
    temporaryFolder: env['RUNNER_TEMP'] || tmpdir(),
    runUrl: runUrlOf(env),
  };
}

/** A runner writes names in capitals, and leaves hyphens. */
function input(env: Environment, name: string): string {
  return (env[`INPUT_${name.toUpperCase()}`] ?? '').trim();
}

/** As YAML 1.2 writes them. */
function flag(env: Environment, name: string, otherwise: boolean): boolean {
  const text = input(env, name);
  if (text === '') return otherwise;
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  if (/^(?:false|False|FALSE)$/.test(text)) return false;
  throw new SettingError(
    `the input ${name} must be true or false, found ${JSON.stringify(text)}; correct it`,
  );
}

/** Links are followed first: one that leads out of the workspace is outside. */
async function placeOf(
  path: string,
  workspace: string | undefined,
): Promise<{ readonly root: string; readonly folder: string }> {
  if (workspace === undefined || workspace === '') {
    throw new SettingError(
      'GITHUB_WORKSPACE is not set; run this as a step of a workflow, or use tidegate plan',
    );
  }
  const top = await realpath(workspace);
  const wanted = resolve(top, path);
  const root = isWithin(top, wanted) ? await realpath(wanted).catch(unlessThere) : wanted;
  if (root === undefined) {
    throw new SettingError(
      `the input path names no folder of the workspace, found ${JSON.stringify(path)}; check out the repository first, or correct it`,
    );
  }
  if (!isWithin(top, root)) {
    throw new SettingError(
      `the input path must lie inside the workspace, found ${JSON.stringify(path)}; check the repository out below it`,
    );
  }
  return { root, folder: relative(top, root).split(sep).join('/') };
}

function isWithin(top: string, path: string): boolean {
  return path === top || path.startsWith(top.endsWith(sep) ? top : `${top}${sep}`);
}

function unlessThere(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

async function readEvent(file: string | undefined): Promise<unknown> {
  if (file === undefined || file === '') return undefined;
  const text = await readFile(file, 'utf8').catch(unlessThere);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new SettingError(`${file} holds no JSON; it is the runner's to write, so run the job again`);
  }
}

const NONE = /^0+$/;

function baseOf(given: string, event: unknown): string | undefined {
  const before = textAt(event, 'before');
  // What was pushed over is no longer in the history, whoever names it.
  const isGone = memberOf(event, 'forced') === true;
  const base = given || textAt(event, 'pull_request', 'base', 'sha') || before;
  if (base === undefined || NONE.test(base) || (isGone && base === before)) return undefined;
  return base;
}

function commentOf(env: Environment, event: unknown): CommentSettings | undefined {
  const number = memberOf(memberOf(event, 'pull_request'), 'number');
  if (env['GITHUB_EVENT_NAME'] !== 'pull_request' || !Number.isSafeInteger(number)) return undefined;
  const repository = repositoryOf(env);
  if (repository === undefined) return undefined;
  const apiUrl = env['GITHUB_API_URL'] || undefined;
  return { pullRequest: Number(number), repository, apiUrl, token: input(env, 'github-token') };
}

function repositoryOf(env: Environment): ForgeRepository | undefined {
  const { GITHUB_SERVER_URL: server = 'https://github.com', GITHUB_REPOSITORY: name = '' } = env;
  return URL.canParse(server) && name !== '' ? repositoryAt(`${server}/${name}`) : undefined;
}

function runUrlOf(env: Environment): string | undefined {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: repository, GITHUB_RUN_ID: run } = env;
  if (!/^https?:\/\/[\w.:-]+$/.test(server ?? '') || !/^[\w.-]+\/[\w.-]+$/.test(repository ?? ''))
    return undefined;
  return /^[0-9]+$/.test(run ?? '') ? `${server}/${repository}/actions/runs/${run}` : undefined;
}

function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  const found = path.reduce<unknown>((within, key) => memberOf(within, key), value);
  return typeof found === 'string' && found !== '' ? found : undefined;
}
