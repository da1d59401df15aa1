/** Real repositories made with native git, and commands run as people run them. Ids are the same on every run. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import type { Io } from '../../src/cli/io.ts';
import { main } from '../../src/cli/main.ts';
import { createOutput } from '../../src/cli/output.ts';
import { systemClock } from '../../src/clock.ts';
import type { CommitId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import type { Attempt } from '../../src/core/model/outcome.ts';
import type { Decision } from '../../src/core/plan/contract.ts';
import { loadDesired } from '../../src/documents/load.ts';
import { OUTCOMES_BRANCH, recordDecisions } from '../../src/fleet-repo/outcomes.ts';
import { readSnapshot } from '../../src/fleet-repo/snapshot.ts';
import { openRepository } from '../../src/git/local.ts';

const execute = promisify(execFile);

export const NOW = Date.UTC(2026, 10, 21, 8);

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'tidegate-cli-')));
  onTestFinished(() => rm(folder, { recursive: true }));
  return folder;
}

export async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
}

/** Native git, with nothing of this machine's configuration; resolves to what it prints. */
export async function git(cwd: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute('git', args, {
    cwd,
    env: {
      ...process.env,
      GIT_AUTHOR_NAME: 'Ada',
      GIT_AUTHOR_EMAIL: 'ada@example.org',
      GIT_COMMITTER_NAME: 'Ada',
      GIT_COMMITTER_EMAIL: 'ada@example.org',
      GIT_AUTHOR_DATE: '2026-11-20T08:00:00Z',
      GIT_COMMITTER_DATE: '2026-11-20T08:00:00Z',
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
    },
  });
  return stdout.trimEnd();
}

/** A fleet of one rollout in as few words as possible. */
export function fleetFiles(version = '2.5.0'): Record<string, string> {
  return {
    'fleet/fleet.yaml': document('Fleet', 'homes', '{}'),
    [`fleet/distribution-sets/thermostat-${version}.yaml`]: document(
      'DistributionSet',
      `thermostat@${version}`,
      `{modules: [{name: firmware, version: ${version}, type: firmware}]}`,
    ),
    'fleet/rollouts/thermostat-firmware.yaml': rolloutText({ version }),
  };
}

export function rolloutText({
  version = '2.5.0',
  condition = "tags.product = 'thermostat'",
  batch = '25%',
}): string {
  return `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: thermostat-firmware}
spec:
  owner: hvac-oncall
  distributionSet: thermostat@${version}
  targetCondition: ${condition}
  priority: 10
  gates: {health: runtime_healthy}
  stages:
  - canary: 1 site
  - {name: batch, size: ${batch}, soak: 1h}
  - fleet: all
`;
}

export function document(kind: string, name: string, spec: string): string {
  return `apiVersion: tidegate.dev/v1\nkind: ${kind}\nmetadata: {name: "${name}"}\nspec: ${spec}\n`;
}

/** A repository with one commit per entry, on main. */
export async function repositoryOf(...commits: readonly Readonly<Record<string, string>>[]): Promise<string> {
  const folder = await temporaryFolder();
  await git(folder, 'init', '--quiet', '--initial-branch=main');
  for (const [index, files] of commits.entries()) {
    await writeFiles(folder, files);
    await git(folder, 'add', '--all');
    await git(folder, 'commit', '--quiet', '--message', `Change ${index + 1}`);
  }
  return folder;
}

/** Records attempts of `thermostat-firmware`, each from the commit that is named and with the state it is said to have. */
export async function recordAttempts(
  folder: string,
  attempts: readonly { readonly from: string; readonly state: Attempt['state'] }[],
): Promise<void> {
  const repository = await openRepository(folder);
  const decisions: Decision[] = [];
  for (const [index, { from, state }] of attempts.entries()) {
    const commit = await repository.commit(await git(folder, 'rev-parse', from));
    const files = await readSnapshot(repository, commit);
    const { desired } = loadDesired(files?.files ?? [], {
      snapshot: files?.snapshot as SnapshotId,
      commit: commit.oid as CommitId,
    });
    const rollout = desired?.rollouts.get('thermostat-firmware' as RolloutName);
    if (desired === undefined || rollout === undefined) throw new Error(`${from} has no valid rollout`);
    const createdAt = NOW + index * 1000;
    const cause = state === 'succeeded' ? 'passed' : 'created';
    const attempt: Attempt = {
      rollout: rollout.name,
      attempt: index + 1,
      revision: rollout.revision,
      manifest: rollout.manifest,
      snapshot: desired.snapshot,
      commit: desired.commit,
      condition: rollout.condition,
      seed: 'seed',
      createdAt,
      state,
      cause,
      stages: [],
      history: [{ at: createdAt, state, cause }],
      appliedOperations: [],
      learnings: '',
    };
    decisions.push({
      kind: state === 'succeeded' ? 'succeed' : 'create',
      effect: 'records',
      attempt,
      summary: state,
    });
  }
  const tip = await repository.branch(OUTCOMES_BRANCH);
  await recordDecisions(repository, { tip, decisions, at: NOW, epoch: 1, flagsVersion: 0 });
}

interface Run {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

/** Where a command runs; by default in a pipe at {@link NOW}. */
interface Surroundings {
  /** Columns of a terminal. */
  readonly columns?: number;
  /** The time at which it stands. */
  readonly now?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped in. */
  readonly input?: string;
  readonly interrupt?: AbortSignal;
  readonly onOutput?: (text: string) => void;
}

/** Runs the program in this process. */
export async function run(args: readonly string[], surroundings: Surroundings = {}): Promise<Run> {
  const {
    env = {},
    columns,
    now = NOW,
    interrupt = new AbortController().signal,
    onOutput,
    input = '',
  } = surroundings;
  const texts = { out: '', err: '' };
  const stream = (name: 'out' | 'err') => ({
    write(text: string) {
      texts[name] += text;
      onOutput?.(text);
    },
    ...(columns === undefined ? {} : { isTTY: true, columns }),
  });
  const io: Io = {
    out: createOutput(stream('out'), env),
    err: createOutput(stream('err'), env),
    env,
    // Waits are ten times as short: nothing here depends on how long they are.
    clock: { now: () => now, sleep: (duration, signal) => systemClock.sleep(duration / 10, signal) },
    fetch,
    input: async () => input,
    interrupted: () => interrupt,
  };
  return { exit: await main(args, io), ...texts };
}

export const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** Runs the program as a process of its own; `shell` may pipe it somewhere. */
export async function runProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Run> {
  return await exitOf(execute(process.execPath, [MAIN, ...args], { env: { ...process.env, ...env } }));
}

/** `<program> args | reader` in a shell; the exit code is the program's. */
export async function runPiped(args: readonly string[], reader: string): Promise<Run> {
  const script = `set -o pipefail; "$0" "$@" | ${reader}`;
  return await exitOf(execute('bash', ['-c', script, process.execPath, MAIN, ...args]));
}

async function exitOf(running: Promise<{ stdout: string; stderr: string }>): Promise<Run> {
  try {
    const { stdout, stderr } = await running;
    return { exit: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code?: unknown; stdout: string; stderr: string };
    if (typeof code !== 'number') throw error;
    return { exit: code, out: stdout, err: stderr };
  }
}
