/**
 * What failed does not come back under another name: an artifact or image of an attempt that was rolled back for its failures is refused in
 * every rollout, until an attempt with it succeeds (a retry), or it is not in what is installed any more.
 */
import type { Manifest } from '../model/manifest.ts';
import type { Attempt, Outcomes } from '../model/outcome.ts';

/** Why the manifest may not be rolled out by `rollout`, in a sentence; undefined where it may. */
export function whyQuarantined(manifest: Manifest, rollout: string, outcomes: Outcomes): string | undefined {
  const failed = failedParts(outcomes);
  for (const { name, key } of partsOf(manifest)) {
    const attempt = failed.get(key);
    // Within its own rollout a revision that failed is quarantined as a whole, and other revisions are people's answer to it.
    if (attempt === undefined || attempt.rollout === rollout) continue;
    return (
      `${name} is quarantined: it failed in attempt ${attempt.attempt} of ${attempt.rollout}; ` +
      'install something else, or ask for a retry there'
    );
  }
  return undefined;
}

function partsOf({ modules }: Manifest): readonly { readonly name: string; readonly key: string }[] {
  return modules.flatMap(({ name: module, image, artifacts = [] }) => [
    ...(image === undefined
      ? []
      : [{ name: `the image ${image} of module ${module}`, key: `image:${image}` }]),
    ...artifacts.map(({ name, sha256 }) => ({
      name: `the artifact ${name} of module ${module}`,
      key: sha256,
    })),
  ]);
}

/** By part, the attempt that failed with it; not where any attempt that has it succeeded. Equal outcomes are one object. */
function failedParts(outcomes: Outcomes): ReadonlyMap<string, Attempt> {
  const known = remembered.get(outcomes);
  if (known !== undefined) return known;
  const failed = new Map<string, Attempt>();
  const good = new Set<string>();
  for (const attempt of [...outcomes.values()].flat()) {
    if (attempt.state === 'succeeded') for (const { key } of partsOf(attempt.manifest)) good.add(key);
    const hasFailed =
      attempt.state === 'rolledBack' && attempt.stages.some(({ state }) => state === 'failed');
    if (hasFailed) for (const { key } of partsOf(attempt.manifest)) failed.set(key, attempt);
  }
  for (const key of good) failed.delete(key);
  remembered.set(outcomes, failed);
  return failed;
}

const remembered = new WeakMap<Outcomes, ReadonlyMap<string, Attempt>>();
