/** The bare repository of a large fleet, every rollout of which has succeeded once, made by `git fast-import`. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CommitId, SnapshotId } from '../src/core/model/ids.ts';
import type { Attempt } from '../src/core/model/outcome.ts';
import { HIGHEST_SCORE } from '../src/core/select/score.ts';
import { loadDesired } from '../src/documents/load.ts';
import { encodeOutcome, outcomePath } from '../src/documents/outcome.ts';
import { fleetFiles } from './fleet-files.ts';

const run = promisify(execFile);
const AT = Date.UTC(2026, 0, 1);
const WHO = `Bench <bench@example.org> ${AT / 1000} +0000`;

/** Makes `fleet.git` below `folder`, with `count` files on main; resolves to its path. */
export async function makeFleetRepository(folder: string, count: number): Promise<string> {
  const path = join(folder, 'fleet.git');
  await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', path]);
  const files = fleetFiles(count);
  await importCommit(path, { branch: 'main', message: 'Begin\n', files });
  const idOf = async (name: string) => (await run('git', ['-C', path, 'rev-parse', name])).stdout.trim();
  const at = {
    snapshot: (await idOf('main:fleet')) as SnapshotId,
    commit: (await idOf('main')) as CommitId,
  };
  const outcomes = succeeded(files, at).map((attempt): [string, string] => [
    outcomePath(attempt),
    encodeOutcome(attempt),
  ]);
  const message = `Begin\n\nDesired-Commit: ${at.commit}\nFlags-Version: 1\nEpoch: 1\n`;
  await importCommit(path, { branch: 'outcomes', message, files: new Map(outcomes) });
  return path;
}

/** git-fast-import(1) */
async function importCommit(
  path: string,
  commit: {
    readonly branch: string;
    readonly message: string;
    readonly files: ReadonlyMap<string, string>;
  },
): Promise<void> {
  const { branch, message, files } = commit;
  const git = spawn('git', ['-C', path, 'fast-import', '--quiet'], { stdio: ['pipe', 'ignore', 'inherit'] });
  const data = (text: string) => `data ${Buffer.byteLength(text)}\n${text}\n`;
  const entries = Array.from(files, ([name, text]) => `M 100644 inline ${name}\n${data(text)}`);
  git.stdin.end(`commit refs/heads/${branch}\ncommitter ${WHO}\n${data(message)}${entries.join('')}\ndone\n`);
  const [exitCode] = await once(git, 'close');
  if (exitCode !== 0) throw new Error(`git fast-import ended with ${exitCode}`);
}

/** The first attempt of each rollout: what it wants now is known-good. */
function succeeded(
  files: ReadonlyMap<string, string>,
  at: { readonly snapshot: SnapshotId; readonly commit: CommitId },
): readonly Attempt[] {
  const sources = Array.from(files, ([path, text]) => ({ path, content: Buffer.from(text) }));
  const { desired, problems } = loadDesired(sources, at);
  if (desired === undefined) throw new Error(`the fleet is not valid: ${problems[0]?.message}`);
  return Array.from(desired.rollouts.values(), ({ name, revision, manifest, condition, gates }) => ({
    ...at,
    rollout: name,
    attempt: 1,
    revision,
    manifest,
    condition,
    seed: '0123456789abcdef0123456789abcdef',
    createdAt: AT,
    state: 'succeeded',
    cause: 'passed',
    stages: [
      {
        name: 'fleet',
        state: 'passed',
        openedAt: AT,
        epoch: 'bench',
        condition,
        unit: 'device',
        size: 'all',
        admits: { kind: 'upTo', score: HIGHEST_SCORE },
        units: 1,
        devices: 1,
        successThreshold: { kind: 'share', share: { numerator: 95, denominator: 100 } },
        errorThreshold: { kind: 'share', share: { numerator: 5, denominator: 100 } },
        soakMs: 0,
        minExposureHours: 0,
        stuckAfterMs: 259_200_000,
        gates,
        alpha: 0.05,
        closedAt: AT,
      },
    ],
    history: [{ at: AT, state: 'succeeded', cause: 'passed' }],
    appliedOperations: [],
    learnings: '',
  }));
}
