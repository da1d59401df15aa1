/** Small valid documents that tests change one thing of, and what they ask of a load. */
import type { DesiredState, Rollout } from '../../src/core/model/desired.ts';
import type { CommitId, RolloutName, SnapshotId } from '../../src/core/model/ids.ts';
import { type LoadedState, loadDesired, type SourceFile } from '../../src/documents/load.ts';
import { formatProblem } from '../../src/documents/problem.ts';

export const AT = { snapshot: 'a'.repeat(40) as SnapshotId, commit: 'c'.repeat(40) as CommitId };

export const FLEET = `apiVersion: tidegate.dev/v1
kind: Fleet
metadata: {name: homes}
spec: {}
`;

export const SET = `apiVersion: tidegate.dev/v1
kind: DistributionSet
metadata: {name: thermostat@2.6.0}
spec:
  modules:
  - {name: firmware, version: 2.6.0, type: firmware}
`;

export const ROLLOUT = `apiVersion: tidegate.dev/v1
kind: Rollout
metadata: {name: kiosk}
spec:
  owner: oncall
  distributionSet: thermostat@2.6.0
  targetCondition: tags.environment = 'prod'
  priority: 10
  gates:
    health: runtime_healthy
  stages:
  - canary: 1 site
  - fleet: all
`;

const PATHS = {
  'fleet/fleet.yaml': FLEET,
  'fleet/distribution-sets/thermostat.yaml': SET,
  'fleet/rollouts/kiosk.yaml': ROLLOUT,
};

export function source(path: string, content: string | Uint8Array, mode?: string): SourceFile {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
  return { path, content: bytes, ...(mode === undefined ? {} : { mode }) };
}

/** A fleet of three documents, with others added or put in their place; `null` leaves one out. */
export function load(changes: Readonly<Record<string, string | Uint8Array | null>> = {}): LoadedState {
  const all = Object.entries({ ...PATHS, ...changes });
  return loadDesired(
    all.flatMap(([path, content]) => (content === null ? [] : source(path, content))),
    AT,
  );
}

/** The rollout's document with one text replaced; that it occurs is part of the test. */
export function rolloutWith(text: string, replacement: string): LoadedState {
  return load({ 'fleet/rollouts/kiosk.yaml': replaced(ROLLOUT, text, replacement) });
}

export function replaced(document: string, text: string, replacement: string): string {
  if (!document.includes(text)) throw new Error(`the document has no ${JSON.stringify(text)}`);
  return document.replace(text, () => replacement);
}

export function problemsOf(loaded: Pick<LoadedState, 'problems'>): readonly string[] {
  return loaded.problems.map(formatProblem);
}

export function desiredOf(loaded: LoadedState): DesiredState {
  if (loaded.desired === undefined) throw new Error(problemsOf(loaded).join('\n'));
  return loaded.desired;
}

export function rolloutOf(loaded: LoadedState, name = 'kiosk'): Rollout {
  const rollout = desiredOf(loaded).rollouts.get(name as RolloutName);
  if (rollout === undefined) throw new Error(`there is no rollout ${name}`);
  return rollout;
}
