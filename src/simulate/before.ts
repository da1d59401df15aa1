/**
 * Where a rollout begins: what devices ran before it is known-good on all of them. Playing that rollout, too, would take as long
 * as the one that is asked about and say nothing of it. So its end is written down instead: one attempt per rollout that has
 * succeeded, on `outcomes`, in the form and by the code in which the reconciler records one.
 */
import { parseDocument } from 'yaml';
import type { DesiredState, Rollout } from '../core/model/desired.ts';
import type { Gate } from '../core/model/gate.ts';
import { sha256Hex } from '../core/model/manifest.ts';
import type { Attempt, StageVerdict } from '../core/model/outcome.ts';
import { HOUR, type Instant, SECOND } from '../core/model/time.ts';
import type { Decision } from '../core/plan/contract.ts';
import { HIGHEST_SCORE } from '../core/select/score.ts';
import { setDistributionSet } from '../documents/edit.ts';
import { type LoadedState, loadDesired, type SnapshotPlace, type SourceFile } from '../documents/load.ts';
import { recordDecisions } from '../fleet-repo/outcomes.ts';
import { signSsh } from '../trust/ssh-signature.ts';
import type { ServiceInMemory } from './service-in-memory.ts';

/** The attempt that has succeeded before the first one that is played. */
const ATTEMPT = 1;
/** What a gate that compares with the previous revision finds: so many device-hours of it. */
const PREVIOUS_HOURS = 100_000;

/**
 * The same documents with another distribution set in the rollout: a made-up predecessor, like it but for the name. Undefined
 * where the rollout's file is not one that can be edited so.
 */
export function withPredecessor(
  files: readonly SourceFile[],
  { paths, distributionSetFiles }: LoadedState,
  rollout: Rollout,
): readonly SourceFile[] | undefined {
  const { distributionSet, product, version } = rollout.manifest;
  const name = `${product}@before-${version}`;
  const [path] = paths.get(rollout.name) ?? [];
  const own = files.find((file) => file.path === path);
  const set = files.find((file) => file.path === distributionSetFiles.get(distributionSet));
  const edited = own && setDistributionSet(textOf(own), name);
  if (own === undefined || edited === undefined || set === undefined) return undefined;
  const document = parseDocument(textOf(set));
  document.setIn(['metadata', 'name'], name);
  return [
    ...files.filter((file) => file !== own),
    { path: own.path, content: bytesOf(edited) },
    { path: 'fleet/distribution-sets/simulated-predecessor.yaml', content: bytesOf(document.toString()) },
  ];
}

/** Commits the documents, and records that every rollout of theirs has succeeded. They must be valid. */
export async function beginWith(
  inMemory: ServiceInMemory,
  files: readonly SourceFile[],
  given: {
    readonly more: Readonly<Record<string, string>>;
    readonly rates: ReadonlyMap<string, number>;
    readonly metrics: ReadonlyMap<string, number>;
    readonly seed: string;
  },
): Promise<void> {
  const { git, clock, keys } = inMemory;
  const commit = await inMemory.commit('Begin', { ...contents(files), ...given.more });
  const { tree } = await git.commit(commit);
  const folder = (await git.tree(tree)).find(({ name }) => name === 'fleet');
  const place = { snapshot: folder?.oid ?? '', commit } as SnapshotPlace;
  const { desired } = loadDesired(files, place);
  if (desired === undefined) throw new Error('documents that were valid are not when they are committed');
  const decisions = [...desired.rollouts.values()].map((rollout) =>
    succeeded(desired, rollout, given, clock.now()),
  );
  if (decisions.length === 0) return;
  const recorded = await recordDecisions(git, {
    tip: undefined,
    decisions,
    at: clock.now(),
    epoch: Math.floor(clock.now() / SECOND),
    flagsVersion: 0,
    inForce: commit,
    sign: (content) => signSsh(content, keys.commits),
  });
  if (recorded.kind !== 'recorded') throw new Error(`the beginning could not be recorded: ${recorded.kind}`);
}

/** Files by path, with null for those that `after` no longer has. */
export function changes(
  before: readonly SourceFile[],
  after: readonly SourceFile[],
): Readonly<Record<string, Uint8Array | null>> {
  const kept = new Set(after.map(({ path }) => path));
  const gone = before.filter(({ path }) => !kept.has(path)).map(({ path }) => [path, null] as const);
  return { ...Object.fromEntries(gone), ...contents(after) };
}

function contents(files: readonly SourceFile[]): Record<string, Uint8Array> {
  return Object.fromEntries(files.map(({ path, content }) => [path, content]));
}

function succeeded(
  { snapshot, commit }: DesiredState,
  rollout: Rollout,
  given: {
    readonly rates: ReadonlyMap<string, number>;
    readonly metrics: ReadonlyMap<string, number>;
    seed: string;
  },
  at: Instant,
): Decision {
  const attempt: Attempt = {
    rollout: rollout.name,
    attempt: ATTEMPT,
    revision: rollout.revision,
    manifest: rollout.manifest,
    snapshot,
    commit,
    condition: rollout.condition,
    ...(rollout.exclude === undefined ? {} : { exclude: rollout.exclude }),
    seed: rollout.seed ?? sha256Hex(`${given.seed}\0${rollout.name}`).slice(0, 32),
    createdAt: at,
    state: 'succeeded',
    cause: 'passed',
    stages: [
      {
        name: 'before',
        state: 'passed',
        openedAt: at,
        closedAt: at,
        epoch: 'before',
        condition: rollout.condition,
        unit: 'device',
        size: 'all',
        admits: { kind: 'upTo', score: HIGHEST_SCORE },
        units: 0,
        devices: 0,
        successThreshold: { kind: 'count', count: 0 },
        errorThreshold: { kind: 'count', count: 1 },
        soakMs: 0,
        minExposureHours: 0,
        stuckAfterMs: 0,
        gates: [],
        alpha: rollout.alpha,
        verdict: verdictOf(rollout.gates, given, at),
      },
    ],
    history: [
      { at, state: 'ready', cause: 'created' },
      { at, state: 'running', cause: 'started' },
      { at, state: 'succeeded', cause: 'passed' },
    ],
    appliedOperations: [],
    learnings: '',
  };
  const summary = `${rollout.name}: ${rollout.manifest.distributionSet} is known-good before the simulation begins`;
  return { kind: 'succeed', effect: 'opens', attempt, summary, verdict: 'pass' };
}

/** What gates that compare with the previous revision look up in its outcome. */
function verdictOf(
  gates: readonly Gate[],
  given: { readonly rates: ReadonlyMap<string, number>; readonly metrics: ReadonlyMap<string, number> },
  at: Instant,
): StageVerdict {
  const recorded = gates.flatMap((gate) => {
    if (gate.kind !== 'events' && gate.kind !== 'metric') return [];
    if (gate.against.kind !== 'previous') return [];
    const mean = gate.kind === 'events' ? given.rates.get(gate.event) : given.metrics.get(gate.signal);
    const hour = Math.floor(at / HOUR) * HOUR - HOUR;
    const row = [hour, (mean ?? 0) * PREVIOUS_HOURS, PREVIOUS_HOURS, 0, 0] as const;
    return [{ name: gate.name, state: 'holds' as const, because: 'simulated', rows: [row] }];
  });
  const counts = { pending: 0, installing: 0, verifying: 0, succeeded: 0, failed: 0 };
  return { at, verdict: 'pass', counts, gates: recorded, failures: [], silent: [], because: 'simulated' };
}

function textOf({ content }: SourceFile): string {
  return new TextDecoder().decode(content);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
