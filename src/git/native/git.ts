/**
 * Runs the git binary: without prompts, without what a person's surroundings would change (hooks, credential helpers for
 * our token, automatic housekeeping), in English, and not for ever.
 */
import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { type Clock, systemClock } from '../../clock.ts';
import { type DurationMs, formatDuration, MINUTE, SECOND } from '../../core/model/time.ts';
import { errorCode } from '../../durable-fs.ts';
import type { Credentials } from '../engine.ts';
import { GitRemoteError, GitRepositoryError } from '../errors.ts';

export interface NativeOptions {
  /** The environment that git is found and run in: PATH, HOME, GIT_SSH_COMMAND, proxies. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Real time. */
  readonly clock?: Clock;
  /** A remote that sends nothing for this long has hung. */
  readonly idleMs?: DurationMs;
}

export interface NativeRun {
  readonly commonDir?: string;
  /** Given to git for this host alone, and not as an argument: other users can read those. */
  readonly login?: { readonly url: string; readonly credentials: Credentials };
  readonly signal?: AbortSignal;
  readonly timeoutMs?: DurationMs;
  /** Writes the packets of git's protocol to stderr, each on a line that {@link isTrace} knows. */
  readonly tracesPackets?: boolean;
}

export interface NativeResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface NativeGit {
  /** Runs to the end, whatever the exit code. Throws GitRepositoryError where there is no git. */
  run(args: readonly string[], options?: NativeRun): Promise<NativeResult>;
  /** Starts a process that is the caller's to end. */
  start(args: readonly string[], commonDir: string): ChildProcessWithoutNullStreams;
}

const IDLE_MS = MINUTE;
const TIMEOUT_MS = 10 * MINUTE;
/** How long git may take to end its own children before it is killed with them. */
const GRACE_MS = 5 * SECOND;
const STDOUT_BYTES_MAX = 64 * 1024 * 1024;
const STDERR_BYTES_MAX = 64 * 1024;

export function nativeGit(options: NativeOptions = {}): NativeGit {
  const { env = process.env, clock = systemClock, idleMs = IDLE_MS } = options;

  return {
    async run(args, runOptions = {}) {
      const { commonDir, login, signal, timeoutMs = TIMEOUT_MS, tracesPackets = false } = runOptions;
      const child = spawn('git', withGitDir(args, commonDir), {
        // A group of its own: git's helpers end with it, and nobody can be asked on a terminal.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
        env: {
          ...environment(env, { commonDir, login, idleMs }),
          ...(tracesPackets ? { GIT_TRACE_PACKET: '1' } : {}),
        },
      });
      const ended = new AbortController();
      const limit = AbortSignal.any([ended.signal, ...(signal === undefined ? [] : [signal])]);
      let timedOut = false;
      const watchdog = clock.sleep(timeoutMs, limit).then(async () => {
        if (ended.signal.aborted) return;
        timedOut = signal?.aborted !== true;
        endGroup(child, 'SIGTERM');
        await clock.sleep(GRACE_MS, ended.signal);
        if (!ended.signal.aborted) endGroup(child, 'SIGKILL');
      });
      try {
        const result = await output(child);
        if (timedOut) {
          const message = `git ${args[0]} did not end within ${formatDuration(timeoutMs)} and was stopped: look at the server and the network between`;
          throw new GitRemoteError('unreachable', message);
        }
        return result;
      } catch (error) {
        throw startError(error);
      } finally {
        ended.abort();
        await watchdog;
      }
    },
    start: (args, commonDir) =>
      spawn('git', withGitDir(args, commonDir), { env: environment(env, { commonDir, idleMs }) }),
  };
}

/** `11:22:33.123456 pkt-line.c:80           packet: …` */
export function isTrace(line: string): boolean {
  return /^\d\d:\d\d:\d\d\.\d+ /.test(line);
}

function withGitDir(args: readonly string[], commonDir: string | undefined): string[] {
  return commonDir === undefined ? [...args] : [`--git-dir=${commonDir}`, ...args];
}

async function output(child: ChildProcess): Promise<NativeResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let stdoutBytes = 0;
  let stderrBytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    stdoutBytes += chunk.length;
    if (stdoutBytes > STDOUT_BYTES_MAX) endGroup(child, 'SIGKILL');
    else stdout.push(chunk);
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderrBytes += chunk.length;
    if (stderrBytes <= STDERR_BYTES_MAX) stderr.push(chunk);
  });
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? KILLED));
  });
  return { exitCode, stdout: Buffer.concat(stdout).toString(), stderr: Buffer.concat(stderr).toString() };
}

/** As shells count: more than any exit code of git's own. */
const KILLED = 255;

function endGroup(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // It has ended by itself.
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

export function startError(error: unknown): unknown {
  if (errorCode(error) !== 'ENOENT') return error;
  return new GitRepositoryError(
    'git',
    'there is no git on this machine: install git 2.31 or newer, or use an https:// URL with the engine isomorphic',
    error,
  );
}

/** What a person's environment may say to git. The rest of GIT_* would point it at other repositories, and our secrets are not ssh's. */
const KEPT =
  /^GIT_(SSH|SSH_COMMAND|SSH_VARIANT|SSL_.+|PROXY_.+|EXEC_PATH|CONFIG_NOSYSTEM|CONFIG_GLOBAL|CONFIG_SYSTEM)$/;

function environment(
  env: Readonly<Record<string, string | undefined>>,
  given: {
    readonly commonDir: string | undefined;
    readonly login?: NativeRun['login'] | undefined;
    readonly idleMs: DurationMs;
  },
): Record<string, string | undefined> {
  const { commonDir, login, idleMs } = given;
  const kept = Object.entries(env).filter(
    ([name]) => name !== 'SSH_ASKPASS' && (!/^(GIT|TIDEGATE)_/.test(name) || KEPT.test(name)),
  );
  const settings = [
    ...SETTINGS,
    // The repository was named by whoever runs us; reading it runs nothing of it.
    ...(commonDir === undefined ? [] : [['safe.directory', commonDir] as const]),
    ['http.lowSpeedTime', String(Math.max(1, Math.ceil(idleMs / SECOND)))] as const,
    ...(login === undefined ? [] : loginSettings(login.url)),
  ];
  return {
    ...Object.fromEntries(kept),
    // What is read is what an id says, whatever somebody has pushed beside it.
    GIT_NO_REPLACE_OBJECTS: '1',
    LC_ALL: 'C',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ALLOW_PROTOCOL: 'http:https:ssh',
    ...(env['GIT_SSH_COMMAND'] === undefined && env['GIT_SSH'] === undefined
      ? { GIT_SSH_COMMAND: SSH_COMMAND }
      : {}),
    ...(login === undefined
      ? {}
      : { [USERNAME]: login.credentials.username, [PASSWORD]: login.credentials.password }),
    GIT_CONFIG_COUNT: String(settings.length),
    ...Object.fromEntries(
      settings.flatMap(([key, value], n) => [
        [`GIT_CONFIG_KEY_${n}`, key],
        [`GIT_CONFIG_VALUE_${n}`, value],
      ]),
    ),
  };
}

/** No question is asked, and a peer that has vanished is noticed. */
const SSH_COMMAND =
  'ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4';

const SETTINGS: readonly (readonly [string, string])[] = [
  ['core.hooksPath', '/dev/null'],
  ['core.askPass', ''],
  ['core.fsync', 'all'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  // What a fetch brought is one pack, so that it can be taken away again.
  ['fetch.unpackLimit', '1'],
  ['fetch.recurseSubmodules', 'no'],
  ['fetch.writeCommitGraph', 'false'],
  ['push.recurseSubmodules', 'no'],
  ['push.gpgSign', 'false'],
  ['http.lowSpeedLimit', '1'],
];

const USERNAME = 'TIDEGATE_LOGIN_USERNAME';
const PASSWORD = 'TIDEGATE_LOGIN_PASSWORD';

/**
 * A credential helper that answers for the URL's own host alone: after a redirect to another host git asks again, and
 * nobody answers. An extra header would travel along.
 */
function loginSettings(url: string): readonly (readonly [string, string])[] {
  const helper = `!f() { test "$1" = get && printf 'username=%s\\npassword=%s\\n' "$${USERNAME}" "$${PASSWORD}"; }; f`;
  return [
    ['credential.helper', ''],
    [`credential.${new URL(url).origin}.helper`, helper],
  ];
}
