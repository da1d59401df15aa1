/** What there is to say of `trust/` in a working folder: what is signed, what the documents release, and what commits changed. */
import type { Instant } from '../core/model/time.ts';
import type { SourceFile } from '../documents/load.ts';
import type { Problem } from '../documents/problem.ts';
import { releasesIn } from '../documents/releases.ts';
import { personGit } from '../fleet-repo/person-git.ts';
import { readTrust } from '../fleet-repo/trust.ts';
import { readTrustIn } from '../fleet-repo/working-trust.ts';
import { openRepository } from '../git/local.ts';
import { artifactTarget, artifactTargets } from '../trust/tuf/content.ts';
import type { Flaw, TrustFolder } from '../trust/tuf/folder.ts';
import { folderFlaws, historyFlaws } from '../trust/tuf/judge.ts';
import { unvouched } from '../trust/tuf/repository.ts';
import { artifactsRole, manifestsRole } from '../trust/tuf/roles.ts';

export interface TrustQuestion {
  readonly path: string;
  readonly base: string | undefined;
  readonly files: readonly SourceFile[];
  readonly now: Instant;
  /** The environment that git is found and run in. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Undefined where there is no commit `base` to compare with. */
export async function trustProblems(question: TrustQuestion): Promise<readonly Problem[] | undefined> {
  const folder = await readTrustIn(question.path);
  const ofCommits = await commitFlaws(question, folder);
  if (ofCommits === undefined) return undefined;
  const flaws = [...folderFlaws(folder, question.now), ...ofCommits];
  const seen = new Set<string>();
  const own = flaws.flatMap(({ file, message }): Problem[] => {
    if (seen.has(`${file} ${message}`)) return [];
    seen.add(`${file} ${message}`);
    return [{ file, line: 1, column: 1, rule: 'trust', severity: 'error', message }];
  });
  return [...own, ...releaseProblems(folder, question.files)];
}

/** Artifacts that devices would refuse: people have not listed them, or not as they are. */
function releaseProblems(folder: TrustFolder, files: readonly SourceFile[]): readonly Problem[] {
  if (folder.roots.length === 0) return [];
  return releasesIn(files).flatMap(({ file, manifest, placeOf }) => {
    const { product, modules } = manifest;
    const known = folder.roles.get('targets')?.envelope.signed.delegations?.roles ?? [];
    if (known.every(({ name }) => name !== manifestsRole(product))) {
      const message = `trust/targets.json does not know the product ${product}: run tidegate trust sign, and have it signed`;
      return [{ file, line: 1, column: 1, rule: 'trust', severity: 'error' as const, message }];
    }
    const missing = new Set(
      unvouched(artifactTargets(manifest), { artifacts: folder.roles }, { exactly: true }),
    );
    return modules
      .flatMap((module) => module.artifacts ?? [])
      .filter((artifact) => missing.has(artifactTarget(product, artifact)))
      .map((artifact): Problem => {
        const message = `trust/${artifactsRole(product)}.json does not list ${artifactTarget(product, artifact)} as it is: run tidegate trust sign, and have it signed`;
        return { file, ...placeOf(artifact), rule: 'trust', severity: 'error', message };
      });
  });
}

const GIT_MS_MAX = 60_000;

/** The folder against the commit that is checked out, and every commit since `base` against the one before. */
async function commitFlaws(
  { path, base, env }: TrustQuestion,
  folder: TrustFolder,
): Promise<readonly Flaw[] | undefined> {
  // A variable of a workflow that was not set; to git it would be HEAD, and nothing would be compared.
  if (base === '') return undefined;
  const git = await personGit(path, { env, mayAsk: false, signal: AbortSignal.timeout(GIT_MS_MAX) });
  // With a base its end of the branch is listed, too, after a dash.
  const range =
    base === undefined ? ['--max-count=2', 'HEAD'] : ['--boundary', '--end-of-options', `${base}..HEAD`];
  const listed = await git?.(['rev-list', '--first-parent', ...range, '--']);
  if (listed?.isFine !== true) return base === undefined ? [] : undefined;
  // A folder further down in a repository has a trust/ that no server reads: without a question there is no answer.
  const below = (await git?.(['rev-parse', '--show-prefix']))?.out ?? '';
  if (below !== '' && base === undefined) return [];
  // No commit since: the working folder is compared with the newest.
  const out = listed.out || ((await git?.(['rev-parse', 'HEAD']))?.out ?? '');
  const oids = out.split('\n').map((line) => line.replace(/^-/, ''));
  const repository = await openRepository(path);
  try {
    const flaws: Flaw[] = [];
    let after = folder;
    for (const oid of oids) {
      const before = await readTrust(repository, await repository.commit(oid));
      flaws.push(...historyFlaws(before.folder, after));
      after = before.folder;
    }
    return flaws;
  } finally {
    await repository.close();
  }
}
