/**
 * `tidegate rollback --where`: some of the devices go back to what they had before, the others go on. It is one more line of the rollout's
 * own file, `spec.exclude`: lasting intent, which people take away again when what was wrong is mended.
 */
import type { RolloutName } from '../core/model/ids.ts';
import { parseCondition } from '../core/target/condition.ts';
import { setExclusion } from '../documents/edit.ts';
import { type FileChange, withFiles } from '../fleet-repo/operations.ts';
import { readFiles } from '../git/tree.ts';
import { CommandError } from './errors.ts';
import { type Change, messageOf, problem, rolloutNamed, type View } from './operation.ts';

export async function cohortChange(
  view: View,
  options: { readonly rollout: string; readonly where: string; readonly reason?: string },
): Promise<Change> {
  const { where, reason } = options;
  const parsed = parseCondition(where);
  if (!parsed.ok) throw new CommandError(`--where: ${parsed.message}`);
  const { git, head } = view;
  const { name, rollout, latest } = rolloutNamed(view, options.rollout);
  if (rollout === undefined) throw problem(`${name} was removed from main; there is nobody to take back`);
  const file = await excluded(view, name, where);
  return {
    tree: await withFiles(git, head.tree, [file]),
    message: messageOf({
      subject: `Take ${name} back where ${where}`,
      body: [
        reason,
        `Those devices return to what they had before ${rollout.manifest.distributionSet}; the others keep it.`,
      ],
      trailers: [
        ['Rollout', name],
        ['Attempt', latest.attempt],
      ],
    }),
    files: [file],
    entries: [],
    sign: false,
    warnings: [],
    next: [
      `Devices where ${where} return at once and stay there until spec.exclude is taken away. tidegate status ${name} shows how far it is.`,
    ],
  };
}

/** The rollout's file, with the cohort in `spec.exclude`. */
async function excluded({ git, head }: View, name: RolloutName, where: string): Promise<FileChange> {
  for (const { path, oid } of await readFiles(git, head.tree, 'fleet/rollouts')) {
    if (!/\.ya?ml$/.test(path)) continue;
    const before = new TextDecoder('utf-8', { ignoreBOM: true }).decode(await git.blob(oid));
    const after = setExclusion(before, { rollout: name, condition: where });
    if (after === before) throw problem(`${path} excludes ${where} already`);
    if (after !== undefined) return { path, before, after };
  }
  throw problem(
    `no file below fleet/rollouts could be given one more line for ${name}; add spec.exclude to it by hand: ${where}`,
  );
}
